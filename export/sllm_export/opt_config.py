"""What an OPT directory's config.json says of the model, against the configuration given.

Tensors of the right shapes can still be read wrongly: nothing in them tells the number of heads,
the activation, or what the special tokens are.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from sllm_export.config import ModelConfig
from sllm_export.errors import CheckpointError

_FILE = "config.json"
_MAX_BYTES = 2**20


def check_opt_config(directory: Path, config: ModelConfig) -> None:
    """Raises CheckpointError that lists every difference; a directory without the file has none."""
    if not has_opt_config(directory):
        return
    path = directory / _FILE
    try:
        with path.open("rb") as file:
            found = json.loads(file.read(_MAX_BYTES))
    except (OSError, ValueError, RecursionError) as error:
        raise CheckpointError(str(path), [f"cannot be read: {error}"]) from error
    if not isinstance(found, dict):
        raise CheckpointError(str(path), ["is not a JSON object"])
    problems = [
        f"{key} is {json.dumps(found[key])} (expected {json.dumps(value)})"
        for key, value in _expected(config).items()
        if key in found and found[key] != value
    ]
    if problems:
        raise CheckpointError(str(path), problems)


def has_opt_config(directory: Path) -> bool:
    """Whether `check_opt_config` reads anything there."""
    return (directory / _FILE).is_file()


def _word_embed_size(config: ModelConfig) -> int | None:
    """OPT's own, which an sllm takes over for its sentence coder."""
    if config.kind == "opt":
        return config.require_backbone().word_embed_size
    return config.require_svae().word_embed_size


def _expected(config: ModelConfig) -> dict[str, Any]:
    """Hugging Face's names of what must agree. A key that is absent there has the right default,
    or is caught by the tensors' shapes."""
    backbone = config.require_backbone()
    return {
        "model_type": "opt",
        "vocab_size": config.vocab_size,
        "hidden_size": config.hidden_size,
        "word_embed_proj_dim": _word_embed_size(config),
        "num_hidden_layers": backbone.layers,
        "num_attention_heads": backbone.heads,
        "ffn_dim": backbone.ffn_size,
        "max_position_embeddings": backbone.max_positions,
        "do_layer_norm_before": backbone.norm_first,
        "_remove_final_layer_norm": False,
        "activation_function": "relu",
        "enable_bias": True,
        "layer_norm_elementwise_affine": True,
        "tie_word_embeddings": True,
        "bos_token_id": config.tokens.bos,
        "eos_token_id": config.tokens.eos,
        "pad_token_id": config.tokens.pad,
    }
