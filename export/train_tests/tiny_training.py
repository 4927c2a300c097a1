"""A model of a few thousand parameters, generated stories, and trainings of a few steps."""

from __future__ import annotations

import json
import random

import numpy as np
import torch
from helpers import tiny

from sllm_export import cli
from sllm_export.config import parse_config
from sllm_train.batches import MixedStream, Window
from sllm_train.bpe import train_tokenizer
from sllm_train.corpus import load_tokenized
from sllm_train.loop import Trainer
from sllm_train.options import Options
from sllm_train.state import STATE_FILE, load_state

# No more than bytes and special tokens: a token is a byte.
VOCAB_SIZE = 259


def tiny_trained(**changes):
    """The tiny configuration with room for all bytes and for sentences of 63 tokens."""
    sizes = {"vocab_size": VOCAB_SIZE, "max_sentence_tokens": 64, "max_sentences": 8}
    return tiny(**{**sizes, **changes})


def stories(records, seed=0):
    """Stories whose sentences all have at least 14 bytes, and at most 60."""
    draw = random.Random(seed)
    texts = []
    for _ in range(records):
        name, other = draw.sample(["Tim", "Mia", "Ben", "Lily", "Sam"], 2)
        thing = draw.choice(["ball", "kite", "book", "boat"])
        place = draw.choice(["in the park", "by the river", "at home"])
        sentences = [f"One day {name} found a red {thing} {place}."]
        for _ in range(draw.randrange(4)):
            verb = draw.choice(["liked", "wanted", "lost", "saw"])
            sentences.append(f" {draw.choice([name, other])} {verb} the {thing} {place}.")
        sentences.append(f" Then {name} and {other} went home.")
        texts.append("".join(sentences))
    return "\n<|endoftext|>\n".join(texts) + "\n<|endoftext|>\n"


def windows(config, seed=0):
    """Random windows of all kinds: one sentence, one token, full length, cut off, with an echo."""
    draw = np.random.default_rng(seed)
    longest = config.max_sentence_tokens - 1
    lengths = [[3], [1, longest, 5], [2, 2, 7, 9, 4], [6], [longest, 1]]
    return [
        Window(
            [draw.integers(3, config.vocab_size, n) for n in ns],
            ends=number != 2,
            inserted=frozenset({3} if number == 2 else ()),
        )
        for number, ns in enumerate(lengths)
    ]


def randomize(model, seed=0):
    """Gives every parameter random values, also those that start as zeros or ones."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(0.2 * torch.randn(parameter.shape, generator=generator))
    return model


def make_trainer(folder, stream_class=MixedStream, **options):
    """A Trainer in this process on generated stories, fp32 by default."""
    config = parse_config(tiny_trained())
    text = folder / "stories.txt"
    text.parent.mkdir(parents=True, exist_ok=True)
    text.write_text(stories(60))
    tokenizer = train_tokenizer(stories(60).splitlines(), VOCAB_SIZE)
    corpus = load_tokenized(text, tokenizer, config.max_sentence_tokens - 1, folder / "corpora")
    settings = Options(
        **{"batch_tokens": 600, "precision": "fp32", "warmup": 3, "ema": 0.9, **options}
    )
    stream = stream_class([(corpus, 1.0)], settings.seed, config.max_sentences)
    return Trainer(config, settings, stream, folder / "out", lambda model: {})


def saved_state(folder, name=STATE_FILE):
    """The state that a training has saved."""
    state = load_state(folder, name)
    assert state is not None
    return state


def losses(folder):
    """What `metrics.jsonl` says of each step."""
    lines = map(json.loads, (folder / "metrics.jsonl").read_text().splitlines())
    return {line["step"]: line for line in lines if "norm" in line}


class Case:
    """Files for the command line, and its arguments."""

    def __init__(self, folder, **changes):
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.config = folder / "config.json"
        self.text = folder / "stories.txt"
        self.valid = folder / "valid.txt"
        self.out = folder / "out"
        self.write_config(**changes)
        self.text.write_text(stories(30))
        self.valid.write_text(stories(6, seed=1))

    def write_config(self, **changes):
        self.config.write_text(json.dumps(tiny_trained(**changes)))

    def arguments(self, *more):
        files = ["--config", self.config, "--out", self.out, "--valid", self.valid]
        text = [] if "--text" in more else ["--text", self.text]
        sizes = [] if {"--steps", "--minutes"} & set(more) else ["--steps", 1]
        sizes += ["--batch-tokens", 300, "--precision", "fp32"]
        return ["train", *map(str, [*files, *text, *sizes, *more])]

    def run(self, *more):
        """Runs the command line in this process; returns the exit status."""
        return cli.main(self.arguments(*more))
