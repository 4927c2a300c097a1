"""A peer in a Python process of its own, which holds its model between the turns."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any, TextIO, cast

from peers.environment import environment
from peers.errors import PeerError
from peers.system import LIMIT_SECONDS, Description
from peers.task import Task
from peers.workload import Seconds, Speed

_LATE = f"gave no answer in {LIMIT_SECONDS:.0f} s"


class WorkerSystem:
    """A peer behind `peers.worker`: a JSON line is asked, a JSON line answers."""

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
        self.details |= self._ask(self._task.to_json())["details"]

    def turn(self) -> Speed:
        return Speed.of(Seconds(**self._ask("turn")["seconds"]), self._task.workload)

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

    def _ask(self, question: Any) -> dict[str, Any]:
        process = cast(subprocess.Popen[str], self._process)
        stdin, stdout = cast(TextIO, process.stdin), cast(TextIO, process.stdout)
        late = threading.Event()
        limit = threading.Timer(LIMIT_SECONDS, _end_late, (process, late))
        limit.start()
        try:
            stdin.write(json.dumps(question) + "\n")
            stdin.flush()
            line = stdout.readline()
        except BrokenPipeError:
            line = ""
        finally:
            limit.cancel()
        if not line:
            raise PeerError(_LATE if late.is_set() else self._end(process))
        answer = json.loads(line)
        if "failure" in answer:
            raise PeerError(answer["failure"])
        return answer

    def _end(self, process: subprocess.Popen[str]) -> str:
        """Why there was no answer."""
        said = self._log.read_text(errors="replace").strip().splitlines()
        status = f"ended with status {process.wait()}"
        return f"{status}: {said[-1]}" if said else status


def _end_late(process: subprocess.Popen[str], late: threading.Event) -> None:
    late.set()
    process.kill()
