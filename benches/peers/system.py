"""The systems that can be measured: each is one model in one runtime."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple, Protocol

from peers.workload import Speed

Level = Literal["sentences", "tokens"]
"""What a model predicts at a time."""

LIMIT_SECONDS = 1800.0
"""Time limit for loading a system, and for one turn."""


class PeerError(Exception):
    """A system that cannot be measured; the message is the reason, in one line."""


class Kind(NamedTuple):
    """A row of `KINDS`; the fields are those of `Description`."""

    level: Level
    runtime: str
    precision: str
    ours: bool = False


KINDS = {
    "sllm-ort-sllm": Kind("sentences", "sllm-ort", "int8", ours=True),
    "sllm-ort-sllm-int4": Kind("sentences", "sllm-ort", "int4", ours=True),
    "sllm-ort-opt": Kind("tokens", "sllm-ort", "int8", ours=True),
    "ctranslate2-opt": Kind("tokens", "CTranslate2", "int8"),
    "transformers-opt": Kind("tokens", "Transformers", "fp32"),
    "pytorch-sllm": Kind("sentences", "PyTorch as the original", "fp32"),
}
NAMES = tuple(KINDS)


@dataclass(frozen=True)
class Description:
    """What a system is. `ours` is true for sllm-ort, false for its peers."""

    name: str
    model: str
    level: Level
    runtime: str
    precision: str
    ours: bool

    @property
    def title(self) -> str:
        """The system's name in tables."""
        return f"{self.model}, {self.runtime} {self.precision}"


class System(Protocol):
    """One model in one runtime, in a process of its own: it shares no threads and no memory with
    the other systems."""

    description: Description
    details: dict[str, str]
    """Versions and settings, known after the first turn."""

    def start(self) -> None:
        """Load the model. Raises PeerError."""

    def turn(self) -> Speed:
        """Warm up, then measure one round. Raises PeerError."""

    def close(self) -> None:
        """End the system's processes."""
