"""Medians of rounds, with their ends."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from peers.workload import Speed


@dataclass(frozen=True)
class Spread:
    """Median, lowest and highest of some rounds, in the unit of the figures."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, figures: Sequence[float]) -> Spread:
        """Of at least one figure."""
        return cls(statistics.median(figures), min(figures), max(figures))


@dataclass(frozen=True)
class Summary:
    """All rounds of a system in tokens per second, or as ratios to those of another system."""

    input_tokens_per_second: Spread
    output_tokens_per_second: Spread

    @classmethod
    def of(cls, rounds: Sequence[Speed]) -> Summary:
        """Of at least one round."""
        return cls(
            Spread.of([speed.input_tokens_per_second for speed in rounds]),
            Spread.of([speed.output_tokens_per_second for speed in rounds]),
        )


def ratios(own: Sequence[Speed], other: Sequence[Speed]) -> Summary:
    """Each round over the other system's round of the same number: they were measured in turn, so
    a machine that is slow for a while slows both."""
    return Summary.of([a.over(b) for a, b in zip(own, other, strict=True)])
