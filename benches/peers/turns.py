"""Measuring systems in turn: A B C A B C."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from peers.errors import PeerError
from peers.spread import Summary
from peers.system import Description, System
from peers.workload import Speed


@dataclass
class Outcome:
    """What was found of one system: a speed for each round, or why there is none."""

    description: Description
    details: dict[str, str]
    rounds: list[Speed] = field(default_factory=list)
    failure: str | None = None

    @property
    def summary(self) -> Summary | None:
        """Of all rounds; None if one of them failed, since it could be compared with no other."""
        return Summary.of(self.rounds) if self.rounds and self.failure is None else None


def measure(
    systems: Sequence[System], rounds: int, pause_seconds: float, say: Callable[[str], None]
) -> list[Outcome]:
    """Starts all systems, and gives each a turn in each round. One that fails is left out from
    then on.

    The pause before each turn lets the threads of the last one, which wait for work in a loop for
    a while (OpenMP's do so for up to 0.2 s), go to sleep.
    """
    outcomes = [Outcome(system.description, system.details) for system in systems]
    try:
        for system, outcome in zip(systems, outcomes, strict=True):
            say(f"{system.description.name}: loading")
            _attempt(system.start, outcome, say)
        for number in range(1, rounds + 1):
            for system, outcome in zip(systems, outcomes, strict=True):
                if outcome.failure is None:
                    time.sleep(pause_seconds)
                    speed = _attempt(system.turn, outcome, say)
                    _take(speed, outcome, f"round {number} of {rounds}", say)
    finally:
        for system in systems:
            system.close()
    return outcomes


def _attempt(
    work: Callable[[], Speed | None], outcome: Outcome, say: Callable[[str], None]
) -> Speed | None:
    try:
        return work()
    except PeerError as error:
        outcome.failure = str(error)
        say(f"{outcome.description.name}: failed: {error}")
        return None


def _take(speed: Speed | None, outcome: Outcome, number: str, say: Callable[[str], None]) -> None:
    if speed is None:
        return
    outcome.rounds.append(speed)
    out, into = speed.output_tokens_per_second, speed.input_tokens_per_second
    say(f"{number}: {outcome.description.name}: output {out:.1f}, input {into:.0f} tokens/s")
