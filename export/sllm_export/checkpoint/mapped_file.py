"""A file in memory without holding memory."""

from __future__ import annotations

import mmap
from pathlib import Path

import numpy as np


class MappedFile:
    """The bytes of a file as an array that the system reads from disk page by page."""

    def __init__(self, path: Path) -> None:
        with path.open("rb") as file:
            self._map = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        self.bytes = np.frombuffer(self._map, dtype=np.uint8)

    def release(self) -> None:
        """Gives back the pages read so far; what still uses them reads them from disk again."""
        if hasattr(mmap, "MADV_DONTNEED"):
            self._map.madvise(mmap.MADV_DONTNEED)
