"""How a variant stores and multiplies weights: the two operators that read most bytes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from sllm_export.graph.builder import FLOAT, GraphBuilder
from sllm_export.graph.vocabulary import (
    OutputLayer,
    all_logits,
    best_logits,
    coarse_logits,
    only_best_logits,
    quantized_product,
    whole_product,
)

_SMALL_WEIGHT = 2**18
"""Elements up to which a weight stays in the processor's cache: it is not rounded to 4 bit, and one
that matters more than others not to 8 bit."""
_LARGE_BLOCK, _SMALL_BLOCK, _LARGE_FROM = 128, 16, 768
_FOUR_BIT_BLOCK = 64
_CUDA_BLOCK = 32
_MIN_HALF_SIZE = 1024


class Precision(Protocol):
    """Emits linear layers and embedding look-ups; activations are the builder's floats."""

    half: bool
    """Whether those are float16."""

    @property
    def steps(self) -> bool:
        """Whether the graphs are for greedy steps of one position; see `build_step_graph`."""

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

    def vocabulary(self, b: GraphBuilder, x: str, layer: OutputLayer) -> None:
        """The graph's outputs from hidden vectors x [batch, tokens, K]; see the functions of
        `vocabulary`."""


def _product(b: GraphBuilder, x: str, weight: str, name: str, bias: np.ndarray | None) -> str:
    """x [..., K], the value `weight` [K, N] -> x weight + bias."""
    product = b.op("MatMul", [x, weight])
    return product if bias is None else b.op("Add", [product, b.weight(f"{name}.bias", bias)])


class Plain:
    """Weights as the builder keeps them, float32 or float16, and standard operators."""

    half = False
    steps = False

    def weight(self, b: GraphBuilder, name: str, values: np.ndarray) -> str:
        """A weight as a value of the graph's own floats."""
        return b.weight(name, values)

    def linear(
        self, b: GraphBuilder, x: str, name: str, weight: np.ndarray, bias: np.ndarray | None
    ) -> str:
        return _product(b, x, self.weight(b, f"{name}.weight", weight.T), name, bias)

    fine_linear = linear

    def embedding(self, b: GraphBuilder, ids: str, name: str, table: np.ndarray) -> str:
        return b.op("Gather", [self.weight(b, f"{name}.weight", table), ids], axis=0)

    def vocabulary(self, b: GraphBuilder, x: str, layer: OutputLayer) -> None:
        all_logits(b, self.linear(b, x, layer.name, layer.weight, layer.bias), layer)


@dataclass(frozen=True)
class Float32(Plain):
    """Float32 throughout. With `stored_half`, weights that float16 can hold are stored in it; ONNX
    Runtime makes them float32 once, when it loads the graph."""

    stored_half: bool = False

    def weight(self, b: GraphBuilder, name: str, values: np.ndarray) -> str:
        if self.stored_half and values.size > _MIN_HALF_SIZE:
            half = values.astype(np.float16)
            if np.array_equal(half, values):
                return b.op("Cast", [b.weight(name, half)], to=FLOAT)
        return b.weight(name, values)


@dataclass(frozen=True)
class Half(Plain):
    """Float16 throughout, in standard operators; logits of the whole vocabulary."""

    half = True


@dataclass(frozen=True)
class Float16(Plain):
    """Float16 throughout; the vocabulary is ranked in float16, the best tokens get their logits in
    float32."""

    half = True
    candidates: int = 64
    steps: bool = False

    def vocabulary(self, b: GraphBuilder, x: str, layer: OutputLayer) -> None:
        rows = _rows(b, layer)
        best = only_best_logits if self.steps else best_logits
        best(b, x, layer, rows, whole_product(b, x, rows, layer), self.candidates)


