"""The sentence-level backbone's graph, with its sentence cache.

`inputs_embeds` f32 [batch, sentences, hidden], `position_ids` i64 [batch, sentences], a mask or
lengths, caches -> `hidden` f32 [batch, sentences, hidden], `stop_logits` f32 [batch, sentences, 2],
caches. Only OPT's positions and layers are used: no final layer norm, for any size.
"""

from __future__ import annotations

import numpy as np

from sllm_export.checkpoint.expected import POSITION_OFFSET
from sllm_export.checkpoint.state_dict import Weights
from sllm_export.config import BackboneConfig, ModelConfig
from sllm_export.graph import layers
from sllm_export.graph.attention import (
    CachedAttention,
    ConcatAttention,
    Heads,
    InPlaceAttention,
    fuse_qkv,
)
from sllm_export.graph.builder import BOOL, FLOAT, INT64, GraphBuilder
from sllm_export.graph.precision import Precision


def build_backbone(
    config: ModelConfig, weights: Weights, precision: Precision, in_place: bool
) -> GraphBuilder:
    """Builds the backbone of an sllm; `weights` is the whole checkpoint."""
    backbone, hidden = config.require_backbone(), config.hidden_size
    heads = Heads(backbone.heads, hidden // backbone.heads)
    b = GraphBuilder("backbone", config.name, precision.half)
    sentences = 1 if precision.steps else "sentences"
    x = b.input("inputs_embeds", FLOAT, ["batch", sentences, hidden])
    position_ids = b.input("position_ids", INT64, ["batch", sentences])
    attention: CachedAttention
    if in_place:
        both_ways = backbone.prefill_attention == "bidirectional" and not precision.steps
        attention = InPlaceAttention(b, heads, both_ways)
    else:
        attention = masked_attention(b, heads, "sentences")
    b.output("hidden", FLOAT, ["batch", sentences, hidden])
    b.output("stop_logits", FLOAT, ["batch", sentences, 2])

    x = add_positions(b, precision, x, position_ids, weights["llm_pe.weight"])
    for layer in range(backbone.layers):
        below = weights.under(f"llm_layers.{layer}.")
        x = opt_layer(b, precision, x, (attention, layer), below, backbone)
    b.op("Identity", [x], "hidden")
    stop = b.op("MatMul", [x, b.weight("fc.weight", weights["fc.weight"].T)])
    b.op("Add", [stop, b.weight("fc.bias", weights["fc.bias"])], "stop_logits")
    return b


def masked_attention(b: GraphBuilder, heads: Heads, positions: str) -> ConcatAttention:
    """Attention whose mask the caller gives: bool [batch, positions, total], true = may attend."""
    mask = b.input("attention_mask", BOOL, ["batch", positions, "total"])
    return ConcatAttention(heads, layers.mask_bias(b, layers.unsqueeze(b, mask, [1])))


def add_positions(
    b: GraphBuilder, p: Precision, x: str, position_ids: str, table: np.ndarray
) -> str:
    """Adds OPT's learned positions; the table's first rows, before position 0, are cut off."""
    return b.op("Add", [x, p.embedding(b, position_ids, "positions", table[POSITION_OFFSET:])])


def opt_layer(
    b: GraphBuilder,
    p: Precision,
    x: str,
    attention: tuple[CachedAttention, int],
    weights: Weights,
    backbone: BackboneConfig,
) -> str:
    """One OPT decoder layer, norms before or after each half, x [B, S, D] -> [B, S, D]."""
    cached, layer = attention
    projections = [f"self_attn.{part}_proj" for part in "qkv"]
    inner = layers.layer_norm(b, x, "self_attn_layer_norm", weights) if backbone.norm_first else x
    qkv = p.linear(
        b,
        inner,
        f"{weights.prefix}self_attn.qkv_proj",
        fuse_qkv([weights[f"{name}.weight"] for name in projections]),
        fuse_qkv([weights[f"{name}.bias"] for name in projections]),
    )
    out = layers.linear(b, p, cached.attend(b, layer, qkv), "self_attn.out_proj", weights)
    x = b.op("Add", [x, out])
    if not backbone.norm_first:
        x = layers.layer_norm(b, x, "self_attn_layer_norm", weights)
    inner = layers.layer_norm(b, x, "final_layer_norm", weights) if backbone.norm_first else x
    x = b.op("Add", [x, layers.feed_forward(b, p, inner, ("fc1", "fc2"), weights)])
    return x if backbone.norm_first else layers.layer_norm(b, x, "final_layer_norm", weights)
