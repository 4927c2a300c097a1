"""Transformer layers of the sentence encoder and decoder."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

from torch import Tensor, nn
from torch.nn import functional as F

from sllm_export.config import SvaeConfig

from .attention import Extend, PackedAttention, SentenceVectorAttention
from .norm import NORM_EPS
from .slots import SlotAttention, SlotEntries

Memory: TypeAlias = Tensor | SlotEntries
"""What the decoder attends to: the sentence vectors [N, 1, D], or the entries of their slots."""


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
        self, x: Tensor, memory: Memory, first: int = 0, extend: Extend | None = None
    ) -> Tensor:
        """x [N, T, D] of the positions from `first` on -> [N, T, D]."""
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

    def forward(self, x: Tensor, *others: Memory) -> Tensor:
        """All layers, one after the other."""
        for layer in self.layers:
            x = layer(x, *others)
        return x if self.norm is None else self.norm(x)
