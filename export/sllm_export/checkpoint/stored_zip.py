"""Reading of zip archives whose entries are stored as they are, as PyTorch writes them.

Nothing is unpacked: an entry is a piece of the mapped file, so its name is never a path and its
size never more than the file's.
"""

from __future__ import annotations

import struct
import zipfile
import zlib
from pathlib import Path

import numpy as np

from sllm_export.checkpoint.mapped_file import MappedFile
from sllm_export.errors import CheckpointError

_LOCAL_HEADER = struct.Struct("<4s22xHH")
_LOCAL_SIGNATURE = b"PK\x03\x04"
_NO_CRC = 0
"""What PyTorch writes when it was told not to compute check sums."""


class StoredZip:
    """A mapped archive."""

    def __init__(self, path: Path) -> None:
        self.source = str(path)
        try:
            with zipfile.ZipFile(path) as archive:
                entries = archive.infolist()
            self.file = MappedFile(path)
        # Broken directories also raise what their decoding does.
        except (
            zipfile.BadZipFile,
            NotImplementedError,
            OSError,
            ValueError,
            struct.error,
        ) as error:
            raise self.error(f"is not a whole zip archive: {error}") from error
        self._entries = {info.filename: info for info in entries}
        self._checked: set[str] = set()
        if len(self._entries) != len(entries):
            raise self.error("has two entries of one name")

    def __contains__(self, name: str) -> bool:
        return name in self._entries

    @property
    def names(self) -> list[str]:
        """The entries' names."""
        return list(self._entries)

    def error(self, problem: str) -> CheckpointError:
        """An error that names the file."""
        return CheckpointError(self.source, [problem])

    def read(self, name: str) -> np.ndarray:
        """The bytes of an entry, u8 [size], straight from the mapped file."""
        info = self._entries[name]
        if info.compress_type != zipfile.ZIP_STORED or info.file_size != info.compress_size:
            raise self.error(f"its entry {name} is compressed (expected stored)")
        header = self.file.bytes[info.header_offset :][: _LOCAL_HEADER.size].tobytes()
        if len(header) < _LOCAL_HEADER.size:
            raise self.error(f"its entry {name} is cut off")
        signature, name_size, extra_size = _LOCAL_HEADER.unpack(header)
        begin = info.header_offset + _LOCAL_HEADER.size + name_size + extra_size
        end = begin + info.file_size
        if signature != _LOCAL_SIGNATURE or end > self.file.bytes.size:
            raise self.error(f"its entry {name} is broken")
        content = self.file.bytes[begin:end]
        if name not in self._checked:
            if info.CRC != _NO_CRC and zlib.crc32(content.data) != info.CRC:
                raise self.error(f"its entry {name} is damaged (wrong check sum)")
            self._checked.add(name)
        return content
