"""Steps that may fail: each is recorded in one JSON file, and the rest continues."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

FORMAT = 1
_LAST_CHARACTERS = 2000
_LEAST_SECONDS = 2.0

Result = dict[str, Any]


class StepError(Exception):
    """A step failed; `result` is what it has found all the same."""

    def __init__(self, message: str, result: Result | None = None) -> None:
        super().__init__(message)
        self.result = result


class Steps:
    """Runs steps until the time is up, and keeps the report's file up to date.

    The report has the result of a step named `("parity", "opt-125m", "portable")` at
    `report["parity"]["opt-125m"]["portable"]`, and in `report["steps"]` whether it worked.
    """

    def __init__(self, out: Path, seconds: float, head: Result) -> None:
        self._out = out
        self._started = time.monotonic()
        self._seconds = seconds
        self._steps: list[Result] = []
        self.report: Result = {"format": FORMAT, **head, "ok": True, "failed": []}
        self.write()

    def remaining(self) -> float:
        """Seconds until the time is up, at least 0."""
        return max(0.0, self._seconds - (time.monotonic() - self._started))

    def run(self, name: tuple[str, ...], action: Callable[[], Result]) -> Result | None:
        """Run a step; returns what it has found, None if it failed without."""
        result, error, seconds = self._timed(action)
        self._record(name, result, error, seconds)
        return result

    def run_all(self, actions: Mapping[tuple[str, ...], Callable[[], Result]], most: int) -> None:
        """Run steps at the same time, at most so many; each is recorded as by `run`."""
        with ThreadPoolExecutor(most) as pool:
            futures = {name: pool.submit(self._timed, action) for name, action in actions.items()}
            for name, future in futures.items():
                self._record(name, *future.result())

    def finish(self) -> int:
        """Write the report; returns the exit status, 0 if every step worked."""
        self.write()
        return 0 if self.report["ok"] else 1

    def write(self) -> None:
        """Write the report as it is now, whole or not at all."""
        self.report["seconds"] = round(time.monotonic() - self._started, 1)
        self.report["steps"] = self._steps
        text = json.dumps(self.report, indent=1, ensure_ascii=False) + "\n"
        scratch = self._out.with_name(f".{self._out.name}.new")
        scratch.write_text(text, encoding="utf-8")
        scratch.replace(self._out)

    def _timed(self, action: Callable[[], Result]) -> tuple[Result | None, str | None, float]:
        """What a step has found, why it failed, and how long it took."""
        started = time.monotonic()
        error: str | None = None
        result: Result | None = None
        try:
            if self.remaining() < _LEAST_SECONDS:
                raise StepError("not run: the time is up")
            result = action()
        except StepError as failure:
            error, result = str(failure), failure.result
        except Exception as failure:  # whatever it is, the other steps are to run
            error = f"{type(failure).__name__}: {failure}"
        return result, error, time.monotonic() - started

    def _record(
        self, name: tuple[str, ...], result: Result | None, error: str | None, seconds: float
    ) -> None:
        title = "/".join(name)
        entry: Result = {"step": title, "ok": error is None, "seconds": round(seconds, 1)}
        if error is not None:
            entry["error"] = error
            self.report["ok"] = False
            self.report["failed"].append(title)
        self._steps.append(entry)
        if result is not None:
            place = self.report
            for key in name[:-1]:
                place = place.setdefault(key, {})
            place[name[-1]] = result
        self.write()
        told = "ok" if error is None else f"FAILED: {error.strip().splitlines()[-1]}"
        print(f"{title}: {told} ({seconds:.1f} s)", file=sys.stderr, flush=True)


def call(arguments: Sequence[str | Path], env: Mapping[str, str], seconds: float) -> str:
    """Run a program; returns what it prints. Raises StepError if it fails or takes too long."""
    words = [str(argument) for argument in arguments]
    process = subprocess.Popen(
        words,
        env=dict(env),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
        start_new_session=True,
    )
    try:
        out, err = process.communicate(timeout=max(seconds, 0.1))
    except subprocess.TimeoutExpired:
        # It may have started others, such as `bench` that measures memory.
        os.killpg(process.pid, signal.SIGKILL)
        _, err = process.communicate()
        raise StepError(f"{_short(words)}: no end after {seconds:.0f} s\n{_end(err)}") from None
    if process.returncode != 0:
        status = process.returncode
        told = f"signal {-status}" if status < 0 else f"status {status}"
        raise StepError(f"{_short(words)}: {told}\n{_end(err or out)}")
    return out


def call_json(arguments: Sequence[str | Path], env: Mapping[str, str], seconds: float) -> Result:
    """Run a program that prints one JSON object on its last line."""
    out = call(arguments, env, seconds)
    try:
        result: Result = json.loads(out.splitlines()[-1])
    except (IndexError, json.JSONDecodeError) as error:
        raise StepError(f"{_short([str(a) for a in arguments])}: no JSON: {_end(out)}") from error
    return result


def _short(words: list[str]) -> str:
    return " ".join([Path(words[0]).name, *words[1:3]])


def _end(text: str) -> str:
    return text.strip()[-_LAST_CHARACTERS:]
