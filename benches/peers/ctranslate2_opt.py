"""A token-level OPT model in CTranslate2, converted to int8."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import ctranslate2

from peers.machine import versions
from peers.random_model import Task, words, write_opt_directory
from peers.workload import Seconds

_CONVERTER = "from ctranslate2.converters.transformers import main; main()"


class CTranslate2Opt:
    """Greedy decoding; the time of the first token separates prefill and generation."""

    def __init__(self, task: Task) -> None:
        config = task.model.config
        self._generator = ctranslate2.Generator(
            str(_convert(task)),
            device="cpu",
            compute_type="int8",
            inter_threads=1,
            intra_threads=task.workload.threads,
        )
        names = words(config)
        self._prompt = [
            names[number] for number in task.workload.token_prompt(config.vocab_size, config.tokens)
        ]
        # The prefill yields the first of them, which needs no forward pass of its own.
        self._tokens = task.workload.new_tokens + 1
        compute_type = {"compute type": self._generator.compute_type}
        self.details = versions("ctranslate2", "transformers", "torch") | compute_type

    def round(self) -> Seconds:
        times: list[float] = []

        def record(_: ctranslate2.GenerationStepResult) -> bool:
            times.append(time.perf_counter())
            return False

        started = time.perf_counter()
        self._generator.generate_batch(
            [self._prompt],
            include_prompt_in_result=False,
            beam_size=1,
            sampling_topk=1,
            min_length=self._tokens,
            max_length=self._tokens,
            callback=record,
        )
        if len(times) != self._tokens:
            raise ValueError(f"{len(times)} tokens were generated (expected {self._tokens})")
        return Seconds(times[0] - started, times[-1] - times[0])


def _convert(task: Task) -> Path:
    """Convert in another process: PyTorch would leave its threads in this one."""
    source, target = task.folder / "transformers", task.folder / "ctranslate2"
    write_opt_directory(task.model, source)
    files = ["--model", str(source), "--output_dir", str(target), "--quantization", "int8"]
    command = [sys.executable, "-c", _CONVERTER, *files]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        printed = done.stderr.strip().splitlines() or [f"status {done.returncode}"]
        raise ValueError(f"the converter failed: {printed[-1]}")
    return target
