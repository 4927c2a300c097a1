"""The command line: measures the systems in turn, prints a table, writes JSON."""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from peers.machine import machine
from peers.measure import Outcome, measure
from peers.random_model import RandomModel, Task
from peers.report import heading, results, table, write
from peers.sllm_ort import Program, SllmOrt
from peers.system import KINDS, LLAMA_CPP, NAMES, Description, PeerError, System
from peers.worker import WorkerSystem
from peers.workload import Workload

FAILED = 1
_DESCRIPTION = "Measures sllm-ort and its peers in turn, with the same random weights."
_EPILOG = "Exit status: 0 done, 1 a system failed, 2 wrong usage."


@dataclass(frozen=True)
class Options:
    """What to measure, how often, and where to write the results. `pause` is in seconds."""

    workload: Workload
    rounds: int
    pause: float
    names: tuple[str, ...]
    sllm: Path
    opt: Path
    program: Program
    out: Path


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit status: 1 if a system failed, else 0.

    The table goes to stdout, everything else to stderr.
    """
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
    write(options.out, results(options.workload, options.rounds, outcomes, found))
    _say(f"results: {options.out}")
    return outcomes


def make_systems(options: Options, folder: Path) -> list[System]:
    """Make the systems that were asked for, in the order of `KINDS`, without starting them.

    Workers write their files to `folder`. Raises PeerError if a bundle is of another kind, or if
    its weights are not random.
    """
    return [_make(name, options, folder / name) for name in KINDS if name in options.names]


def _make(name: str, options: Options, folder: Path) -> System:
    kind = KINDS[name]
    sentences = kind.level == "sentences"
    bundle, wanted = (options.sllm, "sllm") if sentences else (options.opt, "opt")
    model = RandomModel.of_bundle(bundle)
    if model.config.kind != wanted:
        raise PeerError(f"{bundle}: is of kind {model.config.kind} (expected {wanted})")
    model_name = model.config.name
    if kind.runtime == LLAMA_CPP:
        # llama.cpp has no OPT.
        model_name += " as GPT-2"
    description = Description(name, model_name, *kind)
    workload = replace(options.workload, batch=kind.batch)
    if kind.ours:
        return SllmOrt(description, options.program, bundle, workload)
    return WorkerSystem(description, Task(model, workload, folder))


def _say(text: str) -> None:
    print(f"peers: {text}", file=sys.stderr, flush=True)


def parse(argv: Sequence[str]) -> Options:
    """Parse the command line; a wrong one ends the process with status 2."""
    parser = _parser()
    given = parser.parse_args(argv)
    if given.prompt_tokens % given.sentence_tokens:
        parser.error("--prompt-tokens is not a multiple of --sentence-tokens")
    workload = Workload(
        prompt_tokens=given.prompt_tokens,
        sentence_tokens=given.sentence_tokens,
        sentences=given.sentences,
        threads=given.threads,
        warmup=given.warmup,
        seed=given.seed,
    )
    return Options(
        workload=workload,
        rounds=given.rounds,
        pause=given.pause,
        names=tuple(given.systems),
        sllm=given.sllm,
        opt=given.opt,
        program=Program(given.binary, given.onnxruntime),
        out=given.out,
    )


def _parser() -> argparse.ArgumentParser:
    usual = Workload()
    parser = argparse.ArgumentParser(prog="peers", description=_DESCRIPTION, epilog=_EPILOG)
    add = parser.add_argument

    def count(name: str, default: int, text: str) -> None:
        text = f"{text} (default: %(default)s)"
        add(name, type=_count, default=default, metavar="N", help=text)

    def path(name: str, default: str, kind: str, text: str) -> None:
        text = f"{text} (default: %(default)s)"
        add(name, type=Path, default=Path(default), metavar=kind, help=text)

    count("--rounds", 7, "turns of each system that count")
    count("--warmup", usual.warmup, "rounds that do not count, before that of each turn")
    count("--threads", usual.threads, "threads that work on one model, for all systems")
    count("--prompt-tokens", usual.prompt_tokens, "tokens of the prompt, which are random")
    count("--sentence-tokens", usual.sentence_tokens, "tokens of each sentence")
    count("--sentences", usual.sentences, "sentences to generate; token-level: as many tokens")
    add("--seed", type=_seed, default=usual.seed, metavar="N", help="of the prompt")
    pause = "rest before each turn, for threads that still spin (default: %(default)s)"
    add("--pause", type=_pause, default=0.5, metavar="SECONDS", help=pause)
    add("--systems", nargs="+", choices=NAMES, default=NAMES, metavar="NAME", help=_names())
    path("--sllm", "models/random/sllm-125m-h1", "DIR", "bundle of an SLLM with random weights")
    path("--opt", "models/random/opt-125m", "DIR", "bundle of an OPT model with random weights")
    path("--binary", "target/release/sllm-ort", "FILE", "sllm-ort")
    add("--onnxruntime", type=Path, metavar="FILE", help="library for sllm-ort (default: searched)")
    path("--out", "target/peers.json", "FILE", "results as JSON")
    return parser


def _names() -> str:
    return f"which to measure, of {', '.join(NAMES)} (default: all)"


def _count(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{value} is not at least 1")
    return value


def _seed(text: str) -> int:
    value = int(text)
    if value < 0:
        raise argparse.ArgumentTypeError(f"{value} is negative")
    return value


def _pause(text: str) -> float:
    value = float(text)
    if not 0 <= value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text} is not a time")
    return value
