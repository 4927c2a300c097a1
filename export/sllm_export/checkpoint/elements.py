"""Element types of stored tensors and their conversion to float32."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

STORED: dict[str, np.dtype[Any]] = {
    "float64": np.dtype("<f8"),
    "float32": np.dtype("<f4"),
    "float16": np.dtype("<f2"),
    "bfloat16": np.dtype("<u2"),
}
"""numpy type under which each supported element type is read; bfloat16 has none of its own."""


def to_float32(stored: np.ndarray, element: str) -> NDArray[np.float32]:
    """Converts an array read as `STORED[element]`; float32 comes back without a copy."""
    if element == "bfloat16":
        return (stored.astype(np.uint32) << np.uint32(16)).view(np.float32)
    return stored.astype(np.float32, copy=False)
