"""The peers in PyTorch: an SLLM as the original runs it, and OPT in Hugging Face Transformers."""

from __future__ import annotations

import time

import torch
from torch import Tensor, nn
from transformers import OPTConfig, OPTForCausalLM

from peers.machine import versions
from peers.original_sllm import OriginalSllm
from peers.random_model import Task, opt_fields
from peers.workload import Seconds
from sllm_export.checkpoint.state_dict import StateDict


@torch.no_grad()
def fill(model: nn.Module, weights: StateDict) -> None:
    """Copy the weights into a model with the same parameter names; tied ones have one name.

    Raises ValueError if a name is on one side only.
    """
    parameters = dict(model.named_parameters())
    if parameters.keys() != weights.shapes.keys():
        unmatched = sorted(parameters.keys() ^ weights.shapes.keys())
        raise ValueError(f"tensors that only the model or only the weights have: {unmatched}")
    for name, parameter in parameters.items():
        parameter.copy_(torch.tensor(weights.load(name)))


class PytorchSllm:
    """An SLLM in fp32 with the original's generation loop, in sentences of a fixed length.

    The original pads the prompt's sentences to the maximum length; here they are not padded, which
    makes its input faster.
    """

    def __init__(self, task: Task) -> None:
        torch.set_num_threads(task.workload.threads)
        config, workload = task.model.config, task.workload
        self._model = OriginalSllm(config).eval()
        fill(self._model, task.model.weights())
        ids = torch.tensor(workload.prompt(config.vocab_size, config.tokens))
        self._prompt = nn.functional.pad(ids, (1, 0), value=config.tokens.bos)
        self._sentences = workload.sentences
        self._length = workload.sentence_tokens
        self.details = versions("torch", "transformers")

    @torch.inference_mode()
    def round(self) -> Seconds:
        started = time.perf_counter()
        context = self._model.context()
        context.append(self._prompt, torch.ones_like(self._prompt, dtype=torch.bool))
        prefilled = time.perf_counter()
        for _ in range(self._sentences):
            ids = context.next_sentence(self._length)
            context.append(torch.tensor([ids]), None)
        return Seconds(prefilled - started, time.perf_counter() - prefilled)


class TransformersOpt:
    """A token-level OPT model in fp32 with a KV cache, greedy.

    It calls the model once per token, as the original's benchmark of OPT does, and so avoids the
    overhead of `generate`.
    """

    def __init__(self, task: Task) -> None:
        torch.set_num_threads(task.workload.threads)
        config = task.model.config
        self._model = OPTForCausalLM(OPTConfig(**opt_fields(config))).eval()
        fill(self._model, task.model.weights())
        self._prompt = torch.tensor([task.workload.token_prompt(config.vocab_size, config.tokens)])
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
        # A program reads the id to print it.
        chosen.item()
        return chosen
