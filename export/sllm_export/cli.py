"""Command line: `python -m sllm_export bundle ...` and `python -m sllm_export train ...`.

Progress goes to stderr, nothing else does but errors; exit status 0 done, 1 failed, 2 wrong usage.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sllm_export import __version__
from sllm_export.bundle import SEGMENTATIONS, BundleSource, check_out, write_bundle
from sllm_export.checkpoint import open_checkpoint
from sllm_export.checkpoint.expected import expected_shapes
from sllm_export.checkpoint.random_weights import RandomStateDict
from sllm_export.checkpoint.rounded import RoundedToHalf
from sllm_export.checkpoint.sharded import INDEX_SUFFIX, shard_names
from sllm_export.checkpoint.state_dict import StateDict
from sllm_export.config import ModelConfig, load_config
from sllm_export.digest import sha256
from sllm_export.errors import ExportError
from sllm_export.fitting import check_fits
from sllm_export.generation import parse_generation
from sllm_export.model_card import CardEntry
from sllm_export.opt_config import check_opt_config, has_opt_config
from sllm_export.opt_directory import find_opt_weights, open_opt
from sllm_export.tokenizer import find_tokenizer
from sllm_export.variants import VARIANTS, in_place_problem, select_variants, stored_in_half

FAILED = 1
_DESCRIPTION = "Makes bundles for sllm-ort from checkpoints, and trains models."


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command line; returns the exit status."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    try:
        if arguments[:1] == ["train"]:
            return _train(arguments[1:])
        _bundle(_parser().parse_args(arguments))
    except ExportError as error:
        print(f"sllm_export: error: {_one_line(str(error))}", file=sys.stderr)
        return FAILED
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        print(f"sllm_export: error: {where}{error.strerror or error}", file=sys.stderr)
        return FAILED
    except KeyboardInterrupt:
        print("sllm_export: error: interrupted", file=sys.stderr)
        return FAILED
    return 0


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="sllm_export", description=_DESCRIPTION)
    parser.add_argument("--version", action="version", version=f"sllm_export {__version__}")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("train", help="train a model (needs PyTorch)", add_help=False)
    bundle = commands.add_parser(
        "bundle", help="write a bundle from a checkpoint", description="Writes a bundle."
    )
    add = bundle.add_argument
    add("--config", type=Path, required=True, metavar="FILE", help="model configuration (JSON)")
    add("--checkpoint", type=Path, metavar="FILE", help="weights: .safetensors, or PyTorch's .pth")
    add("--opt", type=Path, metavar="DIR", help="OPT directory: tokenizer; weights for kind opt")
    add("--tokenizer", type=Path, metavar="FILE", help="tokenizer.json, in place of --opt's")
    add("--out", type=Path, required=True, metavar="DIR", help="bundle to write")
    names = ", ".join(variant.name for variant in VARIANTS)
    usual = ", ".join(variant.name for variant in VARIANTS if variant.usual)
    variant_help = f"variant to write, can be repeated: {names} (default: {usual})"
    add("--variant", action="append", default=[], metavar="NAME", help=variant_help)
    half_help = (
        "round matrices to float16, and store them so in the portable variant: half its size"
    )
    add("--half-weights", action="store_true", help=half_help)
    add("--random", type=_seed, metavar="SEED", help="random weights in place of a checkpoint")
    add("--force", action="store_true", help="replace the bundle at --out if there is one")
    add("--model-card", type=Path, metavar="FILE", help="MODEL_CARD.md, not generated")
    segmentation_help = (
        "how text is cut (default: %(default)s). keep-split: the original's rule, nothing lost; "
        "drop-truncate: as the original; clauses: as sllm_train --segmentation clauses"
    )
    add("--segmentation", choices=SEGMENTATIONS, default="keep-split", help=segmentation_help)
    generation_help = "sampling defaults (default: greedy), such as {}".format(
        json.dumps({"temperature": 0.7, "top_p": 0.9})
    )
    add("--generation", type=parse_generation, default={}, metavar="JSON", help=generation_help)
    add(
        "--data",
        type=_text,
        metavar="TEXT",
        help="what the model was trained on, for the manifest and card",
    )
    return parser


def _seed(text: str) -> int:
    try:
        value = int(text)
    except ValueError:
        value = -1
    if value < 0:
        raise argparse.ArgumentTypeError(f"{text} (allowed: a whole number, 0 or more)")
    return value


def _text(value: str) -> str:
    """Refuses what cannot be written as UTF-8."""
    shown = _escaped(value)
    if shown != value:
        raise argparse.ArgumentTypeError(f"{shown} (allowed: UTF-8)")
    return value


def _escaped(text: str) -> str:
    """The text with an escape for what is not UTF-8."""
    return text.encode(errors="backslashreplace").decode()


def _bundle(arguments: argparse.Namespace) -> None:
    config = load_config(arguments.config)
    _check_opt(arguments, config)
    variants = select_variants(arguments.variant, config)
    check_out(arguments.out, arguments.force)
    if arguments.half_weights:
        variants = [stored_in_half(variant) for variant in variants]
    for note in _notes(arguments, config):
        print(f"sllm_export: note: {note}", file=sys.stderr)
    state_dict, provenance, ignored = _weights(arguments, config)
    check_fits(config, arguments.config, state_dict, ignored)
    if arguments.half_weights:
        state_dict = RoundedToHalf(state_dict)
    if arguments.data:
        provenance["data"] = arguments.data
    card = None
    if arguments.model_card is not None:
        try:
            card = arguments.model_card.read_bytes()
        except OSError as error:
            raise ExportError(
                f"{arguments.model_card}: cannot be read: {error.strerror}"
            ) from error
    source = BundleSource(
        config=config,
        state_dict=state_dict,
        tokenizer=find_tokenizer(arguments.tokenizer, arguments.opt),
        variants=variants,
        segmentation=arguments.segmentation,
        generation=arguments.generation,
        provenance=provenance,
        card=card,
        ignored_tensors=ignored,
    )
    write_bundle(source, arguments.out, arguments.force, _report)


def _check_opt(arguments: argparse.Namespace, config: ModelConfig) -> None:
    """Refuses an --opt that is no directory, or that nothing would be read from."""
    opt: Path | None = arguments.opt
    if opt is None:
        return
    if not opt.is_dir():
        raise ExportError(f"{opt}: no such directory")
    takes_weights = arguments.checkpoint is None and arguments.random is None
    if (
        arguments.tokenizer is None
        or (config.kind == "opt" and takes_weights)
        or (config.kind != "svae" and has_opt_config(opt))
    ):
        return
    rest = "kind svae needs nothing else of it"
    if config.kind != "svae":
        rest = "it has no config.json to be compared"
    raise ExportError(f"--opt {opt} has no effect: --tokenizer gives the tokenizer, and {rest}")


def _notes(arguments: argparse.Namespace, config: ModelConfig) -> list[str]:
    """What is done that the user may not expect."""
    notes = []
    problem = in_place_problem(config)
    if problem and not arguments.variant:
        notes.append(f"only the portable variant is written: {problem}")
    backbone = config.backbone
    original = backbone is not None and backbone.prefill_attention == "bidirectional"
    if original and arguments.segmentation == "keep-split":
        notes.append("text is not cut as the original does: --segmentation drop-truncate does")
    return notes


def _report(entry: CardEntry) -> None:
    where = f"{entry.variant.name}/{entry.graph}"
    print(f"{where}: {entry.size} bytes, error {entry.error:.1e}", file=sys.stderr)


def _weights(
    arguments: argparse.Namespace, config: ModelConfig
) -> tuple[StateDict, dict[str, Any], frozenset[str]]:
    """The weights, the part of the manifest's provenance that tells of them, and the tensors that
    a checkpoint may have besides those expected."""
    checkpoint: Path | None = arguments.checkpoint
    if arguments.opt is not None and config.kind != "svae":
        check_opt_config(arguments.opt, config)
    if arguments.random is not None:
        if checkpoint is not None:
            raise ExportError("--random and --checkpoint exclude each other")
        seed: int = arguments.random
        random = RandomStateDict(expected_shapes(config), seed)
        return random, {"checkpoint": {"random_seed": seed}}, frozenset()
    if checkpoint is None and config.kind == "opt" and arguments.opt is not None:
        checkpoint = find_opt_weights(arguments.opt)
    if checkpoint is None:
        raise ExportError("no weights: give --checkpoint FILE, or --random SEED")
    if config.kind == "opt":
        state_dict, ignored = open_opt(checkpoint)
    else:
        state_dict, ignored = open_checkpoint(checkpoint), frozenset[str]()
    named: dict[str, Any] = _file_entry(checkpoint)
    if checkpoint.name.endswith(INDEX_SUFFIX):
        shards = (checkpoint.with_name(name) for name in shard_names(checkpoint))
        named["shards"] = [_file_entry(path) for path in shards]
    return state_dict, {"checkpoint": named}, ignored


def _file_entry(path: Path) -> dict[str, str]:
    if _escaped(path.name) != path.name:
        raise ExportError(f"{_escaped(str(path))}: its name is not UTF-8; rename it")
    return {"file": path.name, "sha256": sha256(path)}


def _train(arguments: list[str]) -> int:
    try:
        # First, so that it is what is missed where nothing of the extra is installed.
        import torch  # noqa: F401

        from sllm_train.cli import main as train_main
    except ModuleNotFoundError as error:
        if error.name is None or error.name.startswith("sllm_"):
            raise
        needed = "PyTorch" if error.name.split(".")[0] == "torch" else error.name
        raise ExportError(
            f"training needs {needed}: install the extra `train`, as in "
            "`pip install './export[train]'`"
        ) from error
    return int(train_main(arguments) or 0)
