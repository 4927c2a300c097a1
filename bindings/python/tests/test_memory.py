"""Memory after many sessions."""

from __future__ import annotations

import gc
import os
import sys
from pathlib import Path

import pytest
import sllm_ort
from conftest import PROMPT

SESSIONS = int(os.environ.get("SLLM_ORT_SESSIONS", "2000"))
MOST_GROWTH = 4 << 20


def resident_bytes() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def use(model: sllm_ort.Model, number: int) -> None:
    """A session that ends in one of several ways."""
    session = model.session(PROMPT)
    pieces: list[str] = []
    generation = session.generate(max_sentences=2, seed=number, on_text=pieces.append)
    next(generation)
    if number % 4 == 0:
        list(generation)
        sllm_ort.Session.from_bytes(model, session.to_bytes()).fork()
    elif number % 4 == 1:
        generation.close()
        session.rewind()
    elif number % 4 == 2:
        model.decode(model.encode(["Tom saw a dog. "]))
    with pytest.raises(sllm_ort.Error):
        model.session().generate()


@pytest.mark.skipif(sys.platform != "linux", reason="memory is read from /proc")
def test_sessions_leave_nothing_behind(tiny: sllm_ort.Model) -> None:
    for number in range(SESSIONS // 4):
        use(tiny, number)
    gc.collect()
    before = resident_bytes()
    for number in range(SESSIONS // 4, SESSIONS):
        use(tiny, number)
    gc.collect()
    growth = resident_bytes() - before
    assert growth < MOST_GROWTH, f"{growth} bytes after {SESSIONS} sessions"
