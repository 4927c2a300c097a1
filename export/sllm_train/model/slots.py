"""A sentence vector in parts: pooled from tokens, attended to one by one."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .attention import split_heads
from .norm import NORM_EPS

INTERLEAVED_BIAS = 4.0


@dataclass
class SlotEntries:
    """The memory entries of N vectors: that of the whole vector, `whole` [N, D], and those of its
    slots, `parts` [N, slots, C] times `linear` [D, C]; `embedding` [slots + 1, D] is added."""

    whole: Tensor
    parts: Tensor
    linear: Tensor
    embedding: Tensor

    def __getitem__(self, rows: Tensor) -> SlotEntries:
        """Those of these vectors."""
        return SlotEntries(self.whole[rows], self.parts[rows], self.linear, self.embedding)

    def projected(self, weight: Tensor, bias: Tensor) -> Tensor:
        """The entries mapped by `weight` [M, D] and `bias` [M] -> [N, slots + 1, M]. The map is
        folded into `linear`: C is smaller than D."""
        whole = F.linear(self.whole, weight)
        parts = F.linear(self.parts, weight @ self.linear)
        return torch.cat([whole[:, None], parts], 1) + F.linear(self.embedding, weight, bias)


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

    def forward(self, x: Tensor, memory: SlotEntries, first: int) -> Tensor:
        """x [N, T, D] of the positions from `first` on -> [N, T, D]."""
        size = self.size
        query = F.linear(x, self.in_proj_weight[:size], self.in_proj_bias[:size])
        packed = memory.projected(self.in_proj_weight[size:], self.in_proj_bias[size:])
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

    def forward(self, sentence: Tensor) -> SlotEntries:
        """The entries of sentence vectors [N, D]."""
        normed = self.norm(sentence.float())
        parts = normed.unflatten(-1, (self.slots, -1))
        return SlotEntries(self.whole(normed), parts, self.linear.weight, self.embedding)
