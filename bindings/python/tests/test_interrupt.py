"""Ctrl-C."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from conftest import PROMPT, STORIES

# A shell that starts the tests in the background has SIGINT ignored, and Python leaves it so.
HANDLER = """
import signal
signal.signal(signal.SIGINT, signal.default_int_handler)
"""
# Each prints a line when its work has begun, and one after the interrupt.
GENERATE = """
import json, sys, time, sllm_ort
model = sllm_ort.Model(sys.argv[1], variant="portable")
session = model.session(sys.argv[2])
options = dict(max_sentences=10**9, ignore_eos=True, overflow="drop_oldest", temperature=0.8)
count = 0
try:
    for sentence in session.generate(**options, **json.loads(sys.argv[3])):
        count += 1
        if count == 2:
            print("begun", flush=True)
except KeyboardInterrupt:
    now = time.monotonic()
    length = len(session)
    after = len(list(session.generate(max_sentences=2, ignore_eos=True)))
    print(json.dumps([now, after, len(session) - length]), flush=True)
"""
BATCH = """
import json, sys, time, sllm_ort
model = sllm_ort.Model(sys.argv[1], variant="portable")
session = model.session(sys.argv[2])
print("begun", flush=True)
try:
    model.generate_batch(
        [session] + [sys.argv[2]] * 3,
        max_sentences=10**9, ignore_eos=True, overflow="drop_oldest",
    )
except KeyboardInterrupt:
    now = time.monotonic()
    length = len(session)
    after = len(list(session.generate(max_sentences=2, ignore_eos=True, overflow="drop_oldest")))
    print(json.dumps([now, after, 2]), flush=True)
"""
ENCODE = """
import json, sys, time, sllm_ort
model = sllm_ort.Model(sys.argv[1], variant="portable")
session = model.session(sys.argv[2])
run = time.monotonic()
model.encode([sys.argv[2][:30]] * 64)
run = time.monotonic() - run
print("begun", flush=True)
try:
    model.encode([sys.argv[2][:30]] * 100_000)
except KeyboardInterrupt:
    now = time.monotonic() - run
    print(json.dumps([now, len(list(session.generate(max_sentences=2))), 2]), flush=True)
"""

# Signals are looked for every 10 ms; the rest is for a run of a graph and a busy machine.
LONGEST_SECONDS = 0.1
ATTEMPTS = 5
GUARD_SECONDS = 60


def interrupt(script: str, options: dict[str, Any]) -> float:
    """Send SIGINT while the script works; returns the seconds until it was raised.

    What a run takes is not counted where it is long.
    """
    command = [sys.executable, "-c", HANDLER + script, str(STORIES), PROMPT, json.dumps(options)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        # A process that goes on for ever must not hold up the tests.
        guard = threading.Timer(GUARD_SECONDS, process.kill)
        guard.start()
        assert process.stdout.readline() == "begun\n"
        time.sleep(0.3)
        sent = time.monotonic()
        os.kill(process.pid, signal.SIGINT)
        raised, after, appended = json.loads(process.stdout.readline())
    guard.cancel()
    assert process.returncode == 0
    assert after == appended == 2
    return float(raised - sent)


@pytest.mark.skipif(sys.platform == "win32", reason="SIGINT cannot be sent there")
@pytest.mark.parametrize(
    ("script", "options"),
    [
        (GENERATE, {}),
        # A sentence takes much longer than the limit.
        (GENERATE, {"best_of": 64}),
        (BATCH, {}),
        (ENCODE, {}),
    ],
    ids=["generate", "best-of", "batch", "encode"],
)
def test_an_interrupt_ends_the_work_and_leaves_the_session_usable(
    script: str, options: dict[str, Any]
) -> None:
    times = []
    for _ in range(ATTEMPTS):
        times.append(interrupt(script, options))
        if times[-1] <= LONGEST_SECONDS:
            return
    pytest.fail(f"it took {times} s")


def test_a_script_without_a_handler_ends_with_a_traceback(tmp_path: Path) -> None:
    script = tmp_path / "story.py"
    script.write_text(HANDLER + GENERATE.replace("KeyboardInterrupt", "ZeroDivisionError"))
    command = [sys.executable, str(script), str(STORIES), PROMPT, "{}"]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline() == "begun\n"
        os.kill(process.pid, signal.SIGINT)
        assert process.stderr.read().endswith("KeyboardInterrupt\n")
