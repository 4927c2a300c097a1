"""An unpickler that builds nothing but plain containers and descriptions of tensors.

A pickle can name any callable and have it called. Here a name is never imported: the few names
that PyTorch needs for tensors stand for functions of this file, and every other one stands for an
inert placeholder that swallows whatever the pickle does to it.
"""

from __future__ import annotations

import io
import pickle
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

_STORAGE_ELEMENTS = {
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


class Foreign:
    """Stands for an object of a class that is not admitted; keeps nothing and does nothing."""

    def __new__(cls, *_args: Any, **_kwargs: Any) -> Foreign:
        return super().__new__(cls)

    def __init__(self, *_args: Any, **_kwargs: Any) -> None:
        pass

    def __call__(self, *_args: Any, **_kwargs: Any) -> Foreign:
        return Foreign()

    def __setstate__(self, _state: Any) -> None:
        pass

    def __setitem__(self, _key: Any, _value: Any) -> None:
        pass

    def append(self, _item: Any) -> None:
        """Drops the item."""

    def extend(self, _items: Any) -> None:
        """Drops the items."""

    def add(self, _item: Any) -> None:
        """Drops the item."""


class _Admitted:
    """A callable of this file under the name that the pickle knows; cannot be altered by it."""

    __slots__ = ("_function",)
    _function: Callable[..., Any]

    def __init__(self, function: Callable[..., Any]) -> None:
        object.__setattr__(self, "_function", function)

    def __setattr__(self, name: str, value: Any) -> None:
        raise pickle.UnpicklingError("the pickle tries to alter a rebuild function")

    def __setstate__(self, _state: Any) -> None:
        raise pickle.UnpicklingError("the pickle tries to alter a rebuild function")

    def __call__(self, *args: Any) -> Any:
        return self._function(*args)


@dataclass(frozen=True)
class _StorageType:
    element: str


def _natural(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise pickle.UnpicklingError("a tensor with a size that is not a natural number")
    return value


def _naturals(values: Any) -> tuple[int, ...]:
    if not isinstance(values, tuple):
        raise pickle.UnpicklingError("a tensor whose shape or stride is not a tuple")
    return tuple(_natural(value) for value in values)


def _rebuild_tensor(storage: Any, offset: Any, shape: Any, stride: Any, *_rest: Any) -> TensorRef:
    if not isinstance(storage, StorageRef):
        raise pickle.UnpicklingError("a tensor without a storage")
    tensor = TensorRef(storage, _natural(offset), _naturals(shape), _naturals(stride))
    if len(tensor.shape) != len(tensor.stride):
        raise pickle.UnpicklingError("a tensor whose shape and stride differ in length")
    if all(tensor.shape):
        last = sum((s - 1) * t for s, t in zip(tensor.shape, tensor.stride, strict=True))
        if tensor.offset + last >= storage.count:
            raise pickle.UnpicklingError("a tensor that reaches past the end of its storage")
    return tensor


def _rebuild_parameter(data: Any, *_rest: Any) -> TensorRef:
    if not isinstance(data, TensorRef):
        raise pickle.UnpicklingError("a parameter without a tensor")
    return data


def _ordered_dict(*args: Any) -> OrderedDict[Any, Any]:
    return OrderedDict(*args)


class _RestrictedUnpickler(pickle.Unpickler):
    """Resolves names without importing anything."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return _Admitted(_rebuild_tensor)
        if (module, name) == ("torch._utils", "_rebuild_parameter"):
            return _Admitted(_rebuild_parameter)
        if (module, name) == ("collections", "OrderedDict"):
            return _Admitted(_ordered_dict)
        if module == "torch" and name in _STORAGE_ELEMENTS:
            return _StorageType(_STORAGE_ELEMENTS[name])
        return type("Foreign", (Foreign,), {})

    def persistent_load(self, pid: Any) -> StorageRef:
        match pid:
            case ("storage", _StorageType() as kind, str() as key, _, count):
                return StorageRef(key, kind.element, _natural(count))
        raise pickle.UnpicklingError("a persistent id that is not a tensor storage")


def load_restricted(data: bytes) -> Any:
    """Unpickles `data`. Raises pickle.UnpicklingError if it is broken or hostile."""
    try:
        return _RestrictedUnpickler(io.BytesIO(data)).load()
    except pickle.UnpicklingError:
        raise
    except Exception as error:  # a broken pickle can raise anything
        raise pickle.UnpicklingError(f"{type(error).__name__}: {error}") from error
