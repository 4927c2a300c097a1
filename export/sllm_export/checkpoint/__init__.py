"""Reading checkpoints: names and shapes first, tensors on demand, nothing pickled ever executed."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from sllm_export.checkpoint.safetensors_file import SafetensorsFile
from sllm_export.checkpoint.sharded import INDEX_SUFFIX, ShardedCheckpoint
from sllm_export.checkpoint.state_dict import Renamed, StateDict
from sllm_export.checkpoint.torch_zip import TorchZipFile
from sllm_export.errors import CheckpointError

TORCH_SUFFIXES = (".pth", ".pt", ".bin", ".ckpt")
_WRAPPER_PREFIXES = ("module.", "_orig_mod.")
"""What DistributedDataParallel and torch.compile put before every name of the model that they
wrap."""


def open_checkpoint(path: Path) -> StateDict:
    """Opens a checkpoint, chosen by the file's suffix: `.safetensors`, a zip-format PyTorch file,
    or the index of several of them. Raises CheckpointError."""
    opened = _open_file(path)
    names = {name: name for name in opened.shapes}
    while prefix := _common_prefix(names):
        names = {name.removeprefix(prefix): stored for name, stored in names.items()}
    return opened if all(name in names for name in opened.shapes) else Renamed(opened, names)


def _common_prefix(names: Collection[str]) -> str | None:
    """The wrapper's prefix that every name has, of at least one."""
    for prefix in _WRAPPER_PREFIXES:
        if names and all(name.startswith(prefix) for name in names):
            return prefix
    return None


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
