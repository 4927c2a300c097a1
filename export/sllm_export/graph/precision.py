"""How a variant stores and multiplies weights: the two operators that read most bytes."""

from __future__ import annotations

from typing import Protocol

import numpy as np

from sllm_export.graph.builder import FLOAT, MICROSOFT, GraphBuilder
from sllm_export.graph.quantize import block_size, quantize

_INT8_ACCURACY = 4
_SMALL_WEIGHT = 2**18
"""Elements up to which a weight that matters more than others is not rounded to int8."""


class Precision(Protocol):
    """Emits linear layers and embedding look-ups; activations are float32 in and out."""

    def linear(
        self, b: GraphBuilder, x: str, name: str, weight: np.ndarray, bias: np.ndarray | None
    ) -> str:
        """x [..., K], weight [N, K], bias [N] -> x weight^T + bias, [..., N]."""

    def fine_linear(
        self, b: GraphBuilder, x: str, name: str, weight: np.ndarray, bias: np.ndarray | None
    ) -> str:
        """The same for a sentence vector: every token decoded from it inherits its error."""

    def embedding(self, b: GraphBuilder, ids: str, name: str, table: np.ndarray) -> str:
        """ids [...], table [rows, E] -> [..., E]."""


def _product(b: GraphBuilder, x: str, weight: str, name: str, bias: np.ndarray | None) -> str:
    """x [..., K], the value `weight` [K, N] -> x weight + bias in float32."""
    product = b.op("MatMul", [x, weight])
    return product if bias is None else b.op("Add", [product, b.weight(f"{name}.bias", bias)])


class Float32:
    """Float32 weights and standard operators."""

    def linear(
        self, b: GraphBuilder, x: str, name: str, weight: np.ndarray, bias: np.ndarray | None
    ) -> str:
        return _product(b, x, b.weight(f"{name}.weight", weight.T), name, bias)

    fine_linear = linear

    def embedding(self, b: GraphBuilder, ids: str, name: str, table: np.ndarray) -> str:
        return b.op("Gather", [b.weight(f"{name}.weight", table), ids], axis=0)


class Fine:
    """A precision whose every linear layer is the other's `fine_linear`."""

    def __init__(self, precision: Precision) -> None:
        self.linear = self.fine_linear = precision.fine_linear
        self.embedding = precision.embedding


class Int8:
    """8-bit MatMulNBits weights, activations rounded to 8 bit inside; embeddings in float16."""

    def linear(
        self, b: GraphBuilder, x: str, name: str, weight: np.ndarray, bias: np.ndarray | None
    ) -> str:
        rows, columns = weight.shape
        codes, scales = quantize(weight)
        inputs = [x, b.weight(f"{name}.codes", codes), b.weight(f"{name}.scales", scales)]
        if bias is not None:
            inputs += ["", "", b.weight(f"{name}.bias", bias)]
        return b.op(
            "MatMulNBits",
            inputs,
            domain=MICROSOFT,
            K=columns,
            N=rows,
            bits=8,
            block_size=block_size(columns),
            accuracy_level=_INT8_ACCURACY,
        )

    def fine_linear(
        self, b: GraphBuilder, x: str, name: str, weight: np.ndarray, bias: np.ndarray | None
    ) -> str:
        if weight.size > _SMALL_WEIGHT:
            return self.linear(b, x, name, weight, bias)
        # Float16 that ONNX Runtime turns into float32 once, when it loads the graph.
        half = b.weight(f"{name}.weight", weight.T.astype(np.float16))
        return _product(b, x, b.op("Cast", [half], to=FLOAT), name, bias)

    def embedding(self, b: GraphBuilder, ids: str, name: str, table: np.ndarray) -> str:
        half = b.weight(f"{name}.weight", table.astype(np.float16))
        return b.op("Cast", [b.op("Gather", [half, ids], axis=0)], to=FLOAT)
