"""OPT's own checkpoints, whose tensors come under one of two prefixes and with a tied head."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from sllm_export.checkpoint import Renamed, StateDict, open_checkpoint
from sllm_export.checkpoint.expected import OPT_PREFIX
from sllm_export.checkpoint.sharded import INDEX_SUFFIX
from sllm_export.errors import CheckpointError

_FILES = ("model.safetensors", "pytorch_model.bin")
_SHORT_PREFIX = "decoder."
_SHORT_STARTS = ("decoder.layers.", "decoder.embed_tokens.", "decoder.embed_positions.")
"""What no checkpoint of ours has below its `decoder.`."""
_TIED_HEADS = ("lm_head.weight", OPT_PREFIX + "output_projection.weight")
"""Hugging Face's name and fairseq's."""
_EMBEDDING = OPT_PREFIX + "embed_tokens.weight"
_VERSION = OPT_PREFIX + "version"
"""A number that fairseq left in some of OPT's first files."""
OPT_IGNORED = frozenset({*_TIED_HEADS, _VERSION})
"""Tensors of a checkpoint that hold nothing new."""


def find_opt_weights(directory: Path) -> Path:
    """The weights' file of an OPT directory, or the index of its files."""
    names = [*_FILES, *(name + INDEX_SUFFIX for name in _FILES)]
    for name in names:
        if (directory / name).is_file():
            return directory / name
    listed = ", ".join(names)
    raise CheckpointError(str(directory), [f"holds no weights (expected one of {listed})"])


def open_opt(path: Path) -> tuple[StateDict, frozenset[str]]:
    """An OPT checkpoint with all names below `model.decoder.`, and the tensors to ignore: the
    output projection, which is the token embedding once more, and a version."""
    opened = open_checkpoint(path)
    opened = Renamed(opened, long_names(opened))
    _check_head(opened)
    return opened, OPT_IGNORED


def long_names(opened: StateDict) -> dict[str, str]:
    """The names in the checkpoint of its tensors by those below `model.decoder.`, where it is one
    of OPT with the short prefix; else each name by itself."""
    names = list(opened.shapes)
    is_short = any(name.startswith(_SHORT_STARTS) for name in names)
    return {
        f"model.{name}" if is_short and name.startswith(_SHORT_PREFIX) else name: name
        for name in names
    }


def _check_head(opened: StateDict) -> None:
    """Refuses an output projection of its own, which the graph has no place for."""
    for name in _TIED_HEADS:
        if name not in opened.shapes or _EMBEDDING not in opened.shapes:
            continue
        head, table = opened.load(name), opened.load(_EMBEDDING)
        if head.shape != table.shape or not np.array_equal(head, table):
            problem = f"{name} is not the token embedding (expected both to be the same)"
            raise CheckpointError(opened.source, [problem])
