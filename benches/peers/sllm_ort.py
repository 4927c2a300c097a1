"""sllm-ort itself: each turn runs `sllm-ort bench` in a new process."""

from __future__ import annotations

import json
import os
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from peers.machine import environment
from peers.system import LIMIT_SECONDS, Description, PeerError
from peers.workload import Speed, Workload


@dataclass(frozen=True)
class Program:
    """The binary, and the ONNX Runtime library that it loads (None: the one that it finds)."""

    binary: Path
    onnxruntime: Path | None

    def command(self, bundle: Path, variant: str, workload: Workload) -> list[str]:
        """The command line that measures one round of a bundle.

        The program measures memory between warm-up and round, which takes a few seconds and is not
        part of the figures.
        """
        options: dict[str, Any] = {
            "--model": bundle,
            "--variant": variant,
            "--provider": "cpu",
            "--threads": workload.threads,
            "--warmup": workload.warmup,
            "--repetitions": 1,
            "--prompt-tokens": workload.prompt_tokens,
            "--sentence-tokens": workload.sentence_tokens,
            "--sentences": workload.sentences,
            "--batch": workload.batch,
            "--seed": workload.seed,
            "--format": "json",
        }
        if self.onnxruntime is not None:
            options["--onnxruntime"] = self.onnxruntime
        return [
            str(self.binary),
            "bench",
            *(str(part) for pair in options.items() for part in pair),
        ]


class SllmOrt:
    """A bundle in sllm-ort."""

    def __init__(
        self, description: Description, program: Program, bundle: Path, workload: Workload
    ) -> None:
        self.description = description
        self.details: dict[str, str] = {}
        variant = f"cpu-{description.precision}"
        self._command = program.command(bundle, variant, workload)
        self._workload = workload

    def start(self) -> None:
        if not os.access(self._command[0], os.X_OK):
            raise PeerError(f"{self._command[0]}: is missing, or is no program")

    def turn(self) -> Speed:
        found = self._run()
        machine = found.get("machine", {})
        for name, value in (("sllm-ort", "version"), ("ONNX Runtime", "onnxruntime")):
            self.details[name] = str(machine.get(value))
        return read_speed(found, self._workload)

    def close(self) -> None:
        """Do nothing: the process ended with the turn."""

    def _run(self) -> dict[str, Any]:
        try:
            done = subprocess.run(
                self._command,
                capture_output=True,
                text=True,
                check=False,
                env=environment(self._workload.threads),
                timeout=LIMIT_SECONDS,
            )
        except subprocess.TimeoutExpired as error:
            raise PeerError(f"had not ended after {LIMIT_SECONDS:.0f} s") from error
        if done.returncode:
            printed = done.stderr.strip().splitlines() or [f"ended with status {done.returncode}"]
            raise PeerError(printed[-1])
        try:
            found: dict[str, Any] = json.loads(done.stdout)
        except ValueError as error:
            raise PeerError(f"printed no JSON: {error}") from error
        return found


def read_speed(found: dict[str, Any], workload: Workload) -> Speed:
    """Read the JSON line of `sllm-ort bench`. Raises PeerError if it is of another workload."""
    asked = {
        "threads": workload.threads,
        "warmup": workload.warmup,
        "rounds": 1,
        "prompt_tokens": workload.prompt_tokens,
        "sentence_tokens": workload.sentence_tokens,
        "sentences": workload.sentences,
        "batch": workload.batch,
    }
    for key, value in asked.items():
        if found.get(key) != value:
            raise PeerError(f"{key} is {found.get(key)} (asked for {value})")
    return Speed(found["input_tokens_per_second"], found["output_tokens_per_second"])
