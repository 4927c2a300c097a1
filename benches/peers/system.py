"""The systems that can be measured: each is one model in one runtime."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple, Protocol

from peers.workload import Speed

Level = Literal["sentences", "tokens"]
"""What a model predicts at a time."""

LLAMA_CPP = "llama.cpp"

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
    batch: int = 1


KINDS = {
    "sllm-ort-sllm": Kind("sentences", "sllm-ort", "int8", ours=True),
    "sllm-ort-sllm-int4": Kind("sentences", "sllm-ort", "int4", ours=True),
    "sllm-ort-sllm-batch8": Kind("sentences", "sllm-ort", "int8", ours=True, batch=8),
    "sllm-ort-sllm-int4-batch8": Kind("sentences", "sllm-ort", "int4", ours=True, batch=8),
    "sllm-ort-opt": Kind("tokens", "sllm-ort", "int8", ours=True),
    "ctranslate2-opt": Kind("tokens", "CTranslate2", "int8"),
    "llama-cpp-gpt2-q8": Kind("tokens", LLAMA_CPP, "Q8_0"),
    "llama-cpp-gpt2-q4": Kind("tokens", LLAMA_CPP, "Q4_0"),
    "llama-cpp-gpt2-q8-batch8": Kind("tokens", LLAMA_CPP, "Q8_0", batch=8),
    "llama-cpp-gpt2-q4-batch8": Kind("tokens", LLAMA_CPP, "Q4_0", batch=8),
    "transformers-opt": Kind("tokens", "Transformers", "fp32"),
    "pytorch-sllm": Kind("sentences", "PyTorch as the original", "fp32"),
}
NAMES = tuple(KINDS)


@dataclass(frozen=True)
class Description:
    """What a system is. `ours` is true for sllm-ort, false for its peers.

    `batch` is the number of texts that are generated together.
    """

    name: str
    model: str
    level: Level
    runtime: str
    precision: str
    ours: bool
    batch: int = 1

    @property
    def title(self) -> str:
        """The system's name in tables."""
        batch = f", batch {self.batch}" if self.batch > 1 else ""
        return f"{self.model}, {self.runtime} {self.precision}{batch}"


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
