"""Trains an sllm, or its sentence encoder and decoder, on text.

--stage joint trains all of a causal sllm at once from random weights. The original trains in two
stages: --stage svae with a configuration of kind svae, then --stage sllm, which begins with the
weights of that (--svae) and the layers of an OPT model (--opt). Where backbone.prefill_attention
is bidirectional each sentence sees the later ones of its record in training and in evaluation:
the next-sentence perplexity of such a model sees what it is to predict. --stage context-bias
gives a trained sllm (--initial) a context bias, and leaves all else as it is.

The same command goes on where an earlier one stopped. For several CPU cores or GPUs start it as
`torchrun --standalone --nproc-per-node 2 -m sllm_export train ...`. --out gets model.safetensors
(averaged weights) and tokenizer.json, for the command `bundle`; metrics.jsonl, state.pt and
training.json. The last evaluation is printed as JSON.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any

from .folder import WeightedPath
from .options import Options, Setting

_DEFAULT = " (default: %(default)s)"


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
    substituted_help = (
        "corpus of simple stories like --text, of which copies with other names, animals, birds, "
        "toys, foods and colours are trained on, and its share of the tokens; can be repeated "
        "(default: none)"
    )
    add(
        "--substituted",
        action="append",
        default=[],
        type=weighted_path,
        metavar="FILE[=SHARE]",
        help=substituted_help,
    )
    valid_text = (
        "corpus to evaluate on; can be repeated, with other names: the weights kept are the best "
        "on the first"
    )
    add("--valid", type=Path, action="append", required=True, metavar="FILE", help=valid_text)
    valid_help = "records of each to evaluate on (default: %(default)s)"
    add(
        "--valid-records",
        type=_number("int", Setting("", 1)),
        default=60,
        metavar="N",
        help=valid_help,
    )
    tokenizer_help = (
        "tokenizer.json (default: that of --opt or of the bundle --initial, else the one in --out, "
        "else one is trained on --text)"
    )
    add("--tokenizer", type=Path, metavar="FILE", help=tokenizer_help)
    initial_help = (
        "what the training begins with (fine-tuning), in every stage but sllm: a checkpoint of the "
        "same configuration (the context bias may be missing), or the folder of its bundle, whose "
        "tokenizer is taken too; not read by a resume (default: random weights)"
    )
    add("--initial", type=Path, metavar="PATH", help=initial_help)
    svae_help = "SVAE checkpoint that stage sllm begins with; not read by a resume (default: none)"
    add("--svae", type=Path, metavar="FILE", help=svae_help)
    opt_help = "OPT directory: tokenizer; layers that stage sllm begins with (default: none)"
    add("--opt", type=Path, metavar="DIR", help=opt_help)
    teacher_help = (
        "folder of a training of stage opt with the same tokenizer: its distributions are learned, "
        "too (distillation, arXiv 1503.02531), in all stages but svae and opt (default: none)"
    )
    add("--teacher", type=Path, metavar="DIR", help=teacher_help)
    for field in fields(Options):
        setting: Setting = field.metadata["setting"]
        required = field.default is MISSING
        add(
            "--" + field.name.replace("_", "-"),
            required=required,
            default=None if required else field.default,
            help=setting.help + ("" if field.default in (MISSING, None) else _DEFAULT),
            **_reading(str(field.type), setting),
        )
    return cli


def _reading(kind: str, setting: Setting) -> dict[str, Any]:
    if setting.choices:
        return {"choices": setting.choices}
    if kind == "str":
        return {"metavar": "NAME"}
    if kind == "bool":
        return {"action": "store_true"}
    kind = kind.removesuffix(" | None")
    return {"type": _number(kind, setting), "metavar": "N" if kind == "int" else "X"}


def _number(kind: str, setting: Setting) -> Callable[[str], float]:
    # PyTorch and numpy take no larger ones.
    high = min(setting.high, 2**63) if kind == "int" else setting.high

    def read(text: str) -> float:
        value = float(text) if kind == "float" else int(text)
        if not setting.low <= value < high:
            below = f", below {high}" if high < math.inf else ""
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
