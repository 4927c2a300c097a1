"""The command `train`: checks what is given, prepares the folder, trains."""

from __future__ import annotations

import argparse
import json
from contextlib import ExitStack
from dataclasses import asdict, fields
from pathlib import Path

from sllm_export.config import ModelConfig, load_config
from sllm_export.digest import sha256
from sllm_export.errors import ExportError

from .arguments import parser
from .batches import MixedStream
from .corpus import Corpus, load_tokenized
from .evaluation import Evaluation
from .folder import (
    CORPORA,
    TOKENIZER_FILE,
    check_out,
    check_trainable,
    claim_folder,
    locked,
    obtain_tokenizer,
)
from .initial import InitialWeights
from .loop import Trainer
from .metrics import draw_windows
from .options import Options
from .processes import check_device, first_process_first, process_group, rank_and_world
from .state import STATE_FILE, WEIGHTS_FILE
from .teacher import Teacher, check_teacher

# Consecutive sentences of a record in a batch where the configuration says nothing of it.
DEFAULT_SENTENCES = 64


def main(argv: list[str] | None = None) -> int:
    """Runs the command; returns the exit status. Raises ExportError."""
    args = parser().parse_args(argv)
    check_device(args.device)
    try:
        with process_group(args.device), ExitStack() as held:
            return train(args, held)
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
    if args.stage == "context-bias" and not args.initial:
        raise ExportError("--stage context-bias needs a trained model (--initial)")
    if resumed or not args.initial:
        return None
    return InitialWeights.of_checkpoint(config, args.initial)


def train(args: argparse.Namespace, held: ExitStack) -> int:
    """Prepares the folder, trains, prints the last evaluation. The folder's lock goes to `held`."""
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
    valid_paths = by_name(args.valid)
    check_out(args.out)
    initial = open_initial(args, config)
    teacher = Teacher.of_training(args.teacher, config, options) if args.teacher else None
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
            args.teacher,
        )
        if rank_and_world()[0] == 0:
            held.enter_context(locked(args.out))
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
                "valid_records": args.valid_records,
            }
            if args.teacher:
                settings["teacher"] = [str(args.teacher), sha256(args.teacher / WEIGHTS_FILE)]
            if initial:
                files = {"svae": args.svae, "opt": args.opt, "checkpoint": args.initial}
                named = {name: str(path) for name, path in files.items() if path}
                settings["initial"] = named
            claim_folder(args.out, config, settings)

        def load(path: Path, max_bytes: int | None, copies: int = 0) -> Corpus:
            return load_tokenized(
                path, tokenizer, limit, cache, options.segmentation, max_bytes, copies
            )

        max_bytes, copies = options.max_text_bytes, options.substituted_copies
        corpora = [
            *((load(path, max_bytes), weight) for path, weight in args.text),
            *((load(path, max_bytes, copies), weight) for path, weight in args.substituted),
        ]
        valid = {name: load(path, None) for name, path in valid_paths.items()}
    stream = MixedStream(corpora, options.seed, max_sentences)
    windows = {
        name: draw_windows(corpus, args.valid_records, max_sentences)
        for name, corpus in valid.items()
    }
    evaluation = Evaluation(config, windows, tokenizer, options.autocast())
    report = Trainer(config, options, stream, args.out, evaluation, initial, teacher).run()
    if report:
        print(json.dumps(report))
    return 0


def by_name(paths: list[Path]) -> dict[str, Path]:
    """The files by the names that reports have for them: up to the first dot."""
    named: dict[str, Path] = {}
    for path in paths:
        name = path.name.split(".")[0]
        other = named.setdefault(name, path)
        if other is not path:
            raise ExportError(
                f"--valid {other} and --valid {path} are both reported as {json.dumps(name)}; "
                "rename one of them"
            )
    return named


def sentence_limit(config: ModelConfig) -> int:
    """Tokens of the longest sentence, bos not counted."""
    if config.kind == "opt":
        return config.require_backbone().max_positions - 1
    return config.max_sentence_tokens - 1
