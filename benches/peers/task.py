"""What a worker is told to measure."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from peers.bundle import RandomModel
from peers.workload import Workload


@dataclass(frozen=True)
class Task:
    """A model, the work of a round, and an empty folder for files that the peer needs."""

    model: RandomModel
    workload: Workload
    folder: Path

    def to_json(self) -> dict[str, Any]:
        """For the worker."""
        return {
            "model": self.model.to_json(),
            "workload": asdict(self.workload),
            "folder": str(self.folder),
        }

    @classmethod
    def of_json(cls, value: dict[str, Any]) -> Task:
        """The reverse of `to_json`."""
        return cls(
            RandomModel.of_json(value["model"]),
            Workload(**value["workload"]),
            Path(value["folder"]),
        )
