"""Graphs in ONNX Runtime for Python, on the processor or the provider that is checked."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sllm_export.checkpoint.expected import expected_shapes
from sllm_export.checkpoint.random_weights import RandomStateDict
from sllm_export.config import ModelConfig, load_config
from sllm_export.variants import VARIANTS, Variant
from sllm_export.verify.runner import CPU, GraphRunner, Provider

from gpu_check.plan import SEED

CUDA = "CUDAExecutionProvider"


@dataclass(frozen=True)
class Subject:
    """A model with random weights in one variant, and the provider that it is run on."""

    config: ModelConfig
    variant: Variant
    folder: Path
    provider: str

    @property
    def device(self) -> str:
        """Where the provider's tensors are, as ONNX Runtime calls it."""
        return "cuda" if self.provider == "cuda" else "cpu"

    def weights(self) -> RandomStateDict:
        """The weights that the bundle was made from."""
        return RandomStateDict(expected_shapes(self.config), SEED)

    def path(self, graph: str) -> Path:
        """A graph of the bundle."""
        return self.folder / self.variant.name / f"{graph}.onnx"

    def step_path(self, graph: str) -> Path:
        """Its graph for greedy steps."""
        return self.folder / f"step-{graph}.onnx"

    def runner(self, graph: str, capacity: int) -> GraphRunner:
        """A graph of the bundle on the provider."""
        return GraphRunner(self.path(graph), capacity, providers(self.provider), self.device)

    def reference(self, graph: str, capacity: int) -> GraphRunner:
        """The same on the processor."""
        return GraphRunner(self.path(graph), capacity)


def providers(name: str, **options: str) -> list[Provider]:
    """Providers of a session; products of float32 are exact, not in TF32."""
    if name == "cpu":
        return [CPU]
    if name != "cuda":
        raise ValueError(f"provider {name}: expected cpu or cuda")
    return [(CUDA, {"device_id": "0", "use_tf32": "0", **options}), CPU]


def check_provider(runner: GraphRunner, name: str) -> None:
    """Fail where ONNX Runtime has gone on without the provider."""
    found = runner.session.get_providers()
    if name == "cuda" and CUDA not in found:
        raise RuntimeError(f"the session has no CUDA: {found}")


def arguments(parser: argparse.ArgumentParser) -> tuple[Subject, argparse.Namespace]:
    """The subject that the command line names, and its other arguments."""
    add = parser.add_argument
    add("--config", type=Path, required=True)
    add("--bundle", type=Path, required=True)
    add("--variant", required=True)
    add("--provider", required=True)
    given = parser.parse_args()
    variant = next(v for v in VARIANTS if v.name == given.variant)
    subject = Subject(load_config(given.config), variant, given.bundle, given.provider)
    return subject, given


def error_of(failure: BaseException) -> dict[str, Any]:
    """What a report has in place of a result."""
    return {"error": f"{type(failure).__name__}: {failure}"[:2000]}
