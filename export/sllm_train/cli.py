"""Trains an sllm, or its sentence encoder and decoder, on text.

--stage joint trains all of a causal sllm at once from random weights. The original trains in two
stages: --stage svae with a configuration of kind svae, then --stage sllm, which begins with the
weights of that (--svae) and the layers of an OPT model (--opt). Where backbone.prefill_attention
is bidirectional each sentence sees the later ones of its record in training and in evaluation:
the next-sentence perplexity of such a model sees what it is to predict.

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

from sllm_export.config import ModelConfig, load_config
from sllm_export.digest import sha256
from sllm_export.errors import ExportError

from .batches import MixedStream
from .corpus import Corpus, load_tokenized
from .evaluation import Evaluation
from .folder import (
    CORPORA,
    TOKENIZER_FILE,
    WeightedPath,
    check_out,
    check_trainable,
    claim_folder,
    obtain_tokenizer,
)
from .initial import InitialWeights
from .loop import Trainer
from .metrics import draw_windows
from .options import Options, Setting
from .processes import check_device, first_process_first, process_group, rank_and_world
from .state import STATE_FILE, WEIGHTS_FILE
from .teacher import Teacher, check_teacher

# Consecutive sentences of a record in a batch where the configuration says nothing of it.
DEFAULT_SENTENCES = 64

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
        "corpus to evaluate on; can be repeated: the weights kept are the best on the first"
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
        "same configuration, or the folder of its bundle, whose tokenizer is taken too; not read "
        "by a resume (default: random weights)"
    )
    add("--initial", type=Path, metavar="PATH", help=initial_help)
    svae_help = "SVAE checkpoint that stage sllm begins with; not read by a resume (default: none)"
    add("--svae", type=Path, metavar="FILE", help=svae_help)
    opt_help = "OPT directory: tokenizer; layers that stage sllm begins with (default: none)"
    add("--opt", type=Path, metavar="DIR", help=opt_help)
    teacher_help = (
        "folder of a training of stage opt with the same tokenizer: its distributions are learned, "
        "too (distillation, arXiv 1503.02531), in the stages joint and sllm (default: none)"
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
    def read(text: str) -> float:
        value = float(text) if kind == "float" else int(text)
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


def open_initial(args: argparse.Namespace, config: ModelConfig) -> InitialWeights | None:
    """The weights that the training begins with; None where they are random, and where it goes
    on."""
    resumed = (args.out / STATE_FILE).exists()
    if args.stage == "sllm":
        if args.initial:
            raise ExportError("--initial has no effect in --stage sllm (give --svae and --opt)")
        if not args.svae or not args.opt:
            raise ExportError("--stage sllm needs an SVAE checkpoint (--svae FILE) and --opt DIR")
        return None if resumed else InitialWeights.of_two_stages(config, args.svae, args.opt)
    if args.opt and (args.tokenizer or (args.initial and args.initial.is_dir())):
        other = "--tokenizer" if args.tokenizer else "--initial BUNDLE"
        raise ExportError(f"--opt gives a tokenizer in --stage {args.stage}, and so does {other}")
    if args.svae:
        raise ExportError(f"--svae has no effect in --stage {args.stage} (only --stage sllm)")
    if resumed or not args.initial:
        return None
    return InitialWeights.of_checkpoint(config, args.initial)


def train(args: argparse.Namespace) -> int:
    """Prepares the folder, trains, prints the last evaluation."""
    config = load_config(args.config)
    options = Options(**{field.name: getattr(args, field.name) for field in fields(Options)})
    options.check()
    check_trainable(config, args.config, options)
    if not args.substituted and options.substituted_copies != Options.substituted_copies:
        raise ExportError("--substituted-copies has no effect without --substituted")
    check_teacher(args.teacher, options)
    for path in [*args.valid, *(path for path, _ in args.text + args.substituted)]:
        if not path.is_file():
            raise ExportError(f"{path}: no such file")
    check_out(args.out)
    initial = open_initial(args, config)
    max_sentences = config.max_sentences or DEFAULT_SENTENCES
    limit, cache = sentence_limit(config), args.out / CORPORA
    given = args.tokenizer
    if initial and not given and args.initial and args.initial.is_dir():
        given = args.initial / TOKENIZER_FILE
    with first_process_first():
        tokenizer = obtain_tokenizer(
            args.out,
            given,
            args.opt,
            args.text,
            config,
            options.segmentation,
            options.max_text_bytes,
        )
        if rank_and_world()[0] == 0:
            settings = {
                "options": asdict(options),
                "text": [
                    *([str(path), weight, sha256(path)] for path, weight in args.text),
                    *(
                        [str(path), weight, sha256(path), options.substituted_copies]
                        for path, weight in args.substituted
                    ),
                ],
                "valid": [[str(path), sha256(path)] for path in args.valid],
            }
            if args.teacher:
                settings["teacher"] = [str(args.teacher), sha256(args.teacher / WEIGHTS_FILE)]
            if initial:
                files = {"svae": args.svae, "opt": args.opt, "checkpoint": args.initial}
                named = {name: str(path) for name, path in files.items() if path}
                settings["initial"] = named
            claim_folder(args.out, config, settings)

        def load(path: Path, copies: int = 0) -> Corpus:
            return load_tokenized(
                path, tokenizer, limit, cache, options.segmentation, options.max_text_bytes, copies
            )

        corpora = [
            *((load(path), weight) for path, weight in args.text),
            *(
                (load(path, options.substituted_copies), weight)
                for path, weight in args.substituted
            ),
        ]
        valid = {path.name.split(".")[0]: load(path) for path in args.valid}
    stream = MixedStream(corpora, options.seed, max_sentences)
    windows = {
        name: draw_windows(corpus, args.valid_records, max_sentences)
        for name, corpus in valid.items()
    }
    evaluation = Evaluation(config, windows, tokenizer, options.autocast())
    teacher = None
    if args.teacher:
        own_tokenizer = args.out / TOKENIZER_FILE
        teacher = Teacher.of_training(
            args.teacher, config, own_tokenizer, args.device, options.autocast()
        )
    report = Trainer(config, options, stream, args.out, evaluation, initial, teacher).run()
    if report:
        print(json.dumps(report))
    return 0


def sentence_limit(config: ModelConfig) -> int:
    """Tokens of the longest sentence, bos not counted."""
    if config.kind == "opt":
        return config.require_backbone().max_positions - 1
    return config.max_sentence_tokens - 1
