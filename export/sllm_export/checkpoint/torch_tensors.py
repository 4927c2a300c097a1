"""What PyTorch's pickles say of tensors: storages, and strided views of them."""

from __future__ import annotations

import math
import pickle
from dataclasses import dataclass
from typing import Any

STORAGE_ELEMENTS = {
    "DoubleStorage": "float64",
    "FloatStorage": "float32",
    "HalfStorage": "float16",
    "BFloat16Storage": "bfloat16",
    "LongStorage": "int64",
    "IntStorage": "int32",
    "ShortStorage": "int16",
    "CharStorage": "int8",
    "ByteStorage": "uint8",
    "BoolStorage": "bool",
}
"""Element type of each of PyTorch's storage classes that is admitted."""

MAX_DIMENSIONS = 64
"""As in PyTorch. Short, so that many tensors that share one long shape cannot keep us busy."""


@dataclass(frozen=True)
class StorageRef:
    """One storage of the archive: its entry's key, element type and number of elements."""

    key: str
    element: str
    count: int


@dataclass(frozen=True)
class TensorRef:
    """A strided view of a storage; `offset` and `stride` count elements."""

    storage: StorageRef
    offset: int
    shape: tuple[int, ...]
    stride: tuple[int, ...]


MAX_SIZE = 2**63 - 1
"""As in PyTorch."""

MAX_REPEATED = 2**20
"""Elements that a tensor may have beyond those of its storage, by strides of 0: they would all be
made when it is read."""


def natural(value: Any) -> int:
    """The value if it is a size. Raises pickle.UnpicklingError, as all functions here do."""
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= MAX_SIZE:
        raise pickle.UnpicklingError("a tensor with a size that is not a natural number")
    return value


def rebuild_tensor(storage: Any, offset: Any, shape: Any, stride: Any, *_rest: Any) -> TensorRef:
    """Stands for `torch._utils._rebuild_tensor_v2`."""
    if not isinstance(storage, StorageRef):
        raise pickle.UnpicklingError("a tensor without a storage")
    tensor = TensorRef(storage, natural(offset), _naturals(shape), _naturals(stride))
    if len(tensor.shape) != len(tensor.stride):
        raise pickle.UnpicklingError("a tensor whose shape and stride differ in length")
    if all(tensor.shape):
        last = sum((s - 1) * t for s, t in zip(tensor.shape, tensor.stride, strict=True))
        if tensor.offset + last >= storage.count:
            raise pickle.UnpicklingError("a tensor that reaches past the end of its storage")
        if math.prod(tensor.shape) > max(storage.count, MAX_REPEATED):
            raise pickle.UnpicklingError("a tensor of more elements than its storage has")
    return tensor


def rebuild_parameter(data: Any, *_rest: Any) -> TensorRef:
    """Stands for `torch._utils._rebuild_parameter`."""
    if not isinstance(data, TensorRef):
        raise pickle.UnpicklingError("a parameter without a tensor")
    return data


def _naturals(values: Any) -> tuple[int, ...]:
    if not isinstance(values, tuple):
        raise pickle.UnpicklingError("a tensor whose shape or stride is not a tuple")
    if len(values) > MAX_DIMENSIONS:
        raise pickle.UnpicklingError(f"a tensor of more than {MAX_DIMENSIONS} dimensions")
    return tuple(natural(value) for value in values)
