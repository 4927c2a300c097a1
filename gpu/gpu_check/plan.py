"""What is checked and measured, for a GPU or, with small sizes, for the processor."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

MODELS = ("sllm-125m-h1", "opt-125m")
VARIANTS = ("cuda-fp16", "cuda-int4", "portable", "portable-fp16")
SEED = 0
TRAINED = ("tiny-causal", "tiny-original", "tiny-slots", "tiny-opt")
"""Small trained models, whose logits have no near ties: see tests/golden."""
PROMPTS = ("the dog. ", "the cat sat on the hill. a dog ran. ", "a cat. the dog sat. the cat ran. ")
SHIPPED = "sllm-stories"
_SMALL_WIDTH, _SMALL_HEADS, _SMALL_VOCABULARY = 64, 4, 300


@dataclass(frozen=True)
class Plan:
    """Sizes of the steps."""

    provider: str
    small: bool
    sentences: int
    """Sentences whose greedy ids are compared."""
    greedy_tokens: int
    """Tokens of each in models with random weights, which do not end a sentence."""
    prompts: int
    """Of PROMPTS, for each trained model."""
    batches: tuple[int, ...]
    repetitions: int
    prompt_tokens: int
    new_sentences: int
    step_runs: int
    """Timed runs of one step of a graph."""


def plan(provider: str) -> Plan:
    """The sizes for a GPU's provider, or small ones for `cpu`."""
    if provider == "cpu":
        return Plan(provider, True, 12, 4, 1, (1, 2), 1, 20, 2, 3)
    return Plan(provider, False, 200, 24, len(PROMPTS), (1, 8, 64), 3, 320, 16, 200)


def write_config(source: Path, target: Path, small: bool) -> None:
    """Copy a model's configuration; with `small`, as a model of the same kind that runs fast."""
    raw: dict[str, Any] = json.loads(source.read_text(encoding="utf-8"))
    if small:
        raw["vocab_size"] = _SMALL_VOCABULARY
        raw["hidden_size"] = _SMALL_WIDTH
        for name in ("svae", "backbone"):
            section = raw.get(name)
            if section is None:
                continue
            section["layers"] = min(section["layers"], 2)
            section["heads"] = _SMALL_HEADS
            section["ffn_size"] = 2 * _SMALL_WIDTH
            if "word_embed_size" in section:
                section["word_embed_size"] = _SMALL_WIDTH
    target.write_text(json.dumps(raw, indent=1) + "\n", encoding="utf-8")


def sentences(count: int) -> list[str]:
    """That many different English sentences, always the same ones."""
    who = ("The little fox", "Tim", "An old bear", "Mia", "The brave mouse")
    did = ("found", "looked for", "lost", "wanted", "carried", "drew", "hid", "gave away")
    what = ("a red ball", "a shiny stone", "a big box", "her blue kite", "some nuts")
    where = ("in the garden", "by the pond", "under the tree", "on the hill")
    found = []
    for number in range(count):
        place, rest = number % len(who), number // len(who)
        words = (
            who[place],
            did[(rest + place) % len(did)],
            what[(rest // len(did) + place) % len(what)],
            where[(number // 40 + place) % len(where)],
        )
        found.append(" ".join(words) + ".")
    return found
