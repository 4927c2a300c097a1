"""Checks of files and folders that are to be written, before the work that they are for."""

from __future__ import annotations

import os
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path

from sllm_export.errors import ExportError

_WRITE_BITS = stat.S_IWUSR | stat.S_IWGRP | stat.S_IWOTH


def check_replaceable(path: Path) -> None:
    """Raises ExportError if a file, or anything in a folder, is read-only; OSError if that cannot
    be told.

    A rename could replace it all the same, and root could write to it: whoever protected it did
    not mean that.
    """
    for part in (path, *_below(path)):
        if not part.stat().st_mode & _WRITE_BITS or not os.access(part, os.W_OK):
            raise ExportError(
                f"{part}: is read-only, so it is not replaced: make it writable, or choose "
                "another place"
            )


def _below(folder: Path) -> Iterator[Path]:
    """All files and folders in `folder`, at any depth; links are not followed."""
    if folder.is_dir():
        for path in folder.iterdir():
            if not path.is_symlink():
                yield path
                yield from _below(path)


def check_file(path: Path) -> None:
    """Raises ExportError if a file could not be written; one that is there would be replaced."""
    check_folder(path.parent)
    if path.is_dir():
        raise ExportError(f"{path}: cannot be written: it is a folder")
    if path.exists():
        check_replaceable(path)


def check_folder(folder: Path) -> None:
    """Raises ExportError if no file could be made in `folder`, which may not be there yet."""
    place = folder
    try:
        while not place.exists() and place != place.parent:
            place = place.parent
        with tempfile.TemporaryFile(dir=place):
            pass
    except OSError as error:
        within = "" if place == folder else f" in {place}"
        reason = error.strerror or str(error)
        raise ExportError(f"{folder}: cannot be written{within}: {reason}") from error
