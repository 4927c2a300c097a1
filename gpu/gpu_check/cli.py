"""Command line of the check: runs all steps, and writes one JSON."""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from pathlib import Path

from gpu_check.plan import plan
from gpu_check.program import Check
from gpu_check.steps import Result, Steps

_SECONDS = 540.0


def main() -> int:
    """Exit status 0 if every step worked, 1 if one failed, 2 for wrong usage."""
    parser = argparse.ArgumentParser(prog="gpu/check.sh", description="Checks sllm-ort on a GPU.")
    add = parser.add_argument
    add("--pack", type=Path, required=True, help=argparse.SUPPRESS)
    add("--provider", choices=("cuda", "cpu"), default="cuda", help="cpu: small, to try the script")
    add("--out", type=Path, metavar="FILE", help="report (default: gpu-check.json here)")
    add("--work", type=Path, metavar="DIR", help="for bundles and libraries (default: a new one)")
    help_text = f"stop after this time (default: {_SECONDS:.0f})"
    add("--seconds", type=float, default=_SECONDS, metavar="N", help=help_text)
    given = parser.parse_args()
    out: Path = (given.out or Path("gpu-check.json")).absolute()
    head: Result = {"provider": given.provider, "arguments": sys.argv[1:]}
    steps = Steps(out, given.seconds, head)
    if given.work is not None:
        given.work.mkdir(parents=True, exist_ok=True)
        return _run(steps, given, given.work.absolute(), out)
    with tempfile.TemporaryDirectory(prefix="gpu-check-") as work:
        return _run(steps, given, Path(work), out)


def _run(steps: Steps, given: argparse.Namespace, work: Path, out: Path) -> int:
    check = Check(steps, plan(given.provider), given.pack.absolute(), work, dict(os.environ))
    check.run()
    status = steps.finish()
    told = "every step worked" if status == 0 else f"failed: {', '.join(steps.report['failed'])}"
    print(f"{out}: {told}", file=sys.stderr)
    return status
