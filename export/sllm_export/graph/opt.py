"""A token-level OPT language model in one graph, the baseline.

`input_ids` i64 [batch, tokens], `position_ids` i64 [batch, tokens], `logits_to_keep` i64 scalar, a
mask or lengths, caches -> `logits` f32 [batch, kept, vocab], caches; or the outputs of
`vocabulary.best_logits`. `kept` is `logits_to_keep`, at
most `tokens`: only the last positions go through the output projection, which costs as much as half
of the layers. The output projection is the token embedding.
"""

from __future__ import annotations

import numpy as np

from sllm_export.checkpoint.state_dict import Weights
from sllm_export.config import ModelConfig
from sllm_export.graph import layers
from sllm_export.graph.attention import CachedAttention, Heads, InPlaceAttention
from sllm_export.graph.backbone import add_positions, masked_attention, opt_layer
from sllm_export.graph.builder import INT64, GraphBuilder
from sllm_export.graph.precision import Precision
from sllm_export.graph.vocabulary import OutputLayer


def build_opt(
    config: ModelConfig, weights: Weights, precision: Precision, in_place: bool
) -> GraphBuilder:
    """Builds an OPT model; `weights` are those below `model.decoder.`."""
    backbone, hidden = config.require_backbone(), config.hidden_size
    heads = Heads(backbone.heads, hidden // backbone.heads)
    b = GraphBuilder("opt", config.name, precision.half)
    tokens = 1 if precision.steps else "tokens"
    ids = b.input("input_ids", INT64, ["batch", tokens])
    position_ids = b.input("position_ids", INT64, ["batch", tokens])
    logits_to_keep = None if precision.steps else b.input("logits_to_keep", INT64, [])
    attention: CachedAttention
    attention = InPlaceAttention(b, heads) if in_place else masked_attention(b, heads, "tokens")

    table = weights["embed_tokens.weight"]
    x = precision.embedding(b, ids, "embed_tokens", table)
    if "project_in.weight" in weights:
        x = layers.linear(b, precision, x, "project_in", weights)
    x = add_positions(b, precision, x, position_ids, weights["embed_positions.weight"])
    for layer in range(backbone.layers):
        below = weights.under(f"layers.{layer}.")
        x = opt_layer(b, precision, x, (attention, layer), below, backbone)
    if logits_to_keep is not None:
        x = _last_positions(b, x, logits_to_keep)
    if backbone.norm_first:
        x = layers.layer_norm(b, x, "final_layer_norm", weights)
    if "project_out.weight" in weights:
        x = layers.linear(b, precision, x, "project_out", weights)
    kept = 1 if precision.steps else "kept"
    precision.vocabulary(b, x, OutputLayer("lm_head", table, None, "embed_tokens", kept))
    return b


def _last_positions(b: GraphBuilder, x: str, count: str) -> str:
    """The last `count` positions of x [B, S, D], or all where there are fewer."""
    start = layers.unsqueeze(b, b.op("Neg", [count]), [0])
    end, axis = b.constant([np.iinfo(np.int64).max], np.int64), b.constant([1], np.int64)
    return b.op("Slice", [x, start, end, axis])
