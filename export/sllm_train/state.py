"""What a training saves: its state, to be resumed from, and its weights, to be exported."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save
from torch import Tensor

from sllm_export.errors import ExportError

STATE_FILE = "state.pt"
STABLE_FILE = "stable.pt"
"""The state before the learning rate began to fall, which a longer training resumes from."""
WEIGHTS_FILE = "model.safetensors"
METRICS_FILE = "metrics.jsonl"
_PARTS: dict[str, type | tuple[type, ...]] = {
    **dict.fromkeys(("model", "ema", "optimizer", "stream"), dict),
    **dict.fromkeys(("step", "tokens", "seconds", "best_loss"), (int, float)),
    "decaying": bool,
}


def write_file(path: Path, content: bytes) -> None:
    """Write a file atomically: to a temporary file beside it, then rename."""
    partial = path.with_name(path.name + ".partial")
    partial.write_bytes(content)
    partial.replace(path)


def save_state(folder: Path, state: dict[str, Any], name: str = STATE_FILE) -> None:
    """Write the state atomically."""
    partial = folder / (name + ".partial")
    try:
        with partial.open("wb") as file:
            torch.save(state, file)
            file.flush()
            os.fsync(file.fileno())
    except RuntimeError as error:  # So PyTorch says that the disk is full.
        partial.unlink(missing_ok=True)
        raise ExportError(f"{folder / name}: cannot be written: {error}") from error
    partial.replace(folder / name)


def load_state(folder: Path, name: str = STATE_FILE) -> dict[str, Any] | None:
    """Read the last saved state of `folder`, or None if there is none. Raises ExportError if it is
    damaged, or is something else."""
    path = folder / name
    if not path.exists():
        return None
    try:
        state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, MemoryError):
        raise
    except Exception as error:  # PyTorch raises whatever the damaged bytes lead to.
        raise ExportError(f"{path}: is damaged") from error
    if not isinstance(state, dict) or not all(
        isinstance(state.get(key), kind) for key, kind in _PARTS.items()
    ):
        raise ExportError(f"{path}: is no state of a training")
    return state


def save_weights(folder: Path, weights: dict[str, Tensor], provenance: dict[str, Any]) -> None:
    """Write float32 weights under the original's names, with their provenance as metadata."""
    tensors = {name: value.detach().float().cpu().contiguous() for name, value in weights.items()}
    content = save(tensors, metadata={"provenance": json.dumps(provenance)})
    write_file(folder / WEIGHTS_FILE, content)
