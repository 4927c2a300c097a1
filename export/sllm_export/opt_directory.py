"""OPT's own checkpoints, whose tensors come under one of two prefixes and with a tied head."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from sllm_export.checkpoint import open_checkpoint
from sllm_export.checkpoint.expected import OPT_PREFIX
from sllm_export.checkpoint.state_dict import Shape, StateDict
from sllm_export.errors import CheckpointError

_FILES = ("model.safetensors", "pytorch_model.bin")
_SHORT_PREFIX = "decoder."
_TIED_HEAD = "lm_head.weight"


def find_opt_weights(directory: Path) -> Path:
    """The weights' file of an OPT directory."""
    for name in _FILES:
        if (directory / name).is_file():
            return directory / name
    raise CheckpointError(str(directory), [f"holds no weights (expected {' or '.join(_FILES)})"])


def open_opt(path: Path) -> tuple[StateDict, frozenset[str]]:
    """An OPT checkpoint with all names below `model.decoder.`, and the tensors to ignore: the
    output projection, which is the token embedding once more."""
    opened = open_checkpoint(path)
    if all(not name.startswith(OPT_PREFIX) for name in opened.shapes):
        opened = _Prefixed(opened)
    return opened, frozenset({_TIED_HEAD})


class _Prefixed(StateDict):
    """A checkpoint of the bare decoder: `decoder.x` under the name `model.decoder.x`."""

    def __init__(self, inner: StateDict) -> None:
        self.source = inner.source
        self._inner = inner
        self._names = {
            f"model.{name}" if name.startswith(_SHORT_PREFIX) else name: name
            for name in inner.shapes
        }

    @property
    def shapes(self) -> Mapping[str, Shape]:
        return {name: self._inner.shapes[stored] for name, stored in self._names.items()}

    def load(self, name: str) -> np.ndarray:
        return self._inner.load(self._names[name])
