"""What is measured: a system is a model in a runtime."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol

from peers.workload import Speed

Level = Literal["sentences", "tokens"]

LIMIT_SECONDS = 1800.0
"""The longest that a system may take to load, or for a turn."""


@dataclass(frozen=True)
class Description:
    """What a system is. `level` is what its model predicts; `ours` tells sllm-ort from its
    peers."""

    name: str
    model: str
    level: Level
    runtime: str
    precision: str
    ours: bool

    @property
    def title(self) -> str:
        """For people."""
        return f"{self.model}, {self.runtime} {self.precision}"


class System(Protocol):
    """One model in one runtime, in processes of its own, so that threads that spin and memory that
    is kept are no other's."""

    description: Description
    details: dict[str, str]
    """Versions and settings that are known once a turn was taken."""

    def start(self) -> None:
        """Loads the model. Raises PeerError."""

    def turn(self) -> Speed:
        """Warms up, then measures one round. Raises PeerError."""

    def close(self) -> None:
        """Ends its processes."""
