"""Self-attention with a cache: concatenated caches of standard operators, or one in place."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from sllm_export.graph import layers
from sllm_export.graph.builder import BOOL, INT32, MICROSOFT, Dims, GraphBuilder


@dataclass(frozen=True)
class Heads:
    """Attention heads: their number and the channels of each."""

    count: int
    size: int


class CachedAttention(Protocol):
    """Emits the attention of one layer and the cache inputs and outputs that go with it."""

    def attend(self, b: GraphBuilder, layer: int, qkv: str) -> str:
        """Packed [B, S, 3 D] of the new positions -> [B, S, D]; the cache takes them in."""


def _cache(b: GraphBuilder, layer: int, past: Dims, present: Dims) -> tuple[list[str], list[str]]:
    parts = ("key", "value")
    pasts = [b.input(f"past_key_values.{layer}.{part}", b.float, past) for part in parts]
    presents = [b.output(f"present.{layer}.{part}", b.float, present) for part in parts]
    return pasts, presents


class ConcatAttention:
    """`present = concat(past, new)`, with a mask; standard operators only.

    `mask_bias` is f32, broadcast to [B, N, S, total].
    """

    def __init__(self, heads: Heads, mask_bias: str) -> None:
        self.heads = heads
        self.mask_bias = mask_bias

    def attend(self, b: GraphBuilder, layer: int, qkv: str) -> str:
        shape: Dims = ["batch", self.heads.count, "cached", self.heads.size]
        pasts, presents = _cache(
            b, layer, shape, ["batch", self.heads.count, "total", self.heads.size]
        )
        q, k, v = layers.split_heads(b, qkv, self.heads.count)
        key = b.op("Concat", [pasts[0], k], presents[0], axis=2)
        value = b.op("Concat", [pasts[1], v], presents[1], axis=2)
        return layers.attend(b, q, key, value, self.heads.size, self.mask_bias)


class InPlaceAttention:
    """com.microsoft.GroupQueryAttention: the caller binds one buffer as past and present.

    The operator is causal. With `choose_bidirectional` the graph has one more input,
    `bidirectional` (bool scalar): where it is true, and nothing is cached, each new position sees
    all new positions of its row; the cache is written the same.
    """

    def __init__(self, b: GraphBuilder, heads: Heads, choose_bidirectional: bool = False) -> None:
        if heads.size % 8:
            raise ValueError(f"head size {heads.size} is not a multiple of 8")
        self.heads = heads
        self.lengths = b.input("seqlens_k", INT32, ["batch"])
        self.total = b.input("total_sequence_length", INT32, [])
        self.bidirectional = b.input("bidirectional", BOOL, []) if choose_bidirectional else None
        self._row_bias: str | None = None

    def attend(self, b: GraphBuilder, layer: int, qkv: str) -> str:
        shape: Dims = ["batch", self.heads.count, "capacity", self.heads.size]
        pasts, presents = _cache(b, layer, shape, shape)
        causal = b.ops(
            "GroupQueryAttention",
            [qkv, "", "", *pasts, self.lengths, self.total],
            [None, *presents],
            domain=MICROSOFT,
            num_heads=self.heads.count,
            kv_num_heads=self.heads.count,
        )[0]
        if self.bidirectional is None:
            return causal
        if self._row_bias is None:
            self._row_bias = self._padding_bias(b, qkv)
        then = b.branch(f"bidirectional_{layer}")
        q, k, v = layers.split_heads(then, qkv, self.heads.count)
        mixed = layers.attend(then, q, k, v, self.heads.size, self._row_bias)
        then.output(mixed, b.float, ["batch", "positions", "width"])
        other = b.branch(f"causal_{layer}")
        other.output(other.op("Identity", [causal]), b.float, ["batch", "positions", "width"])
        return b.op("If", [self.bidirectional], then_branch=then.body(), else_branch=other.body())

    def _padding_bias(self, b: GraphBuilder, qkv: str) -> str:
        """Hides what lies past the end of a row shorter than the batch: f32 [B, 1, 1, S]."""
        index = b.op("Cast", [layers.counting(b, layers.dimension(b, qkv, 1))], to=INT32)
        last = layers.unsqueeze(b, self.lengths, [1])
        within = b.op("LessOrEqual", [layers.unsqueeze(b, index, [0]), last])
        return layers.mask_bias(b, layers.unsqueeze(b, within, [1, 2]))


def causal_bias(b: GraphBuilder, ids: str, past_key: str) -> str:
    """Causal mask from the shapes: ids [B, S], past_key [B, N, cached, _] -> f32 [S, total]."""
    cached = layers.dimension(b, past_key, 2)
    count = layers.dimension(b, ids, 1)
    total = b.op("Add", [cached, count])
    query = b.op("Add", [layers.counting(b, count), cached])
    seen = b.op(
        "LessOrEqual",
        [
            layers.unsqueeze(b, layers.counting(b, total), [0]),
            layers.unsqueeze(b, query, [1]),
        ],
    )
    return layers.mask_bias(b, seen)


def fuse_qkv(parts: list[np.ndarray]) -> np.ndarray:
    """Stacks query, key and value projections: weights to [3 D, D], biases to [3 D]."""
    return np.concatenate(parts, axis=0)
