"""Attention over the tokens of a sentence, and to its vector."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F


def split_heads(x: Tensor, heads: int) -> Tensor:
    """[N, T, D] -> [N, heads, T, D / heads]."""
    return x.unflatten(-1, (heads, -1)).transpose(1, 2)


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
        mixed = F.scaled_dot_product_attention(
            query, key, value, mask, is_causal=causal and extend is None
        )
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
