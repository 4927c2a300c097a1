"""Results as JSON. Speeds are in tokens per second, ratios above 1 are faster."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from peers.comparison import Comparison, comparisons
from peers.options import Options
from peers.turns import Outcome

_NOTES = (
    "batch 1, greedy; eos is never chosen, so that all lengths are as asked for",
    "weights: the same random ones in all systems, in the system's precision; as fast as trained",
    "prompt: the same random ids in all systems but sllm-ort's, which draws its own",
    "time: from ids to ids; loading, tokenizing and detokenizing are left out, but sllm-ort makes "
    "text of the tokens",
    "warm-up rounds go before the measured round in each turn",
)


def results(
    options: Options, outcomes: Sequence[Outcome], machine: dict[str, Any]
) -> dict[str, Any]:
    """All that is known, for `write`."""
    return {
        "format_version": 1,
        "machine": machine,
        "workload": asdict(options.workload),
        "rounds": options.rounds,
        "notes": list(_NOTES),
        "systems": [_system(outcome) for outcome in outcomes],
        "ratios": [_comparison(comparison) for comparison in comparisons(outcomes)],
    }


def write(path: Path, value: dict[str, Any]) -> None:
    """Writes a file whole or not at all."""
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
