"""Reference implementation of the models in numpy, written from the description of the original.

It shares no code with the graph builders, folds no weights and has no KV cache, so a graph that
agrees with it is right for a reason. It is slow: use it for a handful of sentences.
Shapes: B batch, S sentences, T tokens, D hidden, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np

from sllm_export.checkpoint.state_dict import Floats, Weights
from sllm_export.config import BackboneConfig, ModelConfig

_EPS = 1e-5


def encode(config: ModelConfig, weights: Weights, ids: np.ndarray, mask: np.ndarray) -> Floats:
    """Sentence vectors [B, D] of ids [B, T]; mask [B, T] is 1 on real tokens."""
    svae = config.require_svae()
    x = _embed_tokens(weights, ids) + _sinusoid(np.arange(ids.shape[1]), config.hidden_size)
    allowed = np.broadcast_to(mask[:, None, :] == 1, (*ids.shape, ids.shape[1]))
    for layer in range(svae.layers):
        w = weights.under(f"encoder.layers.{layer}.")
        attention = partial(
            _torch_attention, w.under("self_attn."), heads=svae.heads, allowed=allowed
        )
        x = _sublayer(w, "norm1", x, svae.norm_first, attention)
        x = _sublayer(w, "norm2", x, svae.norm_first, partial(_ffn, w, ("linear1", "linear2")))
    if svae.norm_first:
        x = _norm(weights, "encoder.norm", x)
    if svae.slots > 1:
        return _norm(weights, "lnorm", _pool(weights.under("pool."), x, mask, svae.slots))
    x = np.where(mask[..., None] == 1, x, np.float32(0))
    if svae.learnable_add:
        x = x * _linear(weights, "la", x)
    return _norm(weights, "lnorm", x.sum(axis=1))


def _pool(w: Weights, x: Floats, mask: np.ndarray, slots: int) -> Floats:
    """Attention pooling of states [B, T, D] into slots, each by a head of one learned query."""
    batch, count, hidden = x.shape
    keys, values = np.split(x @ w["in_proj_weight"].T + w["in_proj_bias"], 2, axis=-1)
    size = hidden // slots
    pooled = np.zeros((batch, slots, size), np.float32)
    for slot in range(slots):
        channels = slice(slot * size, (slot + 1) * size)
        scores = keys[..., channels] @ w["query"][channels] / np.sqrt(np.float32(size))
        scores = scores + w["position_bias"][:count, slot]
        scores = np.where(mask == 1, scores, -np.inf)
        weights = np.exp(scores - scores.max(axis=1, keepdims=True))
        weights /= weights.sum(axis=1, keepdims=True)
        pooled[:, slot] = (weights[..., None] * values[..., channels]).sum(axis=1)
    return pooled.reshape(batch, hidden)


def decode(
    config: ModelConfig,
    weights: Weights,
    ids: np.ndarray,
    sentence: Floats,
    context: np.ndarray | None = None,
) -> Floats:
    """Logits [B, T, V] of whole prefixes ids [B, T], given sentence vectors [B, D] and, for a
    model with a context bias, `context` [B, V], 1 for tokens of the context."""
    svae = config.require_svae()
    count = ids.shape[1]
    x = _embed_tokens(weights, ids) + _sinusoid(np.arange(count), config.hidden_size)
    causal = np.broadcast_to(np.tri(count, dtype=bool), (len(ids), count, count))
    memory = _memory(weights.under("memory."), sentence, svae.slots)
    seen = np.ones((len(ids), count, memory.shape[1]), dtype=bool)

    for layer in range(svae.decoder_layers):
        w = weights.under(f"decoder.layers.{layer}.")
        cross = w.under("multihead_attn.")
        bias = cross["position_bias"][:count] if svae.slots > 1 else None
        parts = {
            "norm1": partial(
                _torch_attention, w.under("self_attn."), heads=svae.heads, allowed=causal
            ),
            "norm2": partial(
                _torch_attention, cross, heads=svae.heads, allowed=seen, memory=memory, bias=bias
            ),
            "norm3": partial(_ffn, w, ("linear1", "linear2")),
        }
        for norm, inner in parts.items():
            x = _sublayer(w, norm, x, svae.norm_first, inner)
    if svae.norm_first:
        x = _norm(weights, "decoder.norm", x)
    logits = _linear(weights, "linear", x)
    if context is None:
        return logits
    query, key = weights["context_bias.query.weight"], weights["context_bias.key"]
    gains = np.einsum("btd,qd,vq->btv", x, query, key, optimize=True)
    gained: Floats = np.where(
        context[:, None] == 1, logits + gains + weights["context_bias.constant"], logits
    )
    return gained


def _memory(w: Weights, sentence: Floats, slots: int) -> Floats:
    """Memory of the decoder's cross-attention: the vector itself [B, 1, D], or one entry for the
    vector and one for each of its slots [B, slots + 1, D]."""
    if slots == 1:
        return sentence[:, None]
    normed = _norm(w, "norm", sentence)
    whole = normed[:, None] @ w["whole.weight"].T
    parts = normed.reshape(len(sentence), slots, -1) @ w["linear.weight"].T
    entries: Floats = np.concatenate([whole, parts], axis=1) + w["embedding"]
    return entries


def _sublayer(
    w: Weights,
    norm: str,
    x: Floats,
    norm_first: bool,
    inner: Callable[[Floats], Floats],
) -> Floats:
    if norm_first:
        return x + inner(_norm(w, norm, x))
    return _norm(w, norm, x + inner(x))


def run_backbone(
    config: ModelConfig, weights: Weights, vectors: Floats, allowed: np.ndarray
) -> tuple[Floats, Floats]:
    """Hidden [B, S, D] and stop logits [B, S, 2] of sentence vectors [B, S, D].

    allowed: bool [B, S, S], true where the sentence of the row may attend to that of the column.
    """
    backbone = config.require_backbone()
    x = vectors + weights["llm_pe.weight"][np.arange(vectors.shape[1]) + 2]
    for layer in range(backbone.layers):
        x = _opt_layer(weights.under(f"llm_layers.{layer}."), backbone, x, allowed)
    return x, _linear(weights, "fc", x)


def run_opt(config: ModelConfig, weights: Weights, ids: np.ndarray) -> Floats:
    """Logits [B, T, V] of an OPT model, causal."""
    backbone = config.require_backbone()
    table = weights["embed_tokens.weight"]
    x = table[ids]
    if "project_in.weight" in weights:
        x = x @ weights["project_in.weight"].T
    count = ids.shape[1]
    x = x + weights["embed_positions.weight"][np.arange(count) + 2]
    causal = np.broadcast_to(np.tri(count, dtype=bool), (len(ids), count, count))
    for layer in range(backbone.layers):
        x = _opt_layer(weights.under(f"layers.{layer}."), backbone, x, causal)
    if backbone.norm_first:
        x = _norm(weights, "final_layer_norm", x)
    if "project_out.weight" in weights:
        x = x @ weights["project_out.weight"].T
    logits: Floats = x @ table.T
    return logits


def sentence_mask(config: ModelConfig, prompt: int, total: int) -> np.ndarray:
    """Attention mask bool [total, total]: the prompt as `prefill_attention` says, then causal."""
    allowed = np.tri(total, dtype=bool)
    if config.require_backbone().prefill_attention == "bidirectional":
        allowed[:prompt, :prompt] = True
    return allowed


def _opt_layer(w: Weights, backbone: BackboneConfig, x: Floats, allowed: np.ndarray) -> Floats:
    inner = _norm(w, "self_attn_layer_norm", x) if backbone.norm_first else x
    q, k, v = (_linear(w, f"self_attn.{part}_proj", inner) for part in "qkv")
    x = x + _linear(w, "self_attn.out_proj", _attention(q, k, v, backbone.heads, allowed))
    if not backbone.norm_first:
        x = _norm(w, "self_attn_layer_norm", x)
    inner = _norm(w, "final_layer_norm", x) if backbone.norm_first else x
    x = x + _ffn(w, ("fc1", "fc2"), inner)
    return x if backbone.norm_first else _norm(w, "final_layer_norm", x)


def _embed_tokens(weights: Weights, ids: np.ndarray) -> Floats:
    x: Floats = weights["embed_token.weight"][ids]
    if "project_in.weight" in weights:
        x = x @ weights["project_in.weight"].T
    return x


def _sinusoid(positions: np.ndarray, hidden: int) -> Floats:
    channel = np.arange(hidden)
    angle = positions[:, None] / 10000.0 ** ((channel - channel % 2) / hidden)
    return np.where(channel % 2 == 0, np.sin(angle), np.cos(angle)).astype(np.float32)


def _linear(w: Weights, name: str, x: Floats) -> Floats:
    return x @ w[f"{name}.weight"].T + w[f"{name}.bias"]


def _norm(w: Weights, name: str, x: Floats) -> Floats:
    centred: Floats = x - x.mean(axis=-1, keepdims=True)
    variance = (centred**2).mean(axis=-1, keepdims=True)
    normed: Floats = centred / np.sqrt(variance + np.float32(_EPS))
    return normed * w[f"{name}.weight"] + w[f"{name}.bias"]


def _ffn(w: Weights, names: tuple[str, str], x: Floats) -> Floats:
    return _linear(w, names[1], np.maximum(_linear(w, names[0], x), 0))


def _torch_attention(
    w: Weights,
    x: Floats,
    heads: int,
    allowed: np.ndarray,
    memory: Floats | None = None,
    bias: Floats | None = None,
) -> Floats:
    """torch.nn.MultiheadAttention: queries from x, keys and values from `memory` or x itself;
    `bias` [S, T] is added to the scores."""
    memory = x if memory is None else memory
    weights = np.split(w["in_proj_weight"], 3)
    biases = np.split(w["in_proj_bias"], 3)
    sources = (x, memory, memory)
    q, k, v = (s @ m.T + c for s, m, c in zip(sources, weights, biases, strict=True))
    return _linear(w, "out_proj", _attention(q, k, v, heads, allowed, bias))


def _attention(
    q: Floats,
    k: Floats,
    v: Floats,
    heads: int,
    allowed: np.ndarray,
    bias: Floats | None = None,
) -> Floats:
    """q [B, S, D], k and v [B, T, D], allowed bool [B, S, T], bias [S, T] -> [B, S, D]."""
    size = q.shape[-1] // heads
    q, k, v = (a.reshape(*a.shape[:2], heads, size).transpose(0, 2, 1, 3) for a in (q, k, v))
    scores = (q * np.float32(size**-0.5)) @ k.transpose(0, 1, 3, 2)
    if bias is not None:
        scores = scores + bias
    scores = np.where(allowed[:, None], scores, np.float32(-1e30))
    exponent = np.exp(scores - scores.max(axis=-1, keepdims=True))
    mixed: Floats = (exponent / exponent.sum(axis=-1, keepdims=True)) @ v
    return mixed.transpose(0, 2, 1, 3).reshape(len(q), -1, heads * size)
