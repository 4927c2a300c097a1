"""The view of a checkpoint that the rest of the exporter uses: names, shapes, arrays on demand."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

Shape = tuple[int, ...]
Floats = NDArray[np.float32]


class StateDict(ABC):
    """Named tensors of one checkpoint. Nothing is read from disk before `load`."""

    source: str
    """What to call the checkpoint in messages: a path, or `random weights (seed 0)`."""

    @property
    @abstractmethod
    def shapes(self) -> Mapping[str, Shape]:
        """Shape of every tensor, by name."""

    @abstractmethod
    def load(self, name: str) -> Floats:
        """The tensor as float32, in the shape that `shapes` gives; may be a read-only view."""

    def release(self) -> None:  # noqa: B027 - most have nothing to give back
        """Gives back memory that reading took; arrays that `load` gave stay valid."""


class Renamed(StateDict):
    """Another checkpoint's tensors under other names."""

    def __init__(self, inner: StateDict, names: Mapping[str, str]) -> None:
        """`names` has the name in `inner` of each tensor."""
        self.source = inner.source
        self._inner = inner
        self._names = names

    @property
    def shapes(self) -> Mapping[str, Shape]:
        return {name: self._inner.shapes[stored] for name, stored in self._names.items()}

    def load(self, name: str) -> Floats:
        return self._inner.load(self._names[name])

    def release(self) -> None:
        self._inner.release()


class Weights:
    """The tensors below one prefix: `Weights(sd, "svae.encoder.")["lnorm.weight"]`."""

    def __init__(self, state_dict: StateDict, prefix: str = "") -> None:
        self.state_dict = state_dict
        self.prefix = prefix

    def __getitem__(self, name: str) -> Floats:
        return self.state_dict.load(self.prefix + name)

    def optional(self, name: str) -> Floats | None:
        """The tensor, or None if the checkpoint has none of that name."""
        if name not in self:
            return None
        return self[name]

    def __contains__(self, name: str) -> bool:
        return self.prefix + name in self.state_dict.shapes

    def under(self, prefix: str) -> Weights:
        """The tensors below a longer prefix."""
        return Weights(self.state_dict, self.prefix + prefix)
