"""Reading checkpoints: names and shapes first, tensors on demand, nothing pickled ever executed."""

from __future__ import annotations

from pathlib import Path

from sllm_export.checkpoint.safetensors_file import SafetensorsFile
from sllm_export.checkpoint.state_dict import StateDict
from sllm_export.checkpoint.torch_zip import TorchZipFile
from sllm_export.errors import CheckpointError

TORCH_SUFFIXES = (".pth", ".pt", ".bin", ".ckpt")


def open_checkpoint(path: Path) -> StateDict:
    """Opens a `.safetensors` file or a zip-format PyTorch file, chosen by the file's suffix."""
    if not path.is_file():
        raise CheckpointError(str(path), ["no such file"])
    if path.suffix == ".safetensors":
        return SafetensorsFile(path)
    if path.suffix in TORCH_SUFFIXES:
        return TorchZipFile(path)
    allowed = ", ".join((".safetensors", *TORCH_SUFFIXES))
    raise CheckpointError(str(path), [f"unknown checkpoint suffix, allowed: {allowed}"])


__all__ = ["SafetensorsFile", "StateDict", "TorchZipFile", "open_checkpoint"]
