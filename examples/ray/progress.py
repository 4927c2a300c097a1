"""How far a run is, on stderr."""

from __future__ import annotations

import sys
import time


class Progress:
    """A bar on a terminal, else a line every ten seconds."""

    def __init__(self, parts: int, done: int) -> None:
        self.parts, self.done, self.before = parts, done, done
        self.sentences = 0
        self.timed = 0
        self.start = self.shown = time.monotonic()
        self.terminal = sys.stderr.isatty()

    def add(self, sentences: int) -> None:
        """A part is done."""
        now = time.monotonic()
        if self.done == self.before:
            # The first part took the start of Ray, of the workers and of the model besides.
            self.start = now
        else:
            self.timed += sentences
        self.done += 1
        self.sentences += sentences
        if now - self.shown >= (0.2 if self.terminal else 10) or self.done == self.parts:
            self.shown = now
            self.show()

    def rate(self) -> float | None:
        """Sentences per second since the first part was done."""
        seconds = time.monotonic() - self.start
        return self.timed / seconds if self.timed and seconds > 0 else None

    def show(self) -> None:
        """Print the state."""
        full = 30 * self.done // self.parts
        text = (
            f"[{'#' * full}{'.' * (30 - full)}] {self.done}/{self.parts} parts, "
            f"{self.sentences:,} sentences"
        )
        if (rate := self.rate()) is not None:
            seconds = (time.monotonic() - self.start) / (self.done - self.before - 1)
            left = seconds * (self.parts - self.done)
            text += f", {rate:,.0f}/s, {left / 60:.0f} min left"
        end = "\n" if not self.terminal or self.done == self.parts else ""
        start = "\r" if self.terminal else ""
        print(f"{start}{text}", end=end, file=sys.stderr, flush=True)
