"""The sentence encoder and decoder."""

from __future__ import annotations

import math
from functools import partial
from typing import Protocol

import torch
from torch import Tensor, nn

from sllm_export.config import ModelConfig

from .context_bias import ContextBias
from .layers import DecoderLayer, EncoderLayer, LayerStack, Memory
from .norm import NORM_EPS
from .slots import SlotMemory, SlotPooling


def sinusoidal_positions(length: int, size: int) -> Tensor:
    """Fixed position table [length, size]: sine on even channels, cosine on odd ones."""
    position = torch.arange(length, dtype=torch.float64)[:, None]
    frequency = torch.exp(torch.arange(0, size, 2, dtype=torch.float64) * (-math.log(1e4) / size))
    table = torch.zeros(length, size, dtype=torch.float64)
    table[:, 0::2] = torch.sin(position * frequency)
    table[:, 1::2] = torch.cos(position * frequency)[:, : size // 2]
    return table.float()


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
        channels = svae.context_bias_size
        self.context_bias = ContextBias(size, config.vocab_size, channels) if channels else None

    def memory_of(self, sentence: Tensor) -> Memory:
        """Sentence vectors [N, D] -> what the layers attend to."""
        return sentence[:, None] if self.memory is None else self.memory(sentence)

    def states(self, ids: Tensor, sentence: Tensor) -> Tensor:
        """ids [N, T] with bos, sentence vectors [N, D] -> states [N, T, D] before the output."""
        return self.decoder(self.embed(ids), self.memory_of(sentence))

    def step(self, ids: Tensor, position: int, memory: Memory, cache: DecoderCache) -> Tensor:
        """ids [N] at `position`, after those that `cache` holds -> states [N, D]."""
        x = self.embed(ids[:, None], position)
        for number, layer in enumerate(self.decoder.layers):
            x = layer(x, memory, position, partial(cache.append, number))
        return (x if self.decoder.norm is None else self.decoder.norm(x))[:, 0]

    def logits(self, states: Tensor, seen: Tensor | None = None) -> Tensor:
        """States [..., D], `seen` [..., V] (1 for tokens of the context, else 0; all 0 if left out)
        -> logits [..., V]."""
        logits: Tensor = self.linear(states)
        if self.context_bias is not None and seen is not None:
            logits = logits + self.context_bias(states, seen)
        return logits

    def forward(self, ids: Tensor, sentence: Tensor, seen: Tensor | None = None) -> Tensor:
        """ids and sentence vectors as above, `seen` [N, V] -> logits [N, T, V]."""
        seen = None if seen is None else seen[:, None]
        return self.logits(self.states(ids, sentence), seen)


class SentenceVae(nn.Module):
    """Sentence encoder and decoder, under the original's names."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.encoder = SentenceEncoder(config)
        self.decoder = SentenceDecoder(config)
