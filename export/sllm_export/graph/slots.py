"""Sentence vectors of several slots: the encoder's pooling, the decoder's attention to them.

What does not depend on the text is folded: the pooling's query with its keys, and the memory
entries' own projection with the keys and values of each layer.
Shapes: B batch, T tokens, K slots, C = D / K channels of a slot, N heads, S new positions.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sllm_export.checkpoint.state_dict import Weights
from sllm_export.graph import layers
from sllm_export.graph.builder import GraphBuilder
from sllm_export.graph.precision import Precision


def pool(
    b: GraphBuilder, p: Precision, x: str, mask_bias: str, weights: Weights, slots: int
) -> str:
    """States [B, T, D], mask bias [B, 1, 1, T] -> slots, concatenated, [B, D]."""
    packed, bias = weights["in_proj_weight"], weights["in_proj_bias"]
    hidden = packed.shape[1]
    query, query_bias = fold_query(weights, slots)
    scores = p.fine_linear(b, x, f"{weights.prefix}folded", query, query_bias)
    table = b.weight(f"{weights.prefix}position_bias", weights["position_bias"])
    zero = b.constant([0], np.int64)
    positions = b.op("Slice", [table, zero, layers.dimension(b, x, 1), zero])
    scores = b.op("Transpose", [b.op("Add", [scores, positions])], perm=[0, 2, 1])
    scores = b.op("Add", [layers.unsqueeze(b, scores, [2]), mask_bias])
    value = p.linear(b, x, f"{weights.prefix}value", packed[hidden:], bias[hidden:])
    value = b.op("Reshape", [value, b.constant([0, 0, slots, -1], np.int64)])
    value = b.op("Transpose", [value], perm=[0, 2, 1, 3])
    mixed = b.op("MatMul", [b.op("Softmax", [scores], axis=-1), value])
    return b.op("Reshape", [mixed, b.constant([0, -1], np.int64)])


def fold_query(weights: Weights, slots: int) -> tuple[np.ndarray, np.ndarray]:
    """The linear map [K, D], bias [K], from a state to its pooling score in each slot."""
    hidden = weights["query"].shape[0]
    size = hidden // slots
    query = weights["query"].astype(np.float64).reshape(slots, 1, size) * size**-0.5
    keys = weights["in_proj_weight"][:hidden].astype(np.float64).reshape(slots, size, hidden)
    bias = weights["in_proj_bias"][:hidden].astype(np.float64).reshape(slots, size, 1)
    return (query @ keys)[:, 0].astype(np.float32), (query @ bias)[:, 0, 0].astype(np.float32)


@dataclass(frozen=True)
class SlotMemory:
    """A sentence vector, normed, as a whole [B, 1, D] and as its slots [B, K, C]."""

    whole: str
    parts: str
    weights: Weights


def memory(b: GraphBuilder, sentence: str, weights: Weights, slots: int) -> SlotMemory:
    """The memory of sentence vectors [B, D]; `weights` are those below `memory.`."""
    normed = layers.layer_norm(b, sentence, "norm", weights)
    parts = b.op("Reshape", [normed, b.constant([0, slots, -1], np.int64)])
    return SlotMemory(layers.unsqueeze(b, normed, [1]), parts, weights)


@dataclass(frozen=True)
class FoldedMemory:
    """The linear maps to keys and values of a layer: from the whole vector [2 D, D], from a slot
    [2 D, C], and the bias of each entry [K + 1, 2 D]."""

    whole: np.ndarray
    part: np.ndarray
    bias: np.ndarray


def fold_memory(attention: Weights, memory: Weights) -> FoldedMemory:
    """Folds the entries' own projections with the keys and values of a layer."""
    packed = attention["in_proj_weight"]
    hidden = packed.shape[1]
    key_value = packed[hidden:].astype(np.float64)
    bias = memory["embedding"] @ key_value.T + attention["in_proj_bias"][hidden:]
    folded = (key_value @ memory["whole.weight"], key_value @ memory["linear.weight"], bias)
    return FoldedMemory(*(array.astype(np.float32) for array in folded))


def attend(
    b: GraphBuilder,
    p: Precision,
    x: str,
    memory: SlotMemory,
    position_ids: str,
    attention: Weights,
    heads: int,
) -> str:
    """x [B, S, D], positions [B, S] -> [B, S, D]."""
    packed = attention["in_proj_weight"]
    hidden = packed.shape[1]
    query = p.linear(
        b, x, f"{attention.prefix}query", packed[:hidden], attention["in_proj_bias"][:hidden]
    )
    folded = fold_memory(attention, memory.weights)
    name = f"{attention.prefix}folded"
    whole = p.fine_linear(b, memory.whole, f"{name}_whole", folded.whole, None)
    parts = p.fine_linear(b, memory.parts, f"{name}_part", folded.part, None)
    key_value = b.op("Concat", [whole, parts], axis=1)
    key_value = b.op("Add", [key_value, b.weight(f"{name}.bias", folded.bias)])
    key, value = b.ops("Split", [key_value], [None, None], axis=-1, num_outputs=2)
    q, k, v = (_split_heads(b, part, heads) for part in (query, key, value))
    table = b.weight(f"{attention.prefix}position_bias", attention["position_bias"])
    scores_bias = layers.unsqueeze(b, b.op("Gather", [table, position_ids], axis=0), [1])
    mixed = layers.attend(b, q, k, v, hidden // heads, scores_bias)
    return layers.linear(b, p, mixed, "out_proj", attention)


def _split_heads(b: GraphBuilder, x: str, heads: int) -> str:
    """[B, S, D] -> [B, N, S, D / N]."""
    shape = b.constant([0, 0, heads, -1], np.int64)
    return b.op("Transpose", [b.op("Reshape", [x, shape])], perm=[0, 2, 1, 3])
