"""Reading checkpoints: names and shapes first, tensors on demand, nothing pickled ever executed."""

from __future__ import annotations

from pathlib import Path

from sllm_export.checkpoint.safetensors_file import SafetensorsFile
from sllm_export.checkpoint.sharded import INDEX_SUFFIX, ShardedCheckpoint
from sllm_export.checkpoint.state_dict import Renamed, StateDict
from sllm_export.checkpoint.torch_zip import TorchZipFile
from sllm_export.errors import CheckpointError

TORCH_SUFFIXES = (".pth", ".pt", ".bin", ".ckpt")
_WRAPPER_PREFIX = "module."
"""What DistributedDataParallel puts before every name of the model that it wraps."""


def open_checkpoint(path: Path) -> StateDict:
    """Opens a checkpoint, chosen by the file's suffix: `.safetensors`, a zip-format PyTorch file,
    or the index of several of them. Raises CheckpointError."""
    opened = _open_file(path)
    if not all(name.startswith(_WRAPPER_PREFIX) for name in opened.shapes):
        return opened
    return Renamed(opened, {name.removeprefix(_WRAPPER_PREFIX): name for name in opened.shapes})


def _open_file(path: Path) -> StateDict:
    if not path.is_file():
        raise CheckpointError(str(path), ["no such file"])
    if path.name.endswith(INDEX_SUFFIX):
        return ShardedCheckpoint(path, _open_file)
    if path.suffix == ".safetensors":
        return SafetensorsFile(path)
    if path.suffix in TORCH_SUFFIXES:
        return TorchZipFile(path)
    allowed = ", ".join((".safetensors", *TORCH_SUFFIXES, INDEX_SUFFIX))
    raise CheckpointError(str(path), [f"unknown checkpoint suffix, allowed: {allowed}"])


__all__ = ["Renamed", "SafetensorsFile", "StateDict", "TorchZipFile", "open_checkpoint"]
