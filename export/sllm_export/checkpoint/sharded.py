"""Checkpoints in several files, with Hugging Face's index of which tensor is in which."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path, PurePath

from sllm_export.checkpoint.state_dict import Floats, Shape, StateDict
from sllm_export.errors import CheckpointError

INDEX_SUFFIX = ".index.json"
_MAX_INDEX_BYTES = 2**26


class ShardedCheckpoint(StateDict):
    """The files beside an index, such as `model.safetensors.index.json`, as one checkpoint."""

    def __init__(self, index: Path, open_file: Callable[[Path], StateDict]) -> None:
        self.source = str(index)
        names = shard_names(index)
        # An index that names itself would be opened without end.
        nested = [name for name in names if name.endswith(INDEX_SUFFIX)]
        if nested:
            raise CheckpointError(self.source, [f"names {name}, an index" for name in nested])
        self._holders: dict[str, StateDict] = {}
        for shard in (open_file(index.with_name(name)) for name in names):
            twice = sorted(shard.shapes.keys() & self._holders.keys())
            if twice:
                raise CheckpointError(shard.source, [f"{n} is in another file too" for n in twice])
            self._holders |= dict.fromkeys(shard.shapes, shard)

    @property
    def shapes(self) -> Mapping[str, Shape]:
        return {name: shard.shapes[name] for name, shard in self._holders.items()}

    def load(self, name: str) -> Floats:
        return self._holders[name].load(name)

    def release(self) -> None:
        for shard in set(self._holders.values()):
            shard.release()


def shard_names(index: Path) -> list[str]:
    """Names of the files that an index lists, which lie beside it. Raises CheckpointError."""
    try:
        with index.open("rb") as file:
            data = file.read(_MAX_INDEX_BYTES + 1)
        if len(data) > _MAX_INDEX_BYTES:
            raise ValueError(f"longer than {_MAX_INDEX_BYTES} bytes")
        content = json.loads(data)
    except (OSError, ValueError, RecursionError) as error:
        raise CheckpointError(str(index), [f"cannot be read: {error}"]) from error
    files = content.get("weight_map") if isinstance(content, dict) else None
    if not isinstance(files, dict) or not files:
        raise CheckpointError(str(index), ["holds no weight_map"])
    names = list(dict.fromkeys(name for name in files.values() if isinstance(name, str)))
    foreign = [f"weight_map names {n}, which is no file beside it" for n in names if not _plain(n)]
    if len(names) == 0 or any(not isinstance(name, str) for name in files.values()):
        foreign.append("weight_map holds what is no file name")
    if foreign:
        raise CheckpointError(str(index), foreign)
    return names


def _plain(name: str) -> bool:
    """Whether the name stays in its directory."""
    return name not in ("", ".", "..") and PurePath(name).name == name and "\0" not in name
