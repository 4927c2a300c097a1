"""Measures, prints a table, writes JSON."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from peers.errors import PeerError
from peers.machine import machine
from peers.options import Options, parse
from peers.results import results, write
from peers.systems import make_systems
from peers.table import heading, table
from peers.turns import Outcome, measure

FAILED = 1


def main(argv: Sequence[str] | None = None) -> int:
    """Returns the exit status: 0, or 1 if a system failed. The table goes to stdout, all else to
    stderr."""
    options = parse(sys.argv[1:] if argv is None else argv)
    try:
        outcomes = _run(options)
    except (PeerError, OSError) as error:
        _say(f"error: {error}")
        return FAILED
    except KeyboardInterrupt:
        _say("error: interrupted")
        return FAILED
    return FAILED if any(outcome.failure for outcome in outcomes) else 0


def _run(options: Options) -> list[Outcome]:
    found = machine()
    with tempfile.TemporaryDirectory(prefix="peers-") as folder:
        systems = make_systems(options, Path(folder))
        outcomes = measure(systems, options.rounds, options.pause, _say)
    print(heading(options.workload, options.rounds), table(outcomes), sep="\n\n", flush=True)
    write(options.out, results(options, outcomes, found))
    _say(f"results: {options.out}")
    return outcomes


def _say(text: str) -> None:
    print(f"peers: {text}", file=sys.stderr, flush=True)
