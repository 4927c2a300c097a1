"""SIGINT and SIGTERM as a wish that the training loop grants between two steps."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

SIGNALS = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def note_signals() -> Iterator[threading.Event]:
    """Within, a signal sets the event and does nothing else.

    Also the second one: torchrun sends on to its processes what the terminal has sent them.
    """
    wished = threading.Event()
    before = {number: signal.signal(number, lambda *_: wished.set()) for number in SIGNALS}
    try:
        yield wished
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
