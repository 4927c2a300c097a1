"""Pieces that all graphs share. Shapes: B batch, S new positions, T keys, D hidden, N heads."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from sllm_export.checkpoint.state_dict import Weights
from sllm_export.graph.builder import GraphBuilder
from sllm_export.graph.precision import Precision

LAYER_NORM_EPS = 1e-5
MASKED = -1e9
"""Added to the score of a key that may not be seen. Finite: a row without any key stays a number,
and its other scores still vanish in the softmax."""
MASKED_HALF = -3e4
"""The same in float16, with room for the score."""


def layer_norm(b: GraphBuilder, x: str, name: str, weights: Weights) -> str:
    """LayerNorm over the last dimension with the scale and bias below `name`."""
    scale = b.weight(f"{weights.prefix}{name}.weight", weights[f"{name}.weight"])
    bias = b.weight(f"{weights.prefix}{name}.bias", weights[f"{name}.bias"])
    return b.op("LayerNormalization", [x, scale, bias], axis=-1, epsilon=LAYER_NORM_EPS)


def linear(b: GraphBuilder, p: Precision, x: str, name: str, weights: Weights) -> str:
    """The linear layer below `name`, with bias if it has one."""
    weight, bias = weights[f"{name}.weight"], weights.optional(f"{name}.bias")
    return p.linear(b, x, weights.prefix + name, weight, bias)


def feed_forward(
    b: GraphBuilder, p: Precision, x: str, names: tuple[str, str], weights: Weights
) -> str:
    """Two linear layers with ReLU between, x [B, S, D] -> [B, S, D]."""
    inner = b.op("Relu", [linear(b, p, x, names[0], weights)])
    return linear(b, p, inner, names[1], weights)


def split_heads(b: GraphBuilder, qkv: str, heads: int) -> tuple[str, str, str]:
    """Packed [B, S, 3 D] -> query, key, value, each [B, N, S, D / N]."""
    parts = b.ops("Split", [qkv], [None, None, None], axis=-1, num_outputs=3)
    shape = b.constant([0, 0, heads, -1], np.int64)
    q, k, v = (
        b.op("Transpose", [b.op("Reshape", [part, shape])], perm=[0, 2, 1, 3]) for part in parts
    )
    return q, k, v


def attend(
    b: GraphBuilder, q: str, k: str, v: str, head_size: int, mask_bias: str | None = None
) -> str:
    """Softmax attention, q [B, N, S, D/N], k and v [B, N, T, D/N], bias broadcast to [B, N, S, T].

    Returns [B, S, D].
    """
    scaled = b.op("Mul", [q, b.constant(head_size**-0.5, np.float32)])
    scores = b.op("MatMul", [scaled, b.op("Transpose", [k], perm=[0, 1, 3, 2])])
    if mask_bias is not None:
        scores = b.op("Add", [scores, mask_bias])
    mixed = b.op("MatMul", [b.op("Softmax", [scores], axis=-1), v])
    return b.op(
        "Reshape",
        [b.op("Transpose", [mixed], perm=[0, 2, 1, 3]), b.constant([0, 0, -1], np.int64)],
    )


def mask_bias(b: GraphBuilder, allowed: str) -> str:
    """bool mask, true = may attend -> floats of the same shape to add to the scores."""
    hidden = MASKED_HALF if b.half else MASKED
    zero, masked = b.constant(0.0, np.float32), b.constant(hidden, np.float32)
    return b.op("Where", [allowed, zero, masked])


def sublayer(
    b: GraphBuilder,
    x: str,
    norm: str,
    weights: Weights,
    norm_first: bool,
    inner: Callable[[str], str],
) -> str:
    """Adds what `inner` makes of x to x, normed before (`norm_first`) or after the sum."""
    if norm_first:
        return b.op("Add", [x, inner(layer_norm(b, x, norm, weights))])
    return layer_norm(b, b.op("Add", [x, inner(x)]), norm, weights)


def dimension(b: GraphBuilder, x: str, axis: int) -> str:
    """Size of one dimension as i64 [1]."""
    return b.op("Shape", [x], start=axis, end=axis + 1)


def counting(b: GraphBuilder, count: str) -> str:
    """i64 [1] holding n -> i64 [n]: 0, 1, .., n - 1."""
    limit = b.op("Squeeze", [count, b.constant([0], np.int64)])
    return b.op("Range", [b.constant(0, np.int64), limit, b.constant(1, np.int64)])


def unsqueeze(b: GraphBuilder, x: str, axes: list[int]) -> str:
    """Inserts dimensions of size 1."""
    return b.op("Unsqueeze", [x, b.constant(axes, np.int64)])


def sinusoid(positions: int, hidden: int) -> np.ndarray:
    """Fixed positions f32 [positions, hidden]: sin on even, cos on odd channels, base 10000."""
    steps = np.arange(0, hidden, 2, dtype=np.float64)
    angles = np.arange(positions)[:, None] * np.exp(steps * (-np.log(10000.0) / hidden))
    table = np.empty((positions, hidden), dtype=np.float32)
    table[:, 0::2] = np.sin(angles)
    table[:, 1::2] = np.cos(angles[:, : hidden // 2])
    return table


def token_embedding(b: GraphBuilder, p: Precision, ids: str, weights: Weights) -> str:
    """A sentence coder's own embedding [+ project_in], ids [B, T] -> [B, T, D]."""
    table = weights["embed_token.weight"]
    x = p.embedding(b, ids, f"{weights.prefix}embed_token", table)
    if "project_in.weight" in weights:
        x = linear(b, p, x, "project_in", weights)
    return x
