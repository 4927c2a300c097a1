"""Lazy reading of PyTorch's zip-format files (`torch.save` since 1.6), without PyTorch."""

from __future__ import annotations

import pickle
import struct
import zipfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from sllm_export.checkpoint.elements import STORED, to_float32
from sllm_export.checkpoint.restricted_pickle import TensorRef, load_restricted
from sllm_export.checkpoint.state_dict import Shape, StateDict
from sllm_export.errors import CheckpointError

_LOCAL_HEADER = struct.Struct("<4s22xHH")
_LOCAL_SIGNATURE = b"PK\x03\x04"
_MAX_PICKLE_BYTES = 256 * 2**20


class TorchZipFile(StateDict):
    """A memory-mapped `.pth` file: the tensors below `state_dict`, or the top level if it has none.

    Everything else in the file (`meta`, `message_hub`, `optimizer`, ...) is read into inert
    placeholders and dropped; see `restricted_pickle`.
    """

    def __init__(self, path: Path) -> None:
        self.source = str(path)
        try:
            with zipfile.ZipFile(path) as archive:
                self._members = {info.filename: info for info in archive.infolist()}
                self._prefix = self._find_prefix()
                top = load_restricted(self._read(archive, "data.pkl"))
                if self._has("byteorder") and self._read(archive, "byteorder") != b"little":
                    raise self._error("is stored big-endian (expected little-endian)")
        except zipfile.BadZipFile as error:
            hint = "not a zip-format PyTorch file (torch.save writes them since PyTorch 1.6)"
            raise self._error(f"{hint}: {error}") from error
        except pickle.UnpicklingError as error:
            raise self._error(f"its pickle is refused: {error}") from error
        except (OSError, RuntimeError, NotImplementedError) as error:
            raise self._error(f"cannot be read: {error}") from error
        self._bytes = np.memmap(path, dtype=np.uint8, mode="r")
        self._tensors = self._select(top)

    def _has(self, entry: str) -> bool:
        return self._prefix + entry in self._members

    def _error(self, problem: str) -> CheckpointError:
        return CheckpointError(self.source, [problem])

    def _find_prefix(self) -> str:
        pickles = [name for name in self._members if name.split("/")[1:] == ["data.pkl"]]
        if len(pickles) != 1:
            raise self._error(f"holds {len(pickles)} entries named */data.pkl (expected 1)")
        return pickles[0].removesuffix("data.pkl")

    def _read(self, archive: zipfile.ZipFile, entry: str) -> bytes:
        info = self._members[self._prefix + entry]
        if info.file_size > _MAX_PICKLE_BYTES:
            limit = f"expected at most {_MAX_PICKLE_BYTES}"
            raise self._error(f"its {entry} has {info.file_size} bytes ({limit})")
        return archive.read(info)

    def _select(self, top: object) -> dict[str, TensorRef]:
        state = top.get("state_dict", top) if isinstance(top, dict) else None
        if not isinstance(state, dict) or not state:
            raise self._error("holds no state_dict")
        foreign = [
            str(name)
            for name, value in state.items()
            if not isinstance(name, str) or not isinstance(value, TensorRef)
        ]
        if foreign:
            raise CheckpointError(self.source, [f"{name} is not a tensor" for name in foreign])
        return state

    @property
    def shapes(self) -> Mapping[str, Shape]:
        return {name: tensor.shape for name, tensor in self._tensors.items()}

    def load(self, name: str) -> np.ndarray:
        tensor = self._tensors[name]
        element = tensor.storage.element
        if element not in STORED:
            expected = f"expected one of {', '.join(STORED)}"
            raise self._error(f"{name} has element type {element} ({expected})")
        stored = self._storage(name, tensor).view(STORED[element])
        size = stored.dtype.itemsize
        if stored.size < tensor.storage.count:
            found = f"{stored.size} elements (expected {tensor.storage.count})"
            raise self._error(f"the storage of {name} has {found}")
        view = np.lib.stride_tricks.as_strided(
            stored[tensor.offset :],
            shape=tensor.shape,
            strides=tuple(step * size for step in tensor.stride),
            writeable=False,
        )
        return to_float32(view, element)

    def _storage(self, name: str, tensor: TensorRef) -> np.ndarray:
        """Bytes of the tensor's storage, straight from the mapped file."""
        info = self._members.get(f"{self._prefix}data/{tensor.storage.key}")
        if info is None:
            raise self._error(f"the storage {tensor.storage.key} of {name} is missing")
        if info.compress_type != zipfile.ZIP_STORED:
            raise self._error(f"the storage of {name} is compressed (expected stored)")
        header = self._bytes[info.header_offset :][: _LOCAL_HEADER.size].tobytes()
        if len(header) < _LOCAL_HEADER.size:
            raise self._error(f"the storage of {name} is cut off")
        signature, name_size, extra_size = _LOCAL_HEADER.unpack(header)
        begin = info.header_offset + _LOCAL_HEADER.size + name_size + extra_size
        end = begin + info.file_size
        itemsize = STORED[tensor.storage.element].itemsize
        whole = info.file_size % itemsize == 0
        if signature != _LOCAL_SIGNATURE or end > self._bytes.size or not whole:
            raise self._error(f"the storage of {name} is broken")
        return self._bytes[begin:end]
