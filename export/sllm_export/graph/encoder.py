"""The sentence encoder's graph.

`input_ids` i64 [batch, tokens], `attention_mask` i64 [batch, tokens] (1 = real token) ->
`sentence_embedding` f32 [batch, hidden].
"""

from __future__ import annotations

import numpy as np

from sllm_export.checkpoint.state_dict import Weights
from sllm_export.config import ModelConfig, SvaeConfig
from sllm_export.graph import layers, slots
from sllm_export.graph.builder import BOOL, FLOAT, INT64, GraphBuilder
from sllm_export.graph.precision import Fine, Precision


def build_encoder(config: ModelConfig, weights: Weights, precision: Precision) -> GraphBuilder:
    """Builds the encoder; `weights` are those below `encoder.`."""
    svae, hidden = config.require_svae(), config.hidden_size
    precision = Fine(precision)
    b = GraphBuilder("encoder", config.name, precision.half)
    ids = b.input("input_ids", INT64, ["batch", "tokens"])
    mask = b.input("attention_mask", INT64, ["batch", "tokens"])

    table = b.weight("positions", layers.sinusoid(config.max_sentence_tokens, hidden))
    zero = b.constant([0], np.int64)
    positions = b.op("Slice", [table, zero, layers.dimension(b, ids, 1), zero])
    x = b.op("Add", [layers.token_embedding(b, precision, ids, weights), positions])

    real = b.op("Cast", [mask], to=BOOL)
    bias = layers.mask_bias(b, layers.unsqueeze(b, real, [1, 2]))
    for layer in range(svae.layers):
        x = _layer(b, precision, x, bias, weights.under(f"encoder.layers.{layer}."), svae)
    if svae.norm_first:
        x = layers.layer_norm(b, x, "encoder.norm", weights)
    if svae.slots > 1:
        pooled = slots.pool(b, precision, x, bias, weights.under("pool."), svae.slots)
    else:
        pooled = _sum(b, x, real, weights, svae)
    normed = layers.layer_norm(b, pooled, "lnorm", weights)
    b.op("Identity", [normed], b.output("sentence_embedding", FLOAT, ["batch", hidden]))
    return b


def _sum(b: GraphBuilder, x: str, real: str, weights: Weights, svae: SvaeConfig) -> str:
    """The paper's pooling: states of real tokens, weighed by a learned scalar or not, [B, D]."""
    keep = layers.unsqueeze(b, b.op("Cast", [real], to=b.float), [2])
    x = b.op("Mul", [x, keep])
    if svae.learnable_add:
        weight = b.weight("la.weight", weights["la.weight"].T)
        factor = b.op("MatMul", [x, weight])
        x = b.op("Mul", [x, b.op("Add", [factor, b.weight("la.bias", weights["la.bias"])])])
    return b.op("ReduceSum", [x, b.constant([1], np.int64)], keepdims=0)


def _layer(
    b: GraphBuilder, p: Precision, x: str, bias: str, weights: Weights, svae: SvaeConfig
) -> str:
    """One layer, x [B, T, D] -> [B, T, D]."""
    packed = weights["self_attn.in_proj_weight"]

    def attend(x: str) -> str:
        name = f"{weights.prefix}self_attn.in_proj"
        qkv = p.linear(b, x, name, packed, weights["self_attn.in_proj_bias"])
        q, k, v = layers.split_heads(b, qkv, svae.heads)
        mixed = layers.attend(b, q, k, v, packed.shape[1] // svae.heads, bias)
        return layers.linear(b, p, mixed, "self_attn.out_proj", weights)

    def feed_forward(x: str) -> str:
        return layers.feed_forward(b, p, x, ("linear1", "linear2"), weights)

    x = layers.sublayer(b, x, "norm1", weights, svae.norm_first, attend)
    return layers.sublayer(b, x, "norm2", weights, svae.norm_first, feed_forward)
