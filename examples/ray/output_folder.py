"""The output folder of a run: its lock, and the manifest of its settings."""

from __future__ import annotations

import fcntl
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from errors import RunError

MANIFEST = "_run.json"
LOCK = "_lock"
FORMAT = 1


@dataclass(frozen=True)
class Settings:
    """All that decides what the output files hold."""

    format: int
    model: str
    fingerprint: str
    variant: str
    provider: str
    hidden_size: int
    batch_size: int
    reader: dict[str, Any]
    files: list[dict[str, Any]]


@contextmanager
def locked(out: Path) -> Iterator[None]:
    """Keep other runs out of the output folder. The lock ends with the process."""
    try:
        out.mkdir(parents=True, exist_ok=True)
        file = (out / LOCK).open("w")
    except OSError as error:
        raise RunError(f"cannot write to {out}: {error.strerror}") from error
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise RunError(f"another run writes to {out}. Wait for it, or end it") from error
        yield


def check_manifest(out: Path, settings: Settings) -> None:
    """Write the manifest of a new run. Refuse to continue a run of other settings."""
    path = out / MANIFEST
    wanted = json.loads(json.dumps(asdict(settings)))
    if not path.exists():
        if any(out.glob("part-*.parquet")):
            raise RunError(f"{out} holds parts but no {MANIFEST}. Name another folder with --out")
        temporary = out / f".{MANIFEST}.tmp"
        temporary.write_text(json.dumps(wanted, indent=1) + "\n", encoding="utf-8")
        temporary.replace(path)
        return
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        differing = [name for name in wanted if found.get(name) != wanted[name]]
    except (ValueError, AttributeError) as error:
        raise RunError(f"{path} is damaged: {error}. Name another folder with --out") from error
    if differing:
        changes = "; ".join(describe(name, found.get(name), wanted[name]) for name in differing)
        raise RunError(
            f"{out} holds a run of other settings: {changes}. Use the same ones to continue it, "
            "or name another folder with --out"
        )


def describe(name: str, found: Any, wanted: Any) -> str:
    """How a setting of the manifest differs from that of this run."""
    if name == "files":
        return "files were added, removed or changed"
    if name == "fingerprint":
        return "another model"
    return f"{name} was {json.dumps(found)}, is {json.dumps(wanted)}"
