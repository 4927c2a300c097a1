"""A token-level OPT model in CTranslate2, converted to int8."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import ctranslate2

from peers.opt_directory import words, write_opt_directory
from peers.task import Task
from peers.token_prompt import token_prompt
from peers.versions import versions
from peers.workload import Seconds

_CONVERTER = "from ctranslate2.converters.transformers import main; main()"


class CTranslate2Opt:
    """Greedy decoding. Prompt and generation are told apart by the moment of the first token."""

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
        self._prompt = [names[number] for number in token_prompt(config, task.workload)]
        # The first of them comes out of the prompt, and costs no pass of its own.
        self._tokens = task.workload.new_tokens + 1
        compute_type = {"compute type": self._generator.compute_type}
        self.details = versions("ctranslate2", "transformers", "torch") | compute_type

    def round(self) -> Seconds:
        moments: list[float] = []

        def take(_: ctranslate2.GenerationStepResult) -> bool:
            moments.append(time.perf_counter())
            return False

        started = time.perf_counter()
        self._generator.generate_batch(
            [self._prompt],
            include_prompt_in_result=False,
            beam_size=1,
            sampling_topk=1,
            min_length=self._tokens,
            max_length=self._tokens,
            callback=take,
        )
        if len(moments) != self._tokens:
            raise ValueError(f"{len(moments)} tokens were generated (expected {self._tokens})")
        return Seconds(moments[0] - started, moments[-1] - moments[0])


def load(task: Task) -> CTranslate2Opt:
    """The model with the weights of the task, in 8 bit."""
    return CTranslate2Opt(task)


def _convert(task: Task) -> Path:
    """Converts in another process, so that PyTorch does no work in this one."""
    source, target = task.folder / "transformers", task.folder / "ctranslate2"
    write_opt_directory(task.model, source)
    files = ["--model", str(source), "--output_dir", str(target), "--quantization", "int8"]
    command = [sys.executable, "-c", _CONVERTER, *files]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        said = done.stderr.strip().splitlines() or [f"status {done.returncode}"]
        raise ValueError(f"the converter failed: {said[-1]}")
    return target
