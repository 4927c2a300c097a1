"""Lazy reading of PyTorch's zip-format files (`torch.save` since 1.6), without PyTorch."""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from sllm_export.checkpoint.elements import STORED, to_float32
from sllm_export.checkpoint.restricted_pickle import load_restricted
from sllm_export.checkpoint.state_dict import Floats, Shape, StateDict
from sllm_export.checkpoint.stored_zip import StoredZip
from sllm_export.checkpoint.torch_tensors import TensorRef
from sllm_export.errors import CheckpointError

_MAX_PICKLE_BYTES = 2**29
_PICKLE = "data.pkl"
_MAX_KEYS, _MAX_KEY = 8, 40
_ZIP_SIGNATURE = b"PK"
_OLD_SIGNATURE = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."
"""Files of `torch.save` before 1.6 begin with this pickled number."""


class TorchZipFile(StateDict):
    """A memory-mapped `.pth` file: the tensors below `state_dict`, or the top level if it has none.

    Everything else in the file (`meta`, `message_hub`, `optimizer`, ...) is read into inert
    placeholders and dropped; see `restricted_pickle`. So is `ema_state_dict`: mmengine's EMA hook
    puts the averaged weights under `state_dict`, and there the weights that were averaged.
    """

    def __init__(self, path: Path) -> None:
        self.source = str(path)
        self._refuse_other_formats(path)
        self._archive = StoredZip(path)
        self._prefix = self._find_prefix()
        if "byteorder" in self and self._read("byteorder").tobytes() != b"little":
            raise self._error("is stored big-endian (expected little-endian)")
        try:
            pickled = self._read(_PICKLE)
            if pickled.size > _MAX_PICKLE_BYTES:
                limit = f"expected at most {_MAX_PICKLE_BYTES}"
                raise self._error(f"its {_PICKLE} has {pickled.size} bytes ({limit})")
            top = load_restricted(pickled.tobytes())
        except pickle.UnpicklingError as error:
            raise self._error(f"its pickle is refused: {error}") from error
        self._tensors = self._select(top)

    def _refuse_other_formats(self, path: Path) -> None:
        with path.open("rb") as file:
            start = file.read(len(_OLD_SIGNATURE))
        if start == _OLD_SIGNATURE:
            raise self._error(
                "is in PyTorch's format from before 1.6; torch.load and torch.save of a newer "
                "PyTorch turn it into one that can be read"
            )
        if not start.startswith(_ZIP_SIGNATURE):
            raise self._error("not a zip-format PyTorch file (torch.save writes them since 1.6)")

    def __contains__(self, entry: str) -> bool:
        return self._prefix + entry in self._archive

    def _error(self, problem: str) -> CheckpointError:
        return CheckpointError(self.source, [problem])

    def _find_prefix(self) -> str:
        pickles = [name for name in self._archive.names if name.split("/")[1:] == [_PICKLE]]
        if len(pickles) != 1:
            raise self._error(f"holds {len(pickles)} entries named */{_PICKLE} (expected 1)")
        return pickles[0].removesuffix(_PICKLE)

    def _read(self, entry: str) -> np.ndarray:
        return self._archive.read(self._prefix + entry)

    def _select(self, top: Any) -> dict[str, TensorRef]:
        state = top.get("state_dict", top) if isinstance(top, dict) else None
        if not isinstance(state, dict) or not state:
            raise self._error("holds no state_dict")
        if "state_dict" not in top and not any(isinstance(v, TensorRef) for v in state.values()):
            found = ", ".join(sorted(str(name)[:_MAX_KEY] for name in state)[:_MAX_KEYS])
            raise self._error(f"holds no state_dict (found {found})")
        foreign = [
            f"{name} is not a tensor" if isinstance(name, str) else "a name that is not a string"
            for name, value in state.items()
            if not isinstance(name, str) or not isinstance(value, TensorRef)
        ]
        if foreign:
            raise CheckpointError(self.source, foreign)
        return state

    @property
    def shapes(self) -> Mapping[str, Shape]:
        return {name: tensor.shape for name, tensor in self._tensors.items()}

    def release(self) -> None:
        self._archive.file.release()

    def load(self, name: str) -> Floats:
        tensor = self._tensors[name]
        element = tensor.storage.element
        if element not in STORED:
            expected = f"expected one of {', '.join(STORED)}"
            raise self._error(f"{name} has element type {element} ({expected})")
        stored = self._storage(name, tensor)
        size = stored.dtype.itemsize
        view = np.lib.stride_tricks.as_strided(
            stored[tensor.offset :],
            shape=tensor.shape,
            strides=tuple(step * size for step in tensor.stride),
            writeable=False,
        )
        return to_float32(view, element)

    def _storage(self, name: str, tensor: TensorRef) -> np.ndarray:
        """Elements of the tensor's storage, straight from the mapped file."""
        storage = tensor.storage
        entry = f"data/{storage.key}"
        if entry not in self:
            raise self._error(f"the storage {storage.key} of {name} is missing")
        content, element = self._read(entry), STORED[storage.element]
        size = storage.count * element.itemsize
        if content.size < size:
            found = f"{content.size} bytes (expected {size})"
            raise self._error(f"the storage of {name} has {found}")
        return content[:size].view(element)
