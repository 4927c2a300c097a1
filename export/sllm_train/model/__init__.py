"""The SLLM in PyTorch, with the parameter names and layout of the original's checkpoints.

Shapes: N sentences, T tokens of a sentence, D hidden size, B stories, S sentences of a story.
Linear layers run on padded [N, T, D] groups of sentences of similar length; see `batches.py`.
"""

from __future__ import annotations

import math

from torch import Tensor, nn

from sllm_export.config import ModelConfig

from .backbone import OptLayer
from .coder import DecoderCache, SentenceDecoder, SentenceEncoder, SentenceVae, sinusoidal_positions
from .norm import NORM_EPS

__all__ = [
    "NORM_EPS",
    "OPT_POSITION_OFFSET",
    "DecoderCache",
    "OptLayer",
    "SentenceDecoder",
    "SentenceEncoder",
    "SentenceVae",
    "Sllm",
    "sinusoidal_positions",
]

OPT_POSITION_OFFSET = 2


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
