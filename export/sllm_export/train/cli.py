"""`python -m sllm_export train`: tokenizer, corpora, training, evaluation."""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path

import torch
import torch.distributed as dist
from tokenizers import Tokenizer

from .batches import MixedStream
from .bpe import train_tokenizer
from .corpus import load_tokenized, read_records, segment
from .loop import Options, Trainer
from .metrics import evaluate


def parser() -> argparse.ArgumentParser:
    cli = argparse.ArgumentParser(prog="python -m sllm_export train", description=__doc__)
    cli.add_argument("--config", type=Path, required=True, help="model configuration (JSON)")
    cli.add_argument("--out", type=Path, required=True, help="folder of the training; resumed")
    cli.add_argument(
        "--text",
        action="append",
        required=True,
        metavar="FILE[=WEIGHT]",
        help="corpus (.txt or .txt.zst) and its share of the tokens (default 1); repeatable",
    )
    cli.add_argument("--valid", type=Path, required=True, help="corpus to evaluate on")
    cli.add_argument("--valid-records", type=int, default=60, help="records of it (default 60)")
    cli.add_argument("--tokenizer", type=Path, help="default: trained on the corpora")
    defaults = {field.name: field for field in fields(Options)}
    for name, field in defaults.items():
        kind = {"int": int, "float": float, "str": str}[str(field.type)]
        required = name == "steps"
        default = None if required else field.default
        cli.add_argument(
            "--" + name.replace("_", "-"), type=kind, required=required, default=default
        )
    return cli


def main(argv: list[str] | None = None) -> int:
    args = parser().parse_args(argv)
    torch.set_num_threads(1 if args.device == "cpu" else torch.get_num_threads())
    if "WORLD_SIZE" in os.environ:
        dist.init_process_group("gloo" if args.device == "cpu" else "nccl")
    try:
        return train(args)
    finally:
        if dist.is_initialized():
            dist.destroy_process_group()


def train(args: argparse.Namespace) -> int:
    config = json.loads(args.config.read_text())
    texts = [split_weight(text) for text in args.text]
    tokenizer = obtain_tokenizer(args, texts, config["vocab_size"])
    options = Options(**{field.name: getattr(args, field.name) for field in fields(Options)})
    limit, cache = config["max_sentence_tokens"] - 1, args.out / "corpora"
    if dist.is_initialized() and dist.get_rank() > 0:
        dist.barrier()
    corpora = [(load_tokenized(path, tokenizer, limit, cache), w) for path, w in texts]
    valid = load_tokenized(args.valid, tokenizer, limit, cache)
    if dist.is_initialized() and dist.get_rank() == 0:
        dist.barrier()
    stream = MixedStream(corpora, options.seed, config["max_sentences"])

    def measure(model: torch.nn.Module) -> dict:
        return evaluate(model, valid, config, args.valid_records, options.autocast())

    report = Trainer(config, options, stream, args.out, measure).run()
    if report:
        print(json.dumps(report))
    return 0


def split_weight(text: str) -> tuple[Path, float]:
    path, _, weight = text.partition("=")
    return Path(path), float(weight or 1)


def obtain_tokenizer(
    args: argparse.Namespace, texts: list[tuple[Path, float]], vocab_size: int
) -> Tokenizer:
    """The given tokenizer, the one that an earlier run left, or a new one."""
    kept = args.out / "tokenizer.json"
    if not args.tokenizer and not kept.exists():
        tokenizer = train_tokenizer(sample_sentences(texts), vocab_size)
        args.out.mkdir(parents=True, exist_ok=True)
        partial = kept.with_suffix(f".partial{os.getpid()}")
        tokenizer.save(str(partial))
        partial.replace(kept)
    return Tokenizer.from_file(str(args.tokenizer or kept))


def sample_sentences(texts: list[tuple[Path, float]]) -> Iterator[str]:
    """Sentences of the corpora in proportion to their weights, as many as there are."""
    densities = [weight / path.stat().st_size for path, weight in texts]
    for (path, _), density in zip(texts, densities, strict=True):
        rate, kept = density / max(densities), 0.0
        for record in read_records(path):
            kept += rate
            if kept >= 1:
                kept -= 1
                yield from segment(record)
