"""The sentence decoder's graph, with its token cache.

`input_ids` i64 [batch, tokens], `position_ids` i64 [batch, tokens], `sentence_embedding` f32
[batch, hidden], with a context bias also `context_tokens` f32 [batch, vocab] (1 for tokens of the
context, else 0), caches -> `logits` f32 [batch, tokens, vocab], caches; or the outputs of
`vocabulary.best_logits`.

With one slot, attention to the sentence vector has one key, so its softmax is 1 and it is the
linear map `W_o (W_v s + b_v) + b_o`, whatever the query: each layer holds that D x D map.
"""

from __future__ import annotations

import numpy as np

from sllm_export.checkpoint.expected import CONTEXT_BIAS
from sllm_export.checkpoint.state_dict import Weights
from sllm_export.config import ModelConfig
from sllm_export.graph import layers, slots
from sllm_export.graph.attention import (
    CachedAttention,
    ConcatAttention,
    Heads,
    InPlaceAttention,
    causal_bias,
)
from sllm_export.graph.builder import FLOAT, INT64, GraphBuilder
from sllm_export.graph.precision import Precision
from sllm_export.graph.vocabulary import OutputLayer


def fold_cross_attention(weights: Weights) -> tuple[np.ndarray, np.ndarray]:
    """The map [D, D] and bias [D] that a layer's attention to one vector amounts to."""
    packed, packed_bias = (
        weights["multihead_attn.in_proj_weight"],
        weights["multihead_attn.in_proj_bias"],
    )
    hidden = packed.shape[1]
    out = weights["multihead_attn.out_proj.weight"].astype(np.float64)
    value = packed[2 * hidden :].astype(np.float64)
    bias = out @ packed_bias[2 * hidden :] + weights["multihead_attn.out_proj.bias"]
    return (out @ value).astype(np.float32), bias.astype(np.float32)


def build_decoder(
    config: ModelConfig, weights: Weights, precision: Precision, in_place: bool
) -> GraphBuilder:
    """Builds the decoder; `weights` are those below `decoder.`."""
    svae, hidden = config.require_svae(), config.hidden_size
    heads = Heads(svae.heads, hidden // svae.heads)
    b = GraphBuilder("decoder", config.name, precision.half)
    tokens = 1 if precision.steps else "tokens"
    ids = b.input("input_ids", INT64, ["batch", tokens])
    position_ids = b.input("position_ids", INT64, ["batch", tokens])
    sentence = b.input("sentence_embedding", FLOAT, ["batch", hidden])
    seen = None
    if svae.context_bias_size:
        seen = b.input("context_tokens", FLOAT, ["batch", config.vocab_size])
    attention: CachedAttention
    if in_place:
        attention = InPlaceAttention(b, heads)
    else:
        attention = ConcatAttention(heads, causal_bias(b, ids, "past_key_values.0.key"))

    table = b.weight("positions", layers.sinusoid(config.max_sentence_tokens, hidden))
    positions = b.op("Gather", [table, position_ids], axis=0)
    x = b.op("Add", [layers.token_embedding(b, precision, ids, weights), positions])
    if svae.slots > 1:
        memory = slots.memory(b, sentence, weights.under("memory."), svae.slots)

    for layer in range(svae.decoder_layers):
        below = weights.under(f"decoder.layers.{layer}.")

        def self_attend(x: str, layer: int = layer, below: Weights = below) -> str:
            packed, bias = below["self_attn.in_proj_weight"], below["self_attn.in_proj_bias"]
            qkv = precision.linear(b, x, f"{below.prefix}self_attn.in_proj", packed, bias)
            mixed = attention.attend(b, layer, qkv)
            return layers.linear(b, precision, mixed, "self_attn.out_proj", below)

        def cross_attend(x: str, below: Weights = below) -> str:
            cross = below.under("multihead_attn.")
            if svae.slots > 1:
                return slots.attend(b, precision, x, memory, position_ids, cross, svae.heads)
            name = f"{cross.prefix}folded"
            constant = precision.fine_linear(b, sentence, name, *fold_cross_attention(below))
            return layers.unsqueeze(b, constant, [1])

        def feed_forward(x: str, below: Weights = below) -> str:
            return layers.feed_forward(b, precision, x, ("linear1", "linear2"), below)

        for norm, inner in (
            ("norm1", self_attend),
            ("norm2", cross_attend),
            ("norm3", feed_forward),
        ):
            x = layers.sublayer(b, x, norm, below, svae.norm_first, inner)
    if svae.norm_first:
        x = layers.layer_norm(b, x, "decoder.norm", weights)
    name = f"{weights.prefix}linear"
    weight, bias = weights["linear.weight"], weights.optional("linear.bias")
    added = None if seen is None else context_bias(b, precision, x, seen, weights)
    precision.vocabulary(b, x, OutputLayer(name, weight, bias, name, tokens, added))
    return b


def context_bias(b: GraphBuilder, p: Precision, x: str, seen: str, weights: Weights) -> str:
    """What tokens of the context gain: states x [B, S, D], `seen` [B, V] -> [B, S, V]."""
    below = weights.under(CONTEXT_BIAS)
    query = layers.linear(b, p, x, "query", below)
    scores = p.linear(b, query, f"{below.prefix}key", below["key"], below["constant"])
    return b.op("Mul", [scores, layers.unsqueeze(b, seen, [1])])
