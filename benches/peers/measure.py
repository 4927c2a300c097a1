"""Measures systems in turn (A B C A B C) and summarizes the rounds."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace

from peers.system import Description, PeerError, System
from peers.workload import Speed


@dataclass(frozen=True)
class Spread:
    """Median, minimum and maximum of the rounds, in the unit of the figures."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, figures: Sequence[float]) -> Spread:
        """Summarize at least one figure."""
        return cls(statistics.median(figures), min(figures), max(figures))


@dataclass(frozen=True)
class Summary:
    """All rounds of a system in tokens per second, or as ratios to those of another system."""

    input_tokens_per_second: Spread
    output_tokens_per_second: Spread

    @classmethod
    def of(cls, rounds: Sequence[Speed]) -> Summary:
        """Summarize at least one round."""
        return cls(
            Spread.of([speed.input_tokens_per_second for speed in rounds]),
            Spread.of([speed.output_tokens_per_second for speed in rounds]),
        )


def ratios(own: Sequence[Speed], other: Sequence[Speed]) -> Summary:
    """Divide each round by the other system's round of the same number.

    The systems were measured in turn, so a machine that is slow for a while slows both.
    """
    return Summary.of([a.over(b) for a, b in zip(own, other, strict=True)])


@dataclass
class Outcome:
    """The results of one system: the speed of each round, or the reason of its failure."""

    description: Description
    details: dict[str, str]
    rounds: list[Speed] = field(default_factory=list)
    failure: str | None = None

    @property
    def summary(self) -> Summary | None:
        """The summary of all rounds; None if one of them failed."""
        return Summary.of(self.rounds) if self.rounds and self.failure is None else None


@dataclass(frozen=True)
class Comparison:
    """One of our systems against another system: ratios above 1 are faster."""

    own: Description
    other: Description
    ratios: Summary


def comparisons(outcomes: Sequence[Outcome]) -> Iterator[Comparison]:
    """Compare our systems with the others.

    Our sentence-level systems are compared with all systems of the same batch but each other. Our
    token-level system is compared with those that run the same model, which shows the difference of
    the runtimes. A batch is also compared with the same system at batch 1.
    """
    done = [outcome for outcome in outcomes if outcome.summary is not None]
    for own in done:
        for other in done:
            if _compared(own.description, other.description):
                summary = ratios(own.rounds, other.rounds)
                yield Comparison(own.description, other.description, summary)


def _compared(own: Description, other: Description) -> bool:
    if own.batch != other.batch:
        return own.ours and other == replace(own, name=other.name, batch=1)
    if not own.ours or (other.ours and own.level == other.level):
        return False
    return own.level == "sentences" or own.level == other.level


def measure(
    systems: Sequence[System], rounds: int, pause_seconds: float, say: Callable[[str], None]
) -> list[Outcome]:
    """Start all systems and give each a turn in each round; a system that fails gets no more turns.

    In the pause before each turn the threads of the last system go to sleep: OpenMP's spin for up
    to 0.2 s when they wait for work.
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
