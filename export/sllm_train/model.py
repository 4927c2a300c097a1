"""The SLLM in PyTorch, with the parameter names and layout of the original's checkpoints.

Shapes: N sentences, T tokens of a sentence, D hidden size, B stories, S sentences of a story.
Linear layers run on padded [N, T, D] groups of sentences of similar length; see `batches.py`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sllm_export.config import BackboneConfig, ModelConfig, SvaeConfig

OPT_POSITION_OFFSET = 2
NORM_EPS = 1e-5

INTERLEAVED_BIAS = 4.0


def sinusoidal_positions(length: int, size: int) -> Tensor:
    """Fixed position table [length, size]: sine on even channels, cosine on odd ones."""
    position = torch.arange(length, dtype=torch.float64)[:, None]
    frequency = torch.exp(torch.arange(0, size, 2, dtype=torch.float64) * (-math.log(1e4) / size))
    table = torch.zeros(length, size, dtype=torch.float64)
    table[:, 0::2] = torch.sin(position * frequency)
    table[:, 1::2] = torch.cos(position * frequency)[:, : size // 2]
    return table.float()


def split_heads(x: Tensor, heads: int) -> Tensor:
    """[N, T, D] -> [N, heads, T, D / heads]."""
    return x.unflatten(-1, (heads, -1)).transpose(1, 2)


def attend(query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, causal: bool) -> Tensor:
    """Scaled dot-product attention on [N, heads, T, head size]; `mask` is true on real keys.

    On a CPU the fused kernel is five times slower than plain products for sentences this short.
    """
    if query.device.type != "cpu":
        return F.scaled_dot_product_attention(query, key, value, mask, is_causal=causal)
    scores = (query * query.shape[-1] ** -0.5) @ key.mT
    if causal:
        future = torch.ones(scores.shape[-2:], dtype=torch.bool).triu(1)
        scores = scores.masked_fill(future, float("-inf"))
    if mask is not None:
        scores = scores.masked_fill(~mask, float("-inf"))
    return scores.softmax(-1).to(value.dtype) @ value


Extend = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]
"""Takes the new keys and values of a layer; returns all."""


class PackedAttention(nn.Module):
    """Self-attention with one packed q, k, v weight, as `nn.MultiheadAttention` names it."""

    def __init__(self, size: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.in_proj_weight = nn.Parameter(torch.empty(3 * size, size))
        self.in_proj_bias = nn.Parameter(torch.zeros(3 * size))
        self.out_proj = nn.Linear(size, size)
        nn.init.xavier_uniform_(self.in_proj_weight)

    def forward(
        self, x: Tensor, mask: Tensor | None, causal: bool, extend: Extend | None = None
    ) -> Tensor:
        """x [N, T, D] -> [N, T, D]; `extend` puts cached keys and values in front of the new ones,
        of one position, which sees them all."""
        packed = F.linear(x, self.in_proj_weight, self.in_proj_bias)
        query, key, value = (split_heads(part, self.heads) for part in packed.chunk(3, -1))
        if extend is not None:
            key, value = extend(key, value)
        mixed = attend(query, key, value, mask, causal and extend is None)
        return self.out_proj(mixed.transpose(1, 2).flatten(2))


class SentenceVectorAttention(nn.Module):
    """Cross-attention to one sentence vector: softmax over one key is 1, so only the value counts.

    The query and key rows of the packed weight are kept for the checkpoint's layout; they never
    receive a gradient.
    """

    def __init__(self, size: int) -> None:
        super().__init__()
        self.size = size
        self.in_proj_weight = nn.Parameter(torch.empty(3 * size, size))
        self.in_proj_bias = nn.Parameter(torch.zeros(3 * size))
        self.out_proj = nn.Linear(size, size)
        nn.init.xavier_uniform_(self.in_proj_weight)

    def forward(self, x: Tensor, memory: Tensor, first: int) -> Tensor:
        """x and `first` have no effect; memory [N, 1, D] -> [N, 1, D]."""
        value = slice(2 * self.size, None)
        mixed = F.linear(memory, self.in_proj_weight[value], self.in_proj_bias[value])
        return self.out_proj(mixed)


class SlotAttention(nn.Module):
    """Cross-attention to the slots of a sentence vector.

    `position_bias` [tokens, slots + 1] is learned and added to the scores of all heads. At first
    each token looks at the whole vector and at the slot that it was pooled into.
    """

    def __init__(self, size: int, heads: int, tokens: int, slots: int) -> None:
        super().__init__()
        self.size, self.heads = size, heads
        self.in_proj_weight = nn.Parameter(torch.empty(3 * size, size))
        self.in_proj_bias = nn.Parameter(torch.zeros(3 * size))
        self.out_proj = nn.Linear(size, size)
        # From position t the decoder predicts what the encoder reads at t + 1.
        whole = torch.full((tokens, 1), INTERLEAVED_BIAS)
        bias = torch.cat([whole, interleaved_bias(tokens + 1, slots)[1:]], 1)
        self.position_bias = nn.Parameter(bias)
        nn.init.xavier_uniform_(self.in_proj_weight)

    def forward(self, x: Tensor, memory: Tensor, first: int) -> Tensor:
        """x [N, T, D] of the positions from `first` on, memory [N, slots + 1, D] -> [N, T, D]."""
        size = self.size
        query = F.linear(x, self.in_proj_weight[:size], self.in_proj_bias[:size])
        packed = F.linear(memory, self.in_proj_weight[size:], self.in_proj_bias[size:])
        key, value = (split_heads(part, self.heads) for part in packed.chunk(2, -1))
        query = split_heads(query, self.heads)
        scores = (query * query.shape[-1] ** -0.5) @ key.mT
        scores = scores + self.position_bias[first : first + x.shape[1]]
        mixed = scores.softmax(-1).to(value.dtype) @ value
        return self.out_proj(mixed.transpose(1, 2).flatten(2))


def interleaved_bias(tokens: int, slots: int) -> Tensor:
    """Scores [tokens, slots] that favour slot t modulo `slots` for token t."""
    return (
        INTERLEAVED_BIAS
        * (torch.arange(tokens)[:, None] % slots == torch.arange(slots)[None]).float()
    )


class SlotPooling(nn.Module):
    """Attention pooling: one learned query with a head per slot, each head's result a slot."""

    def __init__(self, size: int, tokens: int, slots: int) -> None:
        super().__init__()
        self.slots = slots
        self.query = nn.Parameter(torch.randn(size) * 0.02)
        self.in_proj_weight = nn.Parameter(torch.empty(2 * size, size))
        self.in_proj_bias = nn.Parameter(torch.zeros(2 * size))
        self.position_bias = nn.Parameter(interleaved_bias(tokens, slots))
        nn.init.xavier_uniform_(self.in_proj_weight)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """States [N, T, D], mask [N, T] true on real tokens -> [N, D], slots concatenated."""
        packed = F.linear(x, self.in_proj_weight, self.in_proj_bias)
        key, value = (part.unflatten(-1, (self.slots, -1)) for part in packed.chunk(2, -1))
        query = self.query.view(self.slots, -1) * key.shape[-1] ** -0.5
        scores = (key * query).sum(-1) + self.position_bias[: x.shape[1]]
        weights = scores.masked_fill(~mask[..., None], float("-inf")).softmax(1)
        return torch.einsum("nts,ntsc->nsc", weights.to(value.dtype), value).flatten(1)


