"""A token-level OPT model, the baseline: names and layout of Hugging Face's checkpoints."""

from __future__ import annotations

import math

from torch import Tensor, nn
from torch.nn import functional as F

from sllm_export.config import ModelConfig

from .model import NORM_EPS, OPT_POSITION_OFFSET, OptLayer


class _Decoder(nn.Module):
    """What Hugging Face has under `model.decoder`."""

    def __init__(self, config: ModelConfig, dropout: float) -> None:
        super().__init__()
        size, backbone = config.hidden_size, config.require_backbone()
        embed_size = backbone.word_embed_size or size
        self.embed_tokens = nn.Embedding(config.vocab_size, embed_size)
        self.embed_positions = nn.Embedding(backbone.max_positions + OPT_POSITION_OFFSET, size)
        projected = embed_size != size
        self.project_in = nn.Linear(embed_size, size, bias=False) if projected else None
        self.project_out = nn.Linear(size, embed_size, bias=False) if projected else None
        layers = [OptLayer(size, backbone, dropout) for _ in range(backbone.layers)]
        self.layers = nn.ModuleList(layers)
        self.final_layer_norm = nn.LayerNorm(size, eps=NORM_EPS) if backbone.norm_first else None
        nn.init.normal_(self.embed_tokens.weight, std=0.02)
        nn.init.normal_(self.embed_positions.weight, std=0.02)
        residual_std = 0.02 / math.sqrt(2 * backbone.layers)
        for layer in layers:
            nn.init.normal_(layer.self_attn.out_proj.weight, std=residual_std)
            nn.init.normal_(layer.fc2.weight, std=residual_std)


class _Model(nn.Module):
    """What Hugging Face has under `model`."""

    def __init__(self, config: ModelConfig, dropout: float) -> None:
        super().__init__()
        self.decoder = _Decoder(config, dropout)


class TokenModel(nn.Module):
    """Causal OPT over tokens; the output projection is the token embedding."""

    def __init__(self, config: ModelConfig, dropout: float = 0.0) -> None:
        super().__init__()
        self.model = _Model(config, dropout)

    @property
    def output(self) -> Tensor:
        """The output projection [V, E]."""
        return self.model.decoder.embed_tokens.weight

    def states(self, ids: Tensor) -> Tensor:
        """ids [B, T] from bos on -> states [B, T, E] before the output projection."""
        decoder = self.model.decoder
        x = decoder.embed_tokens(ids)
        if decoder.project_in is not None:
            x = decoder.project_in(x)
        x = x + decoder.embed_positions.weight[OPT_POSITION_OFFSET:][: ids.shape[1]]
        for layer in decoder.layers:
            x = layer(x, None)
        if decoder.final_layer_norm is not None:
            x = decoder.final_layer_norm(x)
        return x if decoder.project_out is None else decoder.project_out(x)

    def forward(self, ids: Tensor) -> Tensor:
        """-> logits [B, T, V]."""
        return F.linear(self.states(ids), self.output)
