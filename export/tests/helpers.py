"""Paths, tiny configurations and random weights for the tests."""

from __future__ import annotations

import copy
import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from sllm_export.checkpoint.expected import expected_shapes
from sllm_export.checkpoint.random_weights import RandomStateDict
from sllm_export.checkpoint.state_dict import StateDict
from sllm_export.config import ModelConfig, parse_config
from sllm_export.graph.precision import Float16, Int4Half, Quantized
from sllm_export.variants import Variant
from sllm_export.verify.runner import GraphRunner

EXPORT = Path(__file__).resolve().parents[1]
ROOT = EXPORT.parent
GOLDEN = ROOT / "tests" / "golden"
DATA = Path(__file__).parent / "data"
TOKENIZER = GOLDEN / "tokenizer.json"

TINY: dict[str, Any] = {
    "name": "tiny",
    "kind": "sllm",
    "vocab_size": 64,
    "hidden_size": 32,
    "max_sentence_tokens": 12,
    "max_sentences": 8,
    "tokens": {"bos": 2, "eos": 2, "pad": 1},
    "svae": {
        "layers": 2,
        "heads": 4,
        "ffn_size": 48,
        "word_embed_size": 32,
        "learnable_add": False,
    },
    "backbone": {
        "layers": 2,
        "heads": 2,
        "ffn_size": 40,
        "norm_first": True,
        "max_positions": 8,
        "prefill_attention": "causal",
    },
    "reencode_bos": True,
}


def choosing(variant: Variant) -> Variant:
    """The variant with a coarse-to-fine output projection, which tiny models do not have else."""
    if isinstance(variant.precision, Float16):
        return replace(variant, precision=replace(variant.precision, candidates=8))
    if not isinstance(variant.precision, Quantized | Int4Half):
        return variant
    return replace(variant, precision=replace(variant.precision, coarse_from=0, candidates=8))


class MemoryStateDict(StateDict):
    """Tensors that are already in memory."""

    def __init__(self, tensors, source):
        self.source = source
        self._tensors = dict(tensors)

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        return {name: tensor.shape for name, tensor in self._tensors.items()}

    def load(self, name: str) -> np.ndarray:
        return np.asarray(self._tensors[name], dtype=np.float32)


def tiny(**changes: Any) -> dict[str, Any]:
    """TINY with values at dotted keys changed: `tiny(**{"svae.heads": 2})`; None removes a key."""
    raw = copy.deepcopy(TINY)
    for path, value in changes.items():
        *parents, last = path.split(".")
        section = raw
        for parent in parents:
            section = section[parent]
        if value is None:
            section.pop(last, None)
        else:
            section[last] = value
    return raw


def tiny_opt(**changes: Any) -> dict[str, Any]:
    """TINY as a model of kind opt."""
    gone = dict.fromkeys(("svae", "max_sentence_tokens", "max_sentences", "reencode_bos"))
    prefill = {"backbone.prefill_attention": None}
    return tiny(**{"kind": "opt", "backbone.word_embed_size": 32, **gone, **prefill, **changes})


def random_weights(raw: dict[str, Any], seed: int = 0) -> tuple[ModelConfig, RandomStateDict]:
    """The configuration and random weights for it."""
    config = parse_config(raw)
    return config, RandomStateDict(expected_shapes(config), seed)


def golden(name: str) -> tuple[ModelConfig, dict[str, Any]]:
    """Configuration and expected numbers of a golden model."""
    folder = GOLDEN / name
    expected = json.loads((folder / "expected.json").read_text(encoding="utf-8"))
    raw = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    return parse_config(raw, name), expected


def golden_checkpoint(name: str) -> Path:
    """Its weights: `.safetensors`, or as the original's training saves them."""
    (path,) = (GOLDEN / name).glob("checkpoint.*")
    return path


def run_opt(model: GraphRunner, ids: np.ndarray) -> np.ndarray:
    """Logits of all of the ids [B, T], which come after those that the runner has seen."""
    return model.run({"input_ids": ids}, ids.shape[1])["logits"]


def array(values: Any) -> np.ndarray:
    """Expected numbers as float32, or int64 where they are ids."""
    result = np.asarray(values)
    return result.astype(np.float32) if result.dtype == np.float64 else result


def run_cli(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Runs the real command line in a process of its own."""
    return subprocess.run(
        [sys.executable, "-m", "sllm_export", *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": str(EXPORT)},
    )
