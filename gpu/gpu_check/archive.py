"""The libraries of a pack: joined from parts, their checksums compared, and unpacked."""

from __future__ import annotations

import ctypes
import hashlib
import io
import shutil
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from gpu_check.steps import StepError

SUMS = "SHA256SUMS"
PARTS = "runtime.tar.zst."
"""What the names of the parts begin with; a number follows."""
_CHUNK = 1 << 20


def check_sums(pack: Path) -> int:
    """Compare every file of the pack with its checksum; returns how many there are."""
    lines = (pack / SUMS).read_text(encoding="utf-8").splitlines()
    problems = []
    for line in lines:
        expected, name = line.split("  ", 1)
        path = pack / name
        if not path.is_file():
            problems.append(f"{name} is missing")
        elif sha256(path) != expected:
            problems.append(f"{name} is damaged")
    if problems:
        raise StepError("; ".join(problems))
    return len(lines)


def sha256(path: Path) -> str:
    """Checksum of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def unpack(pack: Path, target: Path) -> None:
    """Unpack the joined parts into `target`, which is made anew. Raises StepError."""
    parts = sorted(pack.glob(f"{PARTS}*"))
    if not parts:
        raise StepError(f"the pack holds no {PARTS}*")
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir(parents=True)
    joined = target / "joined.tar"
    with joined.open("wb") as file:
        for block in decompressed(parts):
            file.write(block)
    with tarfile.open(joined) as tar:
        tar.extractall(target, filter="data")
    joined.unlink()


def decompressed(parts: list[Path]) -> Iterator[bytes]:
    """What the parts hold together, by the program zstd or, without it, by its library."""
    program = shutil.which("zstd")
    return _by_program(program, parts) if program else _by_library(parts)


def _by_program(program: str, parts: list[Path]) -> Iterator[bytes]:
    pipe = subprocess.PIPE
    with (
        subprocess.Popen(["cat", *map(str, parts)], stdout=pipe) as joined,
        subprocess.Popen([program, "-dcq"], stdin=joined.stdout, stdout=pipe) as plain,
    ):
        assert joined.stdout is not None
        assert plain.stdout is not None
        # So that cat ends where zstd has ended.
        joined.stdout.close()
        while block := plain.stdout.read(_CHUNK):
            yield block
    if plain.returncode != 0:
        raise StepError(f"{program} cannot decompress the joined parts")


class _Buffer(ctypes.Structure):
    """ZSTD_inBuffer and ZSTD_outBuffer of zstd.h, which are laid out alike."""

    _fields_ = (("data", ctypes.c_void_p), ("size", ctypes.c_size_t), ("place", ctypes.c_size_t))


def _by_library(parts: list[Path]) -> Iterator[bytes]:
    zstd = _library()
    stream = zstd.ZSTD_createDStream()
    data = ctypes.create_string_buffer(_CHUNK)
    try:
        left = 1
        for block in _blocks(parts):
            given = ctypes.create_string_buffer(block, len(block))
            source = _Buffer(ctypes.addressof(given), len(block), 0)
            full = True
            while source.place < source.size or full:
                target = _Buffer(ctypes.addressof(data), _CHUNK, 0)
                left = zstd.ZSTD_decompressStream(
                    stream, ctypes.byref(target), ctypes.byref(source)
                )
                if zstd.ZSTD_isError(left):
                    raise StepError(f"zstd: {zstd.ZSTD_getErrorName(left).decode()}")
                full = target.place == target.size
                yield data.raw[: target.place]
        if left:
            raise StepError("the joined parts end too early")
    finally:
        zstd.ZSTD_freeDStream(stream)


def _blocks(parts: list[Path]) -> Iterator[bytes]:
    for part in parts:
        with part.open("rb", buffering=io.DEFAULT_BUFFER_SIZE) as file:
            while block := file.read(_CHUNK):
                yield block


def _library() -> Any:
    """libzstd, which Debian's and Ubuntu's own package manager needs."""
    try:
        zstd = ctypes.CDLL("libzstd.so.1")
    except OSError as error:
        raise StepError(f"neither the program zstd nor its library is here: {error}") from error
    zstd.ZSTD_createDStream.restype = ctypes.c_void_p
    zstd.ZSTD_freeDStream.argtypes = [ctypes.c_void_p]
    zstd.ZSTD_decompressStream.restype = ctypes.c_size_t
    zstd.ZSTD_decompressStream.argtypes = [ctypes.c_void_p] * 3
    zstd.ZSTD_isError.argtypes = [ctypes.c_size_t]
    zstd.ZSTD_getErrorName.argtypes = [ctypes.c_size_t]
    zstd.ZSTD_getErrorName.restype = ctypes.c_char_p
    return zstd
