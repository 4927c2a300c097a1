"""Which systems are compared."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from peers.spread import Summary, ratios
from peers.system import Description
from peers.turns import Outcome


@dataclass(frozen=True)
class Comparison:
    """A system of ours over another one: ratios above 1 are faster."""

    own: Description
    other: Description
    ratios: Summary


def comparisons(outcomes: Sequence[Outcome]) -> Iterator[Comparison]:
    """Our sentence-level systems over all but each other, and our token-level one over those that
    run the same model: that one tells of the runtime alone."""
    done = [outcome for outcome in outcomes if outcome.summary is not None]
    for own in done:
        for other in done:
            if _compared(own.description, other.description):
                summary = ratios(own.rounds, other.rounds)
                yield Comparison(own.description, other.description, summary)


def _compared(own: Description, other: Description) -> bool:
    if not own.ours or (other.ours and own.level == other.level):
        return False
    return own.level == "sentences" or own.level == other.level
