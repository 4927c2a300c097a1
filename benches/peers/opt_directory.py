"""A Transformers model directory with random weights, for converters."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from safetensors.numpy import save_file

from peers.bundle import RandomModel
from peers.opt_fields import opt_fields
from sllm_export.config import ModelConfig, Tokens


def write_opt_directory(model: RandomModel, folder: Path) -> None:
    """Writes configuration, weights (fp32) and a tokenizer of invented words."""
    folder.mkdir(parents=True)
    weights = model.weights()
    tensors = {name: weights.load(name) for name in weights.shapes}
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    _write(folder / "config.json", _config(model.config))
    _write(folder / "tokenizer.json", _tokenizer(model.config))
    _write(folder / "tokenizer_config.json", _tokenizer_config(model.config.tokens))


def words(config: ModelConfig) -> list[str]:
    """A word for each id: converters want a vocabulary of strings."""
    found = [f"w{number}" for number in range(config.vocab_size)]
    found[config.tokens.pad] = "<pad>"
    found[config.tokens.bos] = "<s>"
    # OPT has one id for both.
    found[config.tokens.eos] = "</s>"
    return found


def _config(config: ModelConfig) -> dict[str, Any]:
    kind = {"architectures": ["OPTForCausalLM"], "model_type": "opt", "dtype": "float32"}
    return kind | opt_fields(config)


def _tokenizer(config: ModelConfig) -> dict[str, Any]:
    found = words(config)
    vocabulary = {word: number for number, word in enumerate(found)}
    eos = found[config.tokens.eos]
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [],
        "normalizer": None,
        "pre_tokenizer": {"type": "WhitespaceSplit"},
        "post_processor": None,
        "decoder": None,
        "model": {"type": "WordLevel", "vocab": vocabulary, "unk_token": eos},
    }


def _tokenizer_config(tokens: Tokens) -> dict[str, str]:
    bos = "</s>" if tokens.bos == tokens.eos else "<s>"
    special = {"bos_token": bos, "eos_token": "</s>", "unk_token": "</s>", "pad_token": "<pad>"}
    return {"tokenizer_class": "PreTrainedTokenizerFast"} | special


def _write(path: Path, value: dict[str, Any]) -> None:
    path.write_text(json.dumps(value), encoding="utf-8")
