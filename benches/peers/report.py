"""Reports of the outcomes: a table for people, JSON for programs.

Speeds are in tokens per second; ratios above 1 are faster.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from peers.measure import Comparison, Outcome, Spread, comparisons
from peers.workload import Workload

Row = tuple[str, str, str]
_HEAD = ("output", "input")
_NOTES = (
    "greedy; eos is never chosen, so that all lengths are as asked for",
    "batch: continuations generated together, tokens/s of all of them; 1 where none is named",
    "weights: the same random ones in all systems, in the system's precision; as fast as trained",
    "llama.cpp: the weights of OPT in GPT-2's architecture, which has GELU in place of ReLU",
    "prompt: the same random ids in all systems but sllm-ort's, which draws its own",
    "time: from ids to ids; loading, tokenizing and detokenizing are left out, but sllm-ort makes "
    "text of the tokens",
    "warm-up rounds go before the measured round in each turn",
)


def heading(workload: Workload, rounds: int) -> str:
    """Describe the workload in one line."""
    lengths = f"prompt of {workload.prompt_tokens} tokens"
    lengths += f", {workload.sentences} new sentences of {workload.sentence_tokens}"
    return f"{lengths}, greedy, threads: {workload.threads}, rounds in turn: {rounds}"


def table(outcomes: Sequence[Outcome]) -> str:
    """Tabulate speeds, then ratios: medians, with minimum and maximum in brackets."""
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


def results(
    workload: Workload, rounds: int, outcomes: Sequence[Outcome], machine: dict[str, Any]
) -> dict[str, Any]:
    """The results as a JSON object, for `write`."""
    return {
        "format_version": 1,
        "machine": machine,
        # Each system has a batch of its own.
        "workload": {key: value for key, value in asdict(workload).items() if key != "batch"},
        "rounds": rounds,
        "notes": list(_NOTES),
        "systems": [_system(outcome) for outcome in outcomes],
        "ratios": [_comparison(comparison) for comparison in comparisons(outcomes)],
    }


def write(path: Path, value: dict[str, Any]) -> None:
    """Write a JSON file atomically."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    part.write_text(json.dumps(value, indent=2) + "\n", encoding="utf-8")
    part.replace(path)


def _system(outcome: Outcome) -> dict[str, Any]:
    found = asdict(outcome.description) | {"details": outcome.details}
    found["rounds"] = [asdict(speed) for speed in outcome.rounds]
    if outcome.summary is None:
        return found | {"failure": outcome.failure}
    return found | asdict(outcome.summary)


def _comparison(comparison: Comparison) -> dict[str, Any]:
    names = {"of": comparison.own.name, "over": comparison.other.name}
    return names | asdict(comparison.ratios)
