"""The other end of `peers.worker_system`: `python -m peers.worker NAME`.

Reads JSON lines, the first of them the task, and answers each with one: `{"details": ...}`, then
for each turn `{"seconds": ...}`, or `{"failure": ...}` and ends.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
from dataclasses import asdict
from typing import Any, Protocol, TextIO

from peers.task import Task
from peers.workload import Seconds

PEERS = {
    "ctranslate2-opt": "peers.ctranslate2_opt",
    "transformers-opt": "peers.transformers_opt",
    "pytorch-sllm": "peers.pytorch_sllm",
}
"""Modules with a function `load(task)`, imported only where they are used: each needs packages of
its own."""


class Peer(Protocol):
    """A loaded model."""

    details: dict[str, str]
    """Versions and settings."""

    def round(self) -> Seconds:
        """Does the work once, from ids to ids."""


def main() -> None:
    """Serves until there are no more questions."""
    answers = _take_stdout()
    try:
        task = Task.of_json(json.loads(sys.stdin.readline()))
        peer = load(sys.argv[1], task)
        _answer(answers, {"details": peer.details})
        for _ in sys.stdin:
            for _ in range(task.workload.warmup):
                peer.round()
            _answer(answers, {"seconds": asdict(peer.round())})
    # Whatever goes wrong with one peer, the others go on.
    except Exception as error:
        _answer(answers, {"failure": " ".join(f"{type(error).__name__}: {error}".split())})
        raise


def load(name: str, task: Task) -> Peer:
    """The peer of that name."""
    return importlib.import_module(PEERS[name]).load(task)


def _take_stdout() -> TextIO:
    """A file for the answers; what else is printed goes to stderr."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    return answers


def _answer(answers: TextIO, value: dict[str, Any]) -> None:
    answers.write(json.dumps(value) + "\n")
    answers.flush()


if __name__ == "__main__":
    main()
