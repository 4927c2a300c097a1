"""Measures whether a model's stories say the names of their beginnings again.

    PYTHONPATH=export python export/names_said.py --model BUNDLE --text FILE

The beginnings are the first sentences of stories that the model was not trained on, in which every
known name is another one. Options that are not named here are those of `sllm-ort run`. Prints the
share of the names said that are the beginning's, and the share of continuations that say one.
"""

from __future__ import annotations

import argparse
import random
import re
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from sllm_export.errors import ExportError
from sllm_train.corpus import read_records
from sllm_train.text.entities import names_in, substituted

BINARY = Path(__file__).resolve().parent.parent / "target" / "release" / "sllm-ort"


@dataclass
class Counts:
    """Names that continuations say, those of them that are their beginning's, and continuations
    that say such a one."""

    said: int = 0
    own: int = 0
    with_own: int = 0
    continuations: int = 0

    def add(self, beginning: str, continuation: str) -> None:
        """Count one continuation."""
        said, known = names_in(continuation), set(names_in(beginning))
        own = sum(name in known for name in said)
        self.said += len(said)
        self.own += own
        self.with_own += own > 0
        self.continuations += 1

    def report(self) -> str:
        """The figures in words."""
        names = _share(self.own, self.said)
        stories = _share(self.with_own, self.continuations)
        return (
            f"names said that are the beginning's: {names}\ncontinuations that say one: {stories}"
        )


def _share(part: int, whole: int) -> str:
    percent = f" ({100 * part / whole:.0f} %)" if whole else ""
    return f"{part} of {whole}{percent}"


def beginnings(records: Iterable[str], sentences: int) -> list[str]:
    """The first sentences of each record on one line, with other names; none without a name."""
    found = []
    for number, record in enumerate(records):
        text = " ".join(substituted(record, random.Random(number)).split())
        beginning = " ".join(re.split(r"(?<=[.!?]) ", text)[:sentences])
        if names_in(beginning):
            found.append(beginning)
    return found


def continuation(args: argparse.Namespace, options: list[str], beginning: str) -> str:
    """What the model says after it."""
    command = [args.binary, "run", "--model", args.model, beginning]
    command += ["--seed", str(args.seed), "--max-sentences", str(args.max_sentences)]
    done = subprocess.run(
        [*command, *options], capture_output=True, text=True, stdin=subprocess.DEVNULL
    )
    if done.returncode:
        raise SystemExit(done.stderr.strip())
    return done.stdout


def main() -> None:
    """Continue all beginnings and print the figures."""
    cli = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add = cli.add_argument
    add("--binary", type=Path, default=BINARY, metavar="FILE", help="default: %(default)s")
    add("--model", required=True, metavar="DIR", help="bundle")
    add(
        "--text",
        type=Path,
        required=True,
        metavar="FILE",
        help="stories, as the trainer reads them",
    )
    add("--skip", type=int, default=400, metavar="N", help="first records not used (%(default)s)")
    add("--records", type=int, default=120, metavar="N", help="records used (%(default)s)")
    add("--sentences", type=int, default=3, metavar="N", help="of a beginning (%(default)s)")
    add(
        "--max-sentences", type=int, default=12, metavar="N", help="of a continuation (%(default)s)"
    )
    add("--seed", type=int, default=3, metavar="N", help="of each continuation (%(default)s)")
    args, options = cli.parse_known_args()
    try:
        records = list(islice(read_records(args.text), args.skip, args.skip + args.records))
    except (ExportError, OSError) as error:
        raise SystemExit(str(error)) from error
    counts = Counts()
    for beginning in beginnings(records, args.sentences):
        counts.add(beginning, continuation(args, options, beginning))
    if not counts.continuations:
        raise SystemExit(f"{args.text}: no beginning with a known name in these records")
    print(counts.report())


if __name__ == "__main__":
    main()
