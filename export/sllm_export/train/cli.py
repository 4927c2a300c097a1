"""Trains an sllm on text: tokenizer, corpora, training, evaluation.

The same command goes on where an earlier one stopped. For several CPU cores or GPUs start it as
`torchrun --standalone --nproc-per-node 2 -m sllm_export train ...`. --out gets model.safetensors
(averaged weights) and tokenizer.json, for the command `bundle`; metrics.jsonl, state.pt and
training.json. The last evaluation is printed as JSON.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Callable
from dataclasses import MISSING, asdict, fields
from pathlib import Path
from typing import Any

from sllm_export.config import load_config
from sllm_export.errors import ExportError

from .batches import MixedStream
from .corpus import load_tokenized
from .folder import CORPORA, WeightedPath, check_trainable, claim_folder, obtain_tokenizer
from .loop import Trainer
from .metrics import draw_windows, evaluate
from .model import Sllm
from .options import Options, Setting
from .processes import check_device, first_process_first, process_group, rank_and_world

_KINDS: dict[str, Callable[[str], Any]] = {"int": int, "float": float, "str": str}


def parser() -> argparse.ArgumentParser:
    """The command line; every field of Options is an option."""
    cli = argparse.ArgumentParser(
        prog="python -m sllm_export train",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = cli.add_argument
    add("--config", type=Path, required=True, metavar="FILE", help="model configuration (JSON)")
    out_help = "folder of the training; what is in it is resumed"
    add("--out", type=Path, required=True, metavar="DIR", help=out_help)
    text_help = (
        "corpus (.txt or .txt.zst, UTF-8, records end with a line <|endoftext|>) and its share of "
        "the tokens (default: 1); can be repeated"
    )
    add(
        "--text",
        action="append",
        required=True,
        type=weighted_path,
        metavar="FILE[=SHARE]",
        help=text_help,
    )
    add("--valid", type=Path, required=True, metavar="FILE", help="corpus to evaluate on")
    valid_help = "records of it to evaluate on (default: %(default)s)"
    add(
        "--valid-records",
        type=_number("int", Setting("", 1)),
        default=60,
        metavar="N",
        help=valid_help,
    )
    tokenizer_help = "tokenizer.json (default: the one in --out, else one is trained on --text)"
    add("--tokenizer", type=Path, metavar="FILE", help=tokenizer_help)
    for field in fields(Options):
        setting: Setting = field.metadata["setting"]
        required = field.default is MISSING
        add(
            "--" + field.name.replace("_", "-"),
            required=required,
            default=None if required else field.default,
            help=setting.help + ("" if required else " (default: %(default)s)"),
            **_reading(str(field.type), setting),
        )
    return cli


def _reading(kind: str, setting: Setting) -> dict[str, Any]:
    if setting.choices:
        return {"choices": setting.choices}
    if kind == "str":
        return {"metavar": "NAME"}
    return {"type": _number(kind, setting), "metavar": "N" if kind == "int" else "X"}


def _number(kind: str, setting: Setting) -> Callable[[str], float]:
    def read(text: str) -> float:
        value = _KINDS[kind](text)
        if not setting.low <= value < setting.high:
            below = f", below {setting.high}" if setting.high < math.inf else ""
            raise argparse.ArgumentTypeError(f"{text} (allowed: at least {setting.low}{below})")
        return value

    read.__name__ = {"int": "whole number", "float": "number"}[kind]
    return read


def weighted_path(text: str) -> WeightedPath:
    """`FILE=SHARE` or `FILE`, whose share is 1."""
    path, _, share = text.rpartition("=")
    try:
        weight = float(share)
    except ValueError:
        path = ""
    if not path:
        return Path(text), 1.0
    if not 0 < weight < math.inf:
        raise argparse.ArgumentTypeError(f"the share of {path} is {share} (allowed: above 0)")
    return Path(path), weight


def main(argv: list[str] | None = None) -> int:
    """Runs the command; returns the exit status. Raises ExportError."""
    args = parser().parse_args(argv)
    check_device(args.device)
    try:
        with process_group(args.device):
            return train(args)
    except OSError as error:
        where = error.filename or args.out
        raise ExportError(f"{where}: {error.strerror or error}") from error


def train(args: argparse.Namespace) -> int:
    """Prepares the folder, trains, prints the last evaluation."""
    config = load_config(args.config)
    check_trainable(config, args.config)
    for path in [args.valid, *(path for path, _ in args.text)]:
        if not path.is_file():
            raise ExportError(f"{path}: no such file")
    options = Options(**{field.name: getattr(args, field.name) for field in fields(Options)})
    limit, cache = config.max_sentence_tokens - 1, args.out / CORPORA
    with first_process_first():
        tokenizer = obtain_tokenizer(args.out, args.tokenizer, args.text, config)
        if rank_and_world()[0] == 0:
            texts = [[str(path), weight] for path, weight in args.text]
            settings = {"options": asdict(options), "text": texts, "valid": str(args.valid)}
            claim_folder(args.out, config, settings)
        corpora = [(load_tokenized(path, tokenizer, limit, cache), w) for path, w in args.text]
        valid = load_tokenized(args.valid, tokenizer, limit, cache)
    stream = MixedStream(corpora, options.seed, config.max_sentences)
    windows = draw_windows(valid, args.valid_records, config.max_sentences)

    def measure(model: Sllm) -> dict[str, Any]:
        return evaluate(model, windows, config.tokens, options.autocast())

    report = Trainer(config, options, stream, args.out, measure).run()
    if report:
        print(json.dumps(report))
    return 0
