"""A checkpoint whose matrices are rounded to float16, to be stored in half the size."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from sllm_export.checkpoint.state_dict import Floats, Shape, StateDict
from sllm_export.errors import CheckpointError

MAX_HALF = float(np.finfo(np.float16).max)


class RoundedToHalf(StateDict):
    """The tensors of another checkpoint, those of two dimensions rounded to float16."""

    def __init__(self, inner: StateDict) -> None:
        self.source = inner.source
        self._inner = inner

    @property
    def shapes(self) -> Mapping[str, Shape]:
        return self._inner.shapes

    def load(self, name: str) -> Floats:
        values = self._inner.load(name)
        if values.ndim != 2:
            return values
        largest = float(np.abs(values).max(initial=0.0))
        if largest > MAX_HALF:
            problem = f"{name} holds {largest:.3g}, too much for float16: leave --half-weights out"
            raise CheckpointError(self.source, [problem])
        return values.astype(np.float16).astype(np.float32)

    def release(self) -> None:
        self._inner.release()
