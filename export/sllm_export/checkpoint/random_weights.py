"""Random weights of a configuration's shapes, for speed tests and for the exporter's own tests."""

from __future__ import annotations

import zlib
from collections.abc import Mapping

import numpy as np

from sllm_export.checkpoint.state_dict import Floats, Shape, StateDict


class RandomStateDict(StateDict):
    """Weights drawn when they are asked for, each from its own generator.

    A tensor depends on the seed and on its name only, so two exports agree bit for bit in whatever
    order they read, and no two tensors are in memory at once. Linear weights have standard
    deviation 1 / sqrt(fan in), which keeps activations in a range where a check means something.
    """

    def __init__(self, shapes: Mapping[str, Shape], seed: int) -> None:
        self.source = f"random weights (seed {seed})"
        self.seed = seed
        self._shapes = dict(shapes)

    @property
    def shapes(self) -> Mapping[str, Shape]:
        return self._shapes

    def load(self, name: str) -> Floats:
        shape = self._shapes[name]
        generator = np.random.default_rng([self.seed, zlib.crc32(name.encode())])
        values = generator.standard_normal(shape, dtype=np.float32)
        if len(shape) == 1:
            offset = 1.0 if "norm" in name and name.endswith("weight") else 0.0
            return np.float32(offset) + values * np.float32(0.02)
        return values * np.float32(shape[-1] ** -0.5)
