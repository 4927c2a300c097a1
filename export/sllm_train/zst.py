"""Reading zstandard files to their end, frame by frame."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import zstandard

from sllm_export.errors import ExportError

_CHUNK_BYTES = 2**16


class ZstFile(io.RawIOBase):
    """The decoded bytes of all frames of a file. Raises ExportError where the last one is cut off:
    zstandard's own reader ends there, as it does after the first frame, without a word."""

    def __init__(self, path: Path) -> None:
        self._path, self._file = path, path.open("rb")
        self._frame = zstandard.ZstdDecompressor().decompressobj()
        self._rest, self._decoded = b"", memoryview(b"")

    def readable(self) -> bool:
        return True

    def close(self) -> None:
        self._file.close()
        super().close()

    def readinto(self, buffer: Any, /) -> int:
        while not self._decoded:
            data = self._rest or self._file.read(_CHUNK_BYTES)
            if not data:
                if not self._frame.eof:
                    raise ExportError(f"{self._path}: is cut off")
                return 0
            if self._frame.eof:
                self._frame = zstandard.ZstdDecompressor().decompressobj()
            self._decoded = memoryview(self._frame.decompress(data))
            self._rest = self._frame.unused_data
        count = min(len(buffer), len(self._decoded))
        buffer[:count] = self._decoded[:count]
        self._decoded = self._decoded[count:]
        return count


def decoded_bytes(path: Path) -> int:
    """Bytes of a file when decoded. A frame need not say how many it has."""
    count = 0
    with ZstFile(path) as file:
        while data := file.read(_CHUNK_BYTES):
            count += len(data)
    return count
