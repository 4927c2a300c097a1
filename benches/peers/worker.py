"""A peer in a Python process of its own, which keeps its model between turns.

`WorkerSystem` starts `python -m peers.worker NAME` and writes JSON lines to it: the task, then one
line per turn. The worker answers each with one line: `{"details": ...}` to the task, `{"seconds":
...}` to a turn, or `{"failure": ...}`, after which it ends.
"""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any, Protocol, TextIO

from peers.machine import environment
from peers.random_model import Task
from peers.system import LIMIT_SECONDS, Description, PeerError
from peers.workload import Seconds, Speed

PEERS = {
    "ctranslate2-opt": ("peers.ctranslate2_opt", "CTranslate2Opt"),
    "llama-cpp-gpt2-q8": ("peers.llama_gpt2", "LlamaQ8"),
    "llama-cpp-gpt2-q4": ("peers.llama_gpt2", "LlamaQ4"),
    "llama-cpp-gpt2-q8-batch8": ("peers.llama_gpt2", "LlamaQ8"),
    "llama-cpp-gpt2-q4-batch8": ("peers.llama_gpt2", "LlamaQ4"),
    "transformers-opt": ("peers.torch_peers", "TransformersOpt"),
    "pytorch-sllm": ("peers.torch_peers", "PytorchSllm"),
}
"""Module and class of each peer. A class is made from a `Task`, and its module is imported only in
its worker: each needs packages of its own."""

_LATE = f"gave no answer in {LIMIT_SECONDS:.0f} s"


class Peer(Protocol):
    """A loaded model."""

    details: dict[str, str]
    """Versions and settings."""

    def round(self) -> Seconds:
        """Do the work once, from ids to ids."""


class WorkerSystem:
    """A system whose peer runs in a worker."""

    def __init__(self, description: Description, task: Task) -> None:
        self.description = description
        self.details: dict[str, str] = {}
        self._task = task
        self._process: subprocess.Popen[str] | None = None

    def start(self) -> None:
        self._task.folder.mkdir(parents=True, exist_ok=True)
        with self._log.open("w") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "peers.worker", self.description.name],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                env=environment(self._task.workload.threads),
            )
        self.details |= self._ask(self._process, self._task.to_json())["details"]

    def turn(self) -> Speed:
        assert self._process is not None, "start comes before the first turn"
        seconds = Seconds(**self._ask(self._process, "turn")["seconds"])
        return Speed.of(seconds, self._task.workload)

    def close(self) -> None:
        if self._process is None:
            return
        process = self._process
        self._process = None
        process.kill()
        process.communicate()

    @property
    def _log(self) -> Path:
        return self._task.folder / "stderr.txt"

    def _ask(self, process: subprocess.Popen[str], question: object) -> dict[str, Any]:
        assert process.stdin is not None, "start opens a pipe"
        assert process.stdout is not None, "start opens a pipe"
        late = threading.Event()
        limit = threading.Timer(LIMIT_SECONDS, _kill_late, (process, late))
        limit.start()
        try:
            process.stdin.write(json.dumps(question) + "\n")
            process.stdin.flush()
            line = process.stdout.readline()
        except BrokenPipeError:
            line = ""
        finally:
            limit.cancel()
        if not line:
            raise PeerError(_LATE if late.is_set() else self._reason(process))
        answer: dict[str, Any] = json.loads(line)
        if "failure" in answer:
            raise PeerError(answer["failure"])
        return answer

    def _reason(self, process: subprocess.Popen[str]) -> str:
        """Why the worker gave no answer."""
        printed = self._log.read_text(errors="replace").strip().splitlines()
        status = f"ended with status {process.wait()}"
        return f"{status}: {printed[-1]}" if printed else status


def _kill_late(process: subprocess.Popen[str], late: threading.Event) -> None:
    late.set()
    process.kill()


def main() -> None:
    """Run a worker: answer the lines on stdin until there are no more."""
    answers = _take_stdout()
    try:
        task = Task.of_json(json.loads(sys.stdin.readline()))
        peer = load(sys.argv[1], task)
        _answer(answers, {"details": peer.details})
        for _ in sys.stdin:
            for _ in range(task.workload.warmup):
                peer.round()
            _answer(answers, {"seconds": asdict(peer.round())})
    # Whatever goes wrong with one peer, the others continue.
    except Exception as error:
        _answer(answers, {"failure": " ".join(f"{type(error).__name__}: {error}".split())})
        raise


def load(name: str, task: Task) -> Peer:
    """Load the peer of that name."""
    module, kind = PEERS[name]
    make: Callable[[Task], Peer] = getattr(importlib.import_module(module), kind)
    return make(task)


def _take_stdout() -> TextIO:
    """Keep stdout for the answers; all else that is printed goes to stderr."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    return answers


def _answer(answers: TextIO, value: dict[str, Any]) -> None:
    answers.write(json.dumps(value) + "\n")
    answers.flush()


if __name__ == "__main__":
    main()
