"""Lazy reading of `.safetensors` files."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open

from sllm_export.checkpoint.elements import STORED, to_float32
from sllm_export.checkpoint.mapped_file import MappedFile
from sllm_export.checkpoint.state_dict import Floats, Shape, StateDict
from sllm_export.errors import CheckpointError

_ELEMENTS = {"F64": "float64", "F32": "float32", "F16": "float16", "BF16": "bfloat16"}
_LENGTH_BYTES = 8


class SafetensorsFile(StateDict):
    """A memory-mapped `.safetensors` file.

    The safetensors library validates the header (offsets, sizes, overlaps); the tensors are read
    here because the library's numpy side knows no bfloat16.
    """

    def __init__(self, path: Path) -> None:
        self.source = str(path)
        try:
            with safe_open(path, framework="numpy"):
                pass
        except (OSError, SafetensorError) as error:
            raise CheckpointError(self.source, [f"not a safetensors file: {error}"]) from error
        self._file = MappedFile(path)
        self._bytes = self._file.bytes
        header_size = int.from_bytes(self._bytes[:_LENGTH_BYTES].tobytes(), "little")
        self._start = _LENGTH_BYTES + header_size
        header: dict[str, Any] = json.loads(self._bytes[_LENGTH_BYTES : self._start].tobytes())
        header.pop("__metadata__", None)
        self._entries = header
        self._shapes = {name: tuple(entry["shape"]) for name, entry in header.items()}

    @property
    def shapes(self) -> Mapping[str, Shape]:
        return self._shapes

    def release(self) -> None:
        self._file.release()

    def load(self, name: str) -> Floats:
        entry = self._entries[name]
        element = _ELEMENTS.get(entry["dtype"])
        if element is None:
            found = f"{name} has element type {entry['dtype']} (expected one of "
            raise CheckpointError(self.source, [found + f"{', '.join(_ELEMENTS)})"])
        begin, end = (self._start + offset for offset in entry["data_offsets"])
        stored = np.frombuffer(self._bytes[begin:end], dtype=STORED[element])
        return to_float32(stored.reshape(self._shapes[name]), element)
