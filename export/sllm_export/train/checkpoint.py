"""Checkpoints: the whole state of a training (resume), and weights alone (export)."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

STATE_FILE = "state.pt"
WEIGHTS_FILE = "model.safetensors"


def save_state(folder: Path, state: dict[str, Any]) -> None:
    """Write the state beside the old one, then put it in its place."""
    partial = folder / (STATE_FILE + ".partial")
    with partial.open("wb") as file:
        torch.save(state, file)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(folder / STATE_FILE)


def load_state(folder: Path) -> dict[str, Any] | None:
    """The last complete state in `folder`, or None where there is none."""
    path = folder / STATE_FILE
    return torch.load(path, map_location="cpu", weights_only=True) if path.exists() else None


def save_weights(folder: Path, weights: dict[str, Tensor], provenance: dict[str, Any]) -> None:
    """Write float32 weights under the original's names, with where they come from."""
    tensors = {name: value.detach().float().contiguous() for name, value in weights.items()}
    partial = folder / (WEIGHTS_FILE + ".partial")
    save_file(tensors, partial, metadata={"provenance": json.dumps(provenance)})
    partial.replace(folder / WEIGHTS_FILE)
