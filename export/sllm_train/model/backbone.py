"""The OPT layers over sentence vectors."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from sllm_export.config import BackboneConfig

from .attention import split_heads
from .norm import NORM_EPS


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
        mixed = F.scaled_dot_product_attention(query, key, value, mask, is_causal=self.causal)
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
