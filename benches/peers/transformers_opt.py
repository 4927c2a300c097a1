"""A token-level OPT model in Hugging Face Transformers: PyTorch, fp32, KV cache."""

from __future__ import annotations

import time

import torch
from torch import Tensor
from transformers import OPTConfig, OPTForCausalLM

from peers.opt_fields import opt_fields
from peers.task import Task
from peers.token_prompt import token_prompt
from peers.torch_weights import fill
from peers.versions import versions
from peers.workload import Seconds


class TransformersOpt:
    """Greedy decoding, one forward pass a token, as the original's benchmark of OPT has it:
    without the overhead of `generate`."""

    def __init__(self, task: Task) -> None:
        torch.set_num_threads(task.workload.threads)
        config = task.model.config
        self._model = OPTForCausalLM(OPTConfig(**opt_fields(config))).eval()
        fill(self._model, task.model.weights())
        self._prompt = torch.tensor([token_prompt(config, task.workload)])
        self._eos = config.tokens.eos
        self._new_tokens = task.workload.new_tokens
        attention = {"attention": str(self._model.config._attn_implementation)}
        self.details = versions("transformers", "torch") | attention

    @torch.inference_mode()
    def round(self) -> Seconds:
        started = time.perf_counter()
        output = self._model(self._prompt, use_cache=True, logits_to_keep=1)
        prefilled = time.perf_counter()
        for _ in range(self._new_tokens):
            cache = output.past_key_values
            output = self._model(self._choose(output.logits), past_key_values=cache)
        return Seconds(prefilled - started, time.perf_counter() - prefilled)

    def _choose(self, logits: Tensor) -> Tensor:
        """logits [1, 1, V] -> the best id but eos, [1, 1]."""
        logits[..., self._eos] = float("-inf")
        chosen = logits[:, -1].argmax(-1, keepdim=True)
        # A program has to know the id, to print it.
        chosen.item()
        return chosen


def load(task: Task) -> TransformersOpt:
    """The model with the weights of the task."""
    return TransformersOpt(task)
