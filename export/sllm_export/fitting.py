"""Which configuration a checkpoint is of, read from the names and shapes of its tensors."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from sllm_export.checkpoint.expected import (
    OPT_PREFIX,
    POSITION_OFFSET,
    check_tensors,
    expected_shapes,
)
from sllm_export.checkpoint.state_dict import Shape, StateDict
from sllm_export.config import ModelConfig, load_config
from sllm_export.errors import CheckpointError, ConfigError
from sllm_export.opt_directory import OPT_IGNORED, long_names

_MAX_FILES = 200
"""Configurations that are tried at most."""

Sizes = dict[str, int | bool | str]
"""Values by the keys of the configuration, such as `svae.layers`."""


def check_fits(
    config: ModelConfig, path: Path, state_dict: StateDict, ignored: frozenset[str]
) -> None:
    """Raises CheckpointError where the checkpoint is not one of `config`, read from `path`: with
    what differs, and with the configuration beside `path` that fits, if there is one."""
    try:
        check_tensors(state_dict, expected_shapes(config), ignored)
    except CheckpointError as error:
        shapes = {name: state_dict.shapes[old] for name, old in long_names(state_dict).items()}
        found, given = sizes_of(shapes), sizes_of(expected_shapes(config))
        hints = [
            f"{key} is {_shown(found[key])} in the checkpoint, {_shown(given[key])} in {path}"
            for key in found
            if key in given and found[key] != given[key]
        ]
        fitting = _fitting(path, shapes)
        if fitting:
            hints.append(f"--config {fitting} fits it")
        raise CheckpointError(state_dict.source, hints + error.problems) from error


def sizes_of(shapes: Mapping[str, Shape]) -> Sizes:
    """The sizes that the tensors show; those without a tensor to show them are absent."""
    if any(name.startswith(OPT_PREFIX) for name in shapes):
        return _opt_sizes(shapes)
    kind = "sllm" if any(name.startswith(("svae.", "llm_")) for name in shapes) else "svae"
    prefix = "svae." if kind == "sllm" else ""
    encoder, decoder = f"{prefix}encoder.", f"{prefix}decoder."
    if not any(name.startswith((encoder, decoder)) for name in shapes):
        return {}
    sizes: Sizes = {"kind": kind}
    _put(sizes, "vocab_size", shapes, f"{encoder}embed_token.weight", 0)
    _put(sizes, "hidden_size", shapes, f"{encoder}lnorm.weight", 0)
    sizes["svae.layers"] = _layers(shapes, f"{encoder}encoder.layers.")
    sizes["svae.decoder_layers"] = _layers(shapes, f"{decoder}decoder.layers.")
    _put(sizes, "svae.ffn_size", shapes, f"{encoder}encoder.layers.0.linear1.weight", 0)
    _put(sizes, "svae.word_embed_size", shapes, f"{encoder}embed_token.weight", 1)
    sizes["svae.learnable_add"] = f"{encoder}la.weight" in shapes
    sizes["svae.norm_first"] = f"{encoder}encoder.norm.weight" in shapes
    entries = shapes.get(f"{decoder}memory.embedding", (2,))
    sizes["svae.slots"] = entries[0] - 1 if entries else 1
    if kind == "sllm":
        sizes["backbone.layers"] = _layers(shapes, "llm_layers.")
        _put(sizes, "backbone.ffn_size", shapes, "llm_layers.0.fc1.weight", 0)
        _put(sizes, "backbone.max_positions", shapes, "llm_pe.weight", 0, POSITION_OFFSET)
    return sizes


def _opt_sizes(shapes: Mapping[str, Shape]) -> Sizes:
    sizes: Sizes = {"kind": "opt"}
    table, first = f"{OPT_PREFIX}embed_tokens.weight", f"{OPT_PREFIX}layers.0."
    positions = f"{OPT_PREFIX}embed_positions.weight"
    _put(sizes, "vocab_size", shapes, table, 0)
    _put(sizes, "hidden_size", shapes, positions, 1)
    sizes["backbone.layers"] = _layers(shapes, f"{OPT_PREFIX}layers.")
    _put(sizes, "backbone.ffn_size", shapes, f"{first}fc1.weight", 0)
    sizes["backbone.norm_first"] = f"{OPT_PREFIX}final_layer_norm.weight" in shapes
    _put(sizes, "backbone.max_positions", shapes, positions, 0, POSITION_OFFSET)
    _put(sizes, "backbone.word_embed_size", shapes, table, 1)
    return sizes


def _put(
    sizes: Sizes, key: str, shapes: Mapping[str, Shape], name: str, axis: int, less: int = 0
) -> None:
    shape = shapes.get(name, ())
    if axis < len(shape):
        sizes[key] = shape[axis] - less


def _layers(shapes: Mapping[str, Shape], prefix: str) -> int:
    numbers = {
        name.removeprefix(prefix).split(".")[0] for name in shapes if name.startswith(prefix)
    }
    return len(numbers)


def _fitting(path: Path, shapes: Mapping[str, Shape]) -> Path | None:
    """The configuration beside `path` whose checkpoints have these tensors."""
    found = {name: tuple(shape) for name, shape in shapes.items() if name not in OPT_IGNORED}
    for other in sorted(path.parent.glob("*.json"))[:_MAX_FILES]:
        try:
            config = load_config(other)
        except ConfigError:
            continue
        if expected_shapes(config) == found:
            return other
    return None


def _shown(value: int | bool | str) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
