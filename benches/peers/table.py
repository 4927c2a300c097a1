"""Results for people."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from peers.comparison import comparisons
from peers.spread import Spread
from peers.turns import Outcome
from peers.workload import Workload

Row = tuple[str, str, str]
_HEAD = ("output", "input")


def heading(workload: Workload, rounds: int) -> str:
    """What was measured."""
    lengths = f"prompt of {workload.prompt_tokens} tokens"
    lengths += f", {workload.sentences} new sentences of {workload.sentence_tokens}"
    return f"{lengths}, batch 1, greedy, threads: {workload.threads}, rounds in turn: {rounds}"


def table(outcomes: Sequence[Outcome]) -> str:
    """Speeds, then ratios: medians, with the lowest and the highest round in brackets."""
    speeds = list(_speeds(outcomes))
    compared = list(_ratios(outcomes))
    blocks = [_align([("tokens/s, median (lowest to highest)", *_HEAD), *speeds])]
    if compared:
        blocks.append(_align([("times as fast", *_HEAD), *compared]))
    return "\n\n".join(blocks)


def _speeds(outcomes: Sequence[Outcome]) -> Iterator[Row]:
    for outcome in outcomes:
        summary = outcome.summary
        if summary is None:
            yield outcome.description.title, f"failed: {outcome.failure}", ""
            continue
        output = _cell(summary.output_tokens_per_second, 1)
        yield outcome.description.title, output, _cell(summary.input_tokens_per_second, 0)


def _ratios(outcomes: Sequence[Outcome]) -> Iterator[Row]:
    for comparison in comparisons(outcomes):
        found = comparison.ratios
        name = f"{comparison.own.title} / {comparison.other.title}"
        output = _cell(found.output_tokens_per_second, 2)
        yield name, output, _cell(found.input_tokens_per_second, 2)


def _cell(spread: Spread, digits: int) -> str:
    return f"{spread.median:.{digits}f} ({spread.low:.{digits}f} to {spread.high:.{digits}f})"


def _align(rows: Sequence[Row]) -> str:
    # A reason of failure may be long, and stands alone in its line.
    first, second = (max(len(row[i]) for row in rows if row[2]) for i in range(2))
    first = max(first, *(len(row[0]) for row in rows))
    lines = (f"{name:<{first}}  {output:<{second}}  {into}" for name, output, into in rows)
    return "\n".join(line.rstrip() for line in lines)