@dataclass(frozen=True)
class Int4Half(Plain):
    """Float16, with the large weights in 4 bit: MatMulNBits as CUDA's kernels take it.

    Weights of up to `small` elements, embeddings, and the layers of a sentence vector stay in
    float16. Output projections from `coarse_from` elements on are ranked with 4 bit.
    """

    half = True
    small: int = _SMALL_WEIGHT
    coarse_from: int = 2**22
    candidates: int = 64
    steps: bool = False

    def linear(
        self, b: GraphBuilder, x: str, name: str, weight: np.ndarray, bias: np.ndarray | None
    ) -> str:
        if weight.size <= self.small:
            return super().linear(b, x, name, weight, bias)
        return quantized_product(b, x, name, (weight, bias), (4, _CUDA_BLOCK))

    def vocabulary(self, b: GraphBuilder, x: str, layer: OutputLayer) -> None:
        rows = _rows(b, layer)
        if layer.weight.size < self.coarse_from:
            coarse = whole_product(b, x, rows, layer)
        else:
            coarse = quantized_product(
                b, x, layer.name, (layer.weight, layer.bias), (4, _CUDA_BLOCK)
            )
        best = only_best_logits if self.steps else best_logits
        best(b, x, layer, rows, coarse, self.candidates)


def _rows(b: GraphBuilder, layer: OutputLayer) -> str:
    """The output projection's rows; where it is the embedding too it is kept once."""
    rows = f"{layer.rows}.weight"
    return rows if b.has_weight(rows) else b.weight(rows, layer.weight)


class Fine:
    """A precision whose every linear layer is the other's `fine_linear`."""

    def __init__(self, precision: Precision) -> None:
        self.half, self.steps = precision.half, precision.steps
        self.linear = self.fine_linear = precision.fine_linear
        self.embedding = precision.embedding
        self.vocabulary = precision.vocabulary


@dataclass(frozen=True)
class Quantized:
    """MatMulNBits weights, activations rounded to 8 bit inside; embeddings in float16.

    `bits` is 8 or 4; weights of up to `small` elements have 8 bits in any case. Output projections
    from `coarse_from` elements on are made coarse to fine.
    """

    bits: int
    small: int = _SMALL_WEIGHT
    coarse_from: int = 2**22
    candidates: int = 64
    half = False
    steps = False

    def linear(
        self, b: GraphBuilder, x: str, name: str, weight: np.ndarray, bias: np.ndarray | None
    ) -> str:
        if self.bits == 8 or weight.size <= self.small:
            return self._eight_bit(b, x, name, weight, bias)
        return quantized_product(b, x, name, (weight, bias), (self.bits, _FOUR_BIT_BLOCK))

    def fine_linear(
        self, b: GraphBuilder, x: str, name: str, weight: np.ndarray, bias: np.ndarray | None
    ) -> str:
        if weight.size > _SMALL_WEIGHT:
            return self._eight_bit(b, x, name, weight, bias)
        # Float16 that ONNX Runtime turns into float32 once, when it loads the graph.
        half = b.weight(f"{name}.weight", weight.T.astype(np.float16))
        return _product(b, x, b.op("Cast", [half], to=FLOAT), name, bias)

    def embedding(self, b: GraphBuilder, ids: str, name: str, table: np.ndarray) -> str:
        rows = self._half(b, name, table)
        return b.op("Cast", [b.op("Gather", [rows, ids], axis=0)], to=FLOAT)

    def vocabulary(self, b: GraphBuilder, x: str, layer: OutputLayer) -> None:
        if layer.weight.size < self.coarse_from:
            # Small, and the last step to the choice of a token.
            all_logits(b, self._eight_bit(b, x, layer.name, layer.weight, layer.bias), layer)
        else:
            rows = self._half(b, layer.rows, layer.weight)
            best_logits(b, x, layer, rows, coarse_logits(b, x, layer), self.candidates)

    def _eight_bit(
        self, b: GraphBuilder, x: str, name: str, weight: np.ndarray, bias: np.ndarray | None
    ) -> str:
        return quantized_product(b, x, name, (weight, bias), (8, eight_bit_block(weight.shape[1])))

    def _half(self, b: GraphBuilder, name: str, table: np.ndarray) -> str:
        """The table in float16; an embedding that is an output projection too is kept once."""
        rows = f"{name}.weight"
        return rows if b.has_weight(rows) else b.weight(rows, table.astype(np.float16))


def eight_bit_block(columns: int) -> int:
    """Weights along the input dimension that share a scale."""
    large = columns >= _LARGE_FROM and columns % _LARGE_BLOCK == 0
    return _LARGE_BLOCK if large else _SMALL_BLOCK
