"""A token-level model in llama.cpp: the weights of an OPT model in GPT-2's architecture."""

from __future__ import annotations

import ctypes
import logging
import time
from collections import Counter
from pathlib import Path
from typing import ClassVar

import gguf
import llama_cpp
import numpy as np

from peers.gpt2_gguf import write_gguf
from peers.machine import versions
from peers.random_model import RandomModel, Task
from peers.workload import Seconds

Ids = np.ndarray
FILE_TYPES = {"Q8_0": llama_cpp.LLAMA_FTYPE_MOSTLY_Q8_0, "Q4_0": llama_cpp.LLAMA_FTYPE_MOSTLY_Q4_0}
"""Precisions, with llama.cpp's number of each."""

_CELLS = 256
"""A sequence's part of the KV cache is a multiple of so many tokens."""


class Batch:
    """Tokens of one `llama_decode`: `length` for each of `sequences`, one sequence after another.

    Only the last token of each sequence yields logits.
    """

    def __init__(self, sequences: int, length: int) -> None:
        count = sequences * length
        self.native = llama_cpp.llama_batch_init(count, 0, 1)
        self.native.n_tokens = count
        self._ids, self._positions, counts, wanted = (
            np.ctypeslib.as_array(field, shape=(count,)).reshape(sequences, length)
            for field in (
                self.native.token,
                self.native.pos,
                self.native.n_seq_id,
                self.native.logits,
            )
        )
        counts[:] = 1
        wanted[:] = 0
        wanted[:, -1] = 1
        for place in range(count):
            self.native.seq_id[place][0] = place // length

    def set(self, ids: Ids, first: int) -> None:
        """Set the tokens, [sequences, length] or what broadcasts to it, from a position on."""
        self._ids[:] = ids
        self._positions[:] = np.arange(first, first + self._ids.shape[1])


class LlamaGpt2:
    """Greedy decoding of `batch` sequences: each step is one `llama_decode` of a token of each."""

    precision: ClassVar[str]
    logits: np.ndarray
    """Of the next token of each sequence, [batch, V]: llama.cpp's memory, until the next step."""

    def __init__(self, task: Task) -> None:
        config, workload = task.model.config, task.workload
        # The folder of all systems: those of llama.cpp share the files.
        folder = task.folder.parent
        path = write_quantized(task.model, folder, self.precision, workload.threads)
        prompt = workload.token_prompt(config.vocab_size, config.tokens)
        self._prompt = np.array(prompt)
        self._eos = config.tokens.eos
        self._shape = (workload.batch, config.vocab_size)
        self._new_tokens = workload.new_tokens
        model = _load(path)
        length = len(prompt) + workload.new_tokens
        self._context = _context(model, workload.batch, length, len(prompt), workload.threads)
        self._prefill = Batch(workload.batch, len(prompt))
        self._step = Batch(workload.batch, 1)
        system = llama_cpp.llama_print_system_info().decode()
        self.details = versions("llama-cpp-python", "gguf") | {
            "tensors": tensor_types(path),
            "llama.cpp": " ".join(system.split()),
        }

    def round(self) -> Seconds:
        started = time.perf_counter()
        chosen = self.prefill()
        prefilled = time.perf_counter()
        for number in range(self._new_tokens):
            chosen = self.step(chosen, len(self._prompt) + number)
        return Seconds(prefilled - started, time.perf_counter() - prefilled)

    def prefill(self) -> Ids:
        """Take in the prompt in each sequence, from empty; the best next id of each, [batch]."""
        llama_cpp.llama_memory_clear(llama_cpp.llama_get_memory(self._context), False)
        self._prefill.set(self._prompt, 0)
        return self._decode(self._prefill)

    def step(self, ids: Ids, position: int) -> Ids:
        """Take in an id of each sequence, [batch]; the best next id of each, [batch]."""
        self._step.set(ids[:, None], position)
        return self._decode(self._step)

    def _decode(self, batch: Batch) -> Ids:
        status = llama_cpp.llama_decode(self._context, batch.native)
        if status:
            raise ValueError(f"llama_decode: status {status}")
        found = llama_cpp.llama_get_logits(self._context)
        self.logits = np.ctypeslib.as_array(found, shape=self._shape)
        self.logits[:, self._eos] = -np.inf
        chosen: Ids = self.logits.argmax(-1)
        return chosen


class LlamaQ8(LlamaGpt2):
    """In 8 bit."""

    precision = "Q8_0"


class LlamaQ4(LlamaGpt2):
    """In 4 bit."""

    precision = "Q4_0"


def write_quantized(model: RandomModel, folder: Path, precision: str, threads: int) -> Path:
    """Write a model into the folder as a GGUF file of `FILE_TYPES`, and return its path.

    A file of it that is there, or one in fp32, is used. llama.cpp's own quantizer chooses the type
    of each tensor. Raises ValueError if it fails.
    """
    full, path = folder / "f32.gguf", folder / f"{precision.lower()}.gguf"
    if path.exists():
        return path
    part = folder / "part.gguf"
    if not full.exists():
        write_gguf(model, part)
        part.replace(full)
    options = llama_cpp.llama_model_quantize_default_params()
    options.nthread = threads
    options.ftype = FILE_TYPES[precision]
    names = (str(name).encode() for name in (full, part))
    _only_errors()
    status = llama_cpp.llama_model_quantize(*names, ctypes.byref(options))
    if status:
        raise ValueError(f"llama_model_quantize: status {status}")
    return part.replace(path)


def tensor_types(path: Path) -> str:
    """How many tensors of a GGUF file have which type."""
    found = Counter(tensor.tensor_type.name for tensor in gguf.GGUFReader(path).tensors)
    return ", ".join(f"{count} {name}" for name, count in found.most_common())


def _load(path: Path) -> llama_cpp.llama_model_p:
    _only_errors()
    llama_cpp.llama_backend_init()
    options = llama_cpp.llama_model_default_params()
    options.n_gpu_layers = 0
    model = llama_cpp.llama_model_load_from_file(str(path).encode(), options)
    if not model:
        raise ValueError(f"llama.cpp cannot load {path.name}")
    return model


def _context(
    model: llama_cpp.llama_model_p, sequences: int, length: int, prompt: int, threads: int
) -> llama_cpp.llama_context_p:
    """A context of so many sequences of a length, which takes in all prompts in one call."""
    options = llama_cpp.llama_context_default_params()
    options.n_ctx = sequences * -(-length // _CELLS) * _CELLS
    options.n_seq_max = sequences
    options.n_batch = sequences * prompt
    options.n_threads = options.n_threads_batch = threads
    context = llama_cpp.llama_init_from_model(model, options)
    if not context:
        raise ValueError("llama.cpp cannot make a context")
    return context


def _only_errors() -> None:
    logging.getLogger("llama-cpp-python").setLevel(logging.ERROR)
