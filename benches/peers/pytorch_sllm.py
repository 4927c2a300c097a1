"""An SLLM in PyTorch, fp32, as the original generates."""

from __future__ import annotations

import time

import torch

from peers.original_sllm import OriginalSllm
from peers.task import Task
from peers.torch_weights import fill
from peers.versions import versions
from peers.workload import Seconds


class PytorchSllm:
    """The original's generation, in sentences of a fixed length.

    The prompt's sentences are not padded to the longest that is allowed, as the original's
    collation does: its input would be slower.
    """

    def __init__(self, task: Task) -> None:
        torch.set_num_threads(task.workload.threads)
        config, workload = task.model.config, task.workload
        self._model = OriginalSllm(config).eval()
        fill(self._model, task.model.weights())
        ids = torch.tensor(workload.prompt(config.vocab_size, config.tokens))
        self._prompt = torch.nn.functional.pad(ids, (1, 0), value=config.tokens.bos)
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


def load(task: Task) -> PytorchSllm:
    """The model with the weights of the task."""
    return PytorchSllm(task)
