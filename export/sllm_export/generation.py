"""Sampling defaults of a bundle: `generation` in its manifest."""

from __future__ import annotations

import argparse
import json
import math
from typing import Any

_RANGES: dict[str, tuple[float, float]] = {
    "temperature": (0, 100),
    "guidance_scale": (1, 10),
    "top_p": (math.nextafter(0, 1), 1),
    "min_p": (0, 1),
    "repetition_penalty": (1, 10),
    "dry_multiplier": (0, 10),
    "dry_base": (1, 10),
}
_COUNTS = {"top_k": 2**32 - 1, "no_repeat_ngram": 2**32 - 1, "dry_allowed_length": 50}
_FLAGS = ("avoid_repeats",)


def parse_generation(text: str) -> dict[str, Any]:
    """Reads the JSON object of the command line.

    Raises argparse.ArgumentTypeError with every problem found.
    """
    try:
        values = json.loads(text)
        if not isinstance(values, dict):
            raise argparse.ArgumentTypeError(f"{text[:80]} (allowed: a JSON object)")
        problems = [problem for key, value in values.items() if (problem := _problem(key, value))]
    except (ValueError, RecursionError) as error:
        raise argparse.ArgumentTypeError(f"not valid JSON: {error}") from error
    if problems:
        raise argparse.ArgumentTypeError("; ".join(problems))
    return values


def _problem(key: str, value: Any) -> str | None:
    """What is wrong with a value; None if nothing is."""
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if key in _RANGES:
        low, high = _RANGES[key]
        good, allowed = number and low <= value <= high, f"a number from {low:g} to {high:g}"
    elif key in _COUNTS:
        most = _COUNTS[key]
        good = number and isinstance(value, int) and 1 <= value <= most
        allowed = f"a whole number, 1 to {most}"
    elif key in _FLAGS:
        good, allowed = isinstance(value, bool), "true or false"
    else:
        known = ", ".join([*_RANGES, *_COUNTS, *_FLAGS])
        return f"{key[:80]!r} is unknown (allowed: {known})"
    return None if good else f"{key} is {json.dumps(value)[:80]} (allowed: {allowed})"