class SlotMemory(nn.Module):
    """A sentence vector as memory entries: itself and each of its slots, normed, mapped to D
    channels, each with its own embedding."""

    def __init__(self, size: int, slots: int) -> None:
        super().__init__()
        self.slots = slots
        self.norm = nn.LayerNorm(size, eps=NORM_EPS)
        self.whole = nn.Linear(size, size, bias=False)
        self.linear = nn.Linear(size // slots, size, bias=False)
        self.embedding = nn.Parameter(torch.randn(slots + 1, size) * 0.02)

    def forward(self, sentence: Tensor) -> Tensor:
        """[N, D] -> [N, slots + 1, D], the entry of the whole vector first."""
        normed = self.norm(sentence.float())
        parts = self.linear(normed.unflatten(-1, (self.slots, -1)))
        return torch.cat([self.whole(normed)[:, None], parts], 1) + self.embedding


class EncoderLayer(nn.Module):
    """Layer as `nn.TransformerEncoderLayer` has it, norms after each half or before:
    [N, T, D] -> [N, T, D]."""

    def __init__(self, size: int, svae: SvaeConfig) -> None:
        super().__init__()
        self.norm_first = svae.norm_first
        self.self_attn = PackedAttention(size, svae.heads)
        self.linear1 = nn.Linear(size, svae.ffn_size)
        self.linear2 = nn.Linear(svae.ffn_size, size)
        self.norm1 = nn.LayerNorm(size, eps=NORM_EPS)
        self.norm2 = nn.LayerNorm(size, eps=NORM_EPS)

    def feed_forward(self, x: Tensor) -> Tensor:
        """Two linear layers with ReLU between."""
        return self.linear2(F.relu(self.linear1(x)))

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        if self.norm_first:
            x = x + self.self_attn(self.norm1(x), mask, causal=False)
            return x + self.feed_forward(self.norm2(x))
        x = self.norm1(x + self.self_attn(x, mask, causal=False))
        return self.norm2(x + self.feed_forward(x))


class DecoderLayer(nn.Module):
    """Layer as `nn.TransformerDecoderLayer` has it, norms after each part or before."""

    def __init__(self, size: int, svae: SvaeConfig, tokens: int) -> None:
        super().__init__()
        self.norm_first = svae.norm_first
        self.self_attn = PackedAttention(size, svae.heads)
        self.multihead_attn: SentenceVectorAttention | SlotAttention = (
            SentenceVectorAttention(size)
            if svae.slots == 1
            else SlotAttention(size, svae.heads, tokens, svae.slots)
        )
        self.linear1 = nn.Linear(size, svae.ffn_size)
        self.linear2 = nn.Linear(svae.ffn_size, size)
        self.norm1 = nn.LayerNorm(size, eps=NORM_EPS)
        self.norm2 = nn.LayerNorm(size, eps=NORM_EPS)
        self.norm3 = nn.LayerNorm(size, eps=NORM_EPS)

    def feed_forward(self, x: Tensor) -> Tensor:
        """Two linear layers with ReLU between."""
        return self.linear2(F.relu(self.linear1(x)))

    def forward(
        self, x: Tensor, memory: Tensor, first: int = 0, extend: Extend | None = None
    ) -> Tensor:
        """x [N, T, D] of the positions from `first` on, memory [N, slots, D] -> [N, T, D]."""
        if self.norm_first:
            x = x + self.self_attn(self.norm1(x), None, causal=True, extend=extend)
            x = x + self.multihead_attn(self.norm2(x), memory, first)
            return x + self.feed_forward(self.norm3(x))
        x = self.norm1(x + self.self_attn(x, None, causal=True, extend=extend))
        x = self.norm2(x + self.multihead_attn(x, memory, first))
        return self.norm3(x + self.feed_forward(x))


class LayerStack(nn.Module):
    """The original keeps its layers under `.layers`; pre-norm layers have a `norm` after them."""

    def __init__(self, layers: Sequence[nn.Module], size: int, norm_first: bool) -> None:
        super().__init__()
        self.layers = nn.ModuleList(layers)
        self.norm = nn.LayerNorm(size, eps=NORM_EPS) if norm_first else None

    def forward(self, x: Tensor, *others: Tensor) -> Tensor:
        """All layers, one after the other."""
        for layer in self.layers:
            x = layer(x, *others)
        return x if self.norm is None else self.norm(x)


class TokenInput(nn.Module):
    """Token embedding, optional projection to the hidden size, fixed positions."""

    positions: Tensor

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        size, embed_size = config.hidden_size, config.require_svae().word_embed_size
        self.embed_token = nn.Embedding(config.vocab_size, embed_size)
        self.project_in = None if embed_size == size else nn.Linear(embed_size, size, bias=False)
        table = sinusoidal_positions(config.max_sentence_tokens, size)
        self.register_buffer("positions", table, persistent=False)

    def embed(self, ids: Tensor, first: int = 0) -> Tensor:
        """[N, T] at the positions from `first` on -> [N, T, D]."""
        x = self.embed_token(ids)
        if self.project_in is not None:
            x = self.project_in(x)
        return x + self.positions[first : first + ids.shape[1]]


class SentenceEncoder(TokenInput):
    """Sentence -> vector: token states, summed or pooled into slots, then normed."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__(config)
        svae, size = config.require_svae(), config.hidden_size
        layers = [EncoderLayer(size, svae) for _ in range(svae.layers)]
        self.encoder = LayerStack(layers, size, svae.norm_first)
        self.la = nn.Linear(size, 1) if svae.learnable_add else None
        self.pool = (
            None if svae.slots == 1 else SlotPooling(size, config.max_sentence_tokens, svae.slots)
        )
        self.lnorm = nn.LayerNorm(size, eps=NORM_EPS)

    def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
        """ids [N, T] with bos, mask [N, T] true on real tokens -> sentence vectors [N, D]."""
        x = self.encoder(self.embed(ids), mask[:, None, None, :])
        if self.pool is not None:
            return self.lnorm(self.pool(x, mask).float())
        x = x * mask[..., None]
        if self.la is not None:
            x = x * self.la(x)
        return self.lnorm(x.float().sum(1))


class DecoderCache(Protocol):
    """Keys and values of the decoder's self-attention."""

    def append(self, layer: int, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
        """All keys and values of the layer, the new ones included."""


class SentenceDecoder(TokenInput):
    """Sentence vector -> sentence, token by token."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__(config)
        svae, size = config.require_svae(), config.hidden_size
        tokens = config.max_sentence_tokens
        layers = [DecoderLayer(size, svae, tokens) for _ in range(svae.decoder_layers)]
        self.decoder = LayerStack(layers, size, svae.norm_first)
        self.memory = None if svae.slots == 1 else SlotMemory(size, svae.slots)
        self.linear = nn.Linear(size, config.vocab_size)

    def memory_of(self, sentence: Tensor) -> Tensor:
        """Sentence vectors [N, D] -> what the layers attend to, [N, slots, D]."""
        return sentence[:, None] if self.memory is None else self.memory(sentence)

    def states(self, ids: Tensor, sentence: Tensor) -> Tensor:
        """ids [N, T] with bos, sentence vectors [N, D] -> states [N, T, D] before the output."""
        return self.decoder(self.embed(ids), self.memory_of(sentence))

    def step(self, ids: Tensor, position: int, memory: Tensor, cache: DecoderCache) -> Tensor:
        """ids [N] at `position`, after those that `cache` holds -> states [N, D]."""
        x = self.embed(ids[:, None], position)
        for number, layer in enumerate(self.decoder.layers):
            x = layer(x, memory, position, partial(cache.append, number))
        return (x if self.decoder.norm is None else self.decoder.norm(x))[:, 0]

    def forward(self, ids: Tensor, sentence: Tensor) -> Tensor:
        """-> logits [N, T, V]."""
        return self.linear(self.states(ids, sentence))


class OptAttention(nn.Module):
    """Self-attention, causal or without order: [B, S, D] -> [B, S, D]."""

    def __init__(self, size: int, heads: int, causal: bool) -> None:
        super().__init__()
        self.heads = heads
        self.causal = causal
        self.q_proj = nn.Linear(size, size)
        self.k_proj = nn.Linear(size, size)
        self.v_proj = nn.Linear(size, size)
        self.out_proj = nn.Linear(size, size)

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        query, key, value = (
            split_heads(projection(x), self.heads)
            for projection in (self.q_proj, self.k_proj, self.v_proj)
        )
        mixed = attend(query, key, value, mask, self.causal)
        return self.out_proj(mixed.transpose(1, 2).flatten(2))


class OptLayer(nn.Module):
    """A layer of the backbone, norms before or after each half."""

    def __init__(self, size: int, backbone: BackboneConfig, dropout: float) -> None:
        super().__init__()
        self.norm_first = backbone.norm_first
        self.dropout = dropout
        causal = backbone.prefill_attention == "causal"
        self.self_attn = OptAttention(size, backbone.heads, causal)
        self.self_attn_layer_norm = nn.LayerNorm(size, eps=NORM_EPS)
        self.fc1 = nn.Linear(size, backbone.ffn_size)
        self.fc2 = nn.Linear(backbone.ffn_size, size)
        self.final_layer_norm = nn.LayerNorm(size, eps=NORM_EPS)

    def drop(self, x: Tensor) -> Tensor:
        """Dropout, in training."""
        return F.dropout(x, self.dropout, self.training)

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        if self.norm_first:
            x = x + self.drop(self.self_attn(self.self_attn_layer_norm(x), mask))
            return x + self.drop(self.fc2(F.relu(self.fc1(self.final_layer_norm(x)))))
        x = self.self_attn_layer_norm(x + self.drop(self.self_attn(x, mask)))
        return self.final_layer_norm(x + self.drop(self.fc2(F.relu(self.fc1(x)))))


class SentenceVae(nn.Module):
    """Sentence encoder and decoder, under the original's names."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.encoder = SentenceEncoder(config)
        self.decoder = SentenceDecoder(config)


class Sllm(nn.Module):
    """Sentence encoder, OPT backbone over sentence vectors, sentence decoder, stop head.

    The backbone is causal or bidirectional, as the configuration's `prefill_attention` says.
    """

    def __init__(self, config: ModelConfig, dropout: float = 0.0) -> None:
        super().__init__()
        size, backbone = config.hidden_size, config.require_backbone()
        self.causal = backbone.prefill_attention == "causal"
        self.svae = SentenceVae(config)
        self.llm_pe = nn.Embedding(backbone.max_positions + OPT_POSITION_OFFSET, size)
        layers = [OptLayer(size, backbone, dropout) for _ in range(backbone.layers)]
        self.llm_layers = nn.ModuleList(layers)
        self.fc = nn.Linear(size, 2)
        nn.init.normal_(self.llm_pe.weight, std=0.02)
        residual_std = 0.02 / math.sqrt(2 * backbone.layers)
        for layer in layers:
            nn.init.normal_(layer.self_attn.out_proj.weight, std=residual_std)
            nn.init.normal_(layer.fc2.weight, std=residual_std)

    def predict(self, sentences: Tensor, real: Tensor | None = None) -> Tensor:
        """Sentence vectors [B, S, D], padded at the end -> hidden [B, S, D].

        `real` [B, S] is false on padding, which only a bidirectional backbone would see.
        """
        x = sentences + self.llm_pe.weight[OPT_POSITION_OFFSET:][: sentences.shape[1]]
        mask = None if self.causal or real is None else real[:, None, None]
        for layer in self.llm_layers:
            x = layer(x, mask)
        return x
