"""The model in PyTorch, as plainly as its description: what the golden numbers come from.

Real cross-attention, no cache, no folding; names of the parameters are those of the original's
checkpoints. Needs PyTorch, so only `make_golden.py` imports it.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

from sllm_export.config import BackboneConfig, ModelConfig


def sinusoid(count: int, hidden: int) -> Tensor:
    """Fixed positions [count, hidden]: sin on even, cos on odd channels."""
    position = torch.arange(count, dtype=torch.float32)[:, None]
    rate = torch.exp(torch.arange(0, hidden, 2).float() * (-math.log(10000.0) / hidden))
    table = torch.zeros(count, hidden)
    table[:, 0::2] = torch.sin(position * rate)
    table[:, 1::2] = torch.cos(position * rate)
    return table


class Coder(nn.Module):
    """What encoder and decoder share: token embedding [+ project_in] + positions."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        svae, hidden = config.require_svae(), config.hidden_size
        self.embed_token = nn.Embedding(config.vocab_size, svae.word_embed_size)
        self.project_in = None
        if svae.word_embed_size != hidden:
            self.project_in = nn.Linear(svae.word_embed_size, hidden, bias=False)
        self.hidden = hidden
        self.layer: dict[str, Any] = {
            "d_model": hidden,
            "nhead": svae.heads,
            "dim_feedforward": svae.ffn_size,
            "dropout": 0.0,
            "batch_first": True,
            "norm_first": svae.norm_first,
        }
        self.norm = nn.LayerNorm(hidden) if svae.norm_first else None

    def embed(self, ids: Tensor) -> Tensor:
        """ids [B, T] -> [B, T, D]."""
        x = self.embed_token(ids)
        if self.project_in is not None:
            x = self.project_in(x)
        return x + sinusoid(ids.shape[1], self.hidden)


class Encoder(Coder):
    """ids [B, T], mask [B, T] -> sentence vectors [B, D]."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__(config)
        svae = config.require_svae()
        layer = nn.TransformerEncoderLayer(**self.layer)
        self.encoder = nn.TransformerEncoder(layer, svae.layers, self.norm, False)
        self.norm = None
        self.pool = Pool(config) if svae.slots > 1 else None
        self.la = nn.Linear(self.hidden, 1) if svae.learnable_add else None
        self.lnorm = nn.LayerNorm(self.hidden)

    def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
        x = self.encoder(self.embed(ids), src_key_padding_mask=mask == 0)
        if self.pool is not None:
            return self.lnorm(self.pool(x, mask))
        x = x.masked_fill((mask == 0)[..., None], 0.0)
        if self.la is not None:
            x = x * self.la(x)
        return self.lnorm(x.sum(dim=1))


class Pool(nn.Module):
    """Attention of one learned query to states [B, T, D]; its heads are the slots."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        hidden, self.slots = config.hidden_size, config.require_svae().slots
        self.query = nn.Parameter(torch.randn(hidden) * 0.5)
        self.in_proj_weight = nn.Parameter(torch.randn(2 * hidden, hidden) * hidden**-0.5)
        self.in_proj_bias = nn.Parameter(torch.randn(2 * hidden) * 0.1)
        self.position_bias = nn.Parameter(torch.randn(config.max_sentence_tokens, self.slots))

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        batch, count, hidden = x.shape
        projected = nn.functional.linear(x, self.in_proj_weight, self.in_proj_bias)
        key, value = (
            part.reshape(batch, count, self.slots, -1).transpose(1, 2)
            for part in projected.chunk(2, dim=-1)
        )
        query = self.query.view(1, self.slots, 1, -1).expand(batch, -1, -1, -1)
        bias = self.position_bias[:count].T[None, :, None]
        bias = bias.masked_fill((mask == 0)[:, None, None], -math.inf)
        pooled = nn.functional.scaled_dot_product_attention(query, key, value, bias)
        return pooled.reshape(batch, hidden)


class Memory(nn.Module):
    """Sentence vectors [B, D] -> [B, slots + 1, D]: the whole and each slot."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        hidden, self.slots = config.hidden_size, config.require_svae().slots
        self.norm = nn.LayerNorm(hidden)
        self.whole = nn.Linear(hidden, hidden, bias=False)
        self.linear = nn.Linear(hidden // self.slots, hidden, bias=False)
        self.embedding = nn.Parameter(torch.randn(self.slots + 1, hidden) * 0.1)

    def forward(self, sentence: Tensor) -> Tensor:
        normed = self.norm(sentence)
        entries = [self.whole(normed), *map(self.linear, normed.chunk(self.slots, dim=-1))]
        return torch.stack(entries, dim=1) + self.embedding


class ContextBias(nn.Module):
    """States [B, T, D] -> what each token gains if the context has it, [B, T, V]."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        size = config.require_svae().context_bias_size
        self.query = nn.Linear(config.hidden_size, size, bias=False)
        self.key = nn.Parameter(torch.randn(config.vocab_size, size) * 0.3)
        self.constant = nn.Parameter(torch.randn(config.vocab_size) * 0.3)

    def forward(self, x: Tensor) -> Tensor:
        return self.query(x) @ self.key.T + self.constant


class Decoder(Coder):
    """ids [B, T], sentence vectors [B, D], `seen` [B, V], true for tokens of the context -> logits
    [B, T, V]."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__(config)
        svae = config.require_svae()
        layer = nn.TransformerDecoderLayer(**self.layer)
        self.decoder = nn.TransformerDecoder(layer, svae.decoder_layers, self.norm)
        self.norm = None
        self.memory = None
        if svae.slots > 1:
            self.memory = Memory(config)
            shape = (config.max_sentence_tokens, svae.slots + 1)
            for one in self.decoder.layers:
                one.multihead_attn.position_bias = nn.Parameter(torch.randn(shape))
        self.linear = nn.Linear(self.hidden, config.vocab_size)
        self.context_bias = ContextBias(config) if svae.context_bias_size else None

    def forward(self, ids: Tensor, sentence: Tensor, seen: Tensor | None = None) -> Tensor:
        x = self.states(ids, sentence)
        logits = self.linear(x)
        if self.context_bias is None or seen is None:
            return logits
        return torch.where(seen[:, None].bool(), logits + self.context_bias(x), logits)

    def states(self, ids: Tensor, sentence: Tensor) -> Tensor:
        count = ids.shape[1]
        mask = nn.Transformer.generate_square_subsequent_mask(count)
        x = self.embed(ids)
        if self.memory is None:
            return self.decoder(x, sentence[:, None], tgt_mask=mask)
        memory = self.memory(sentence)
        for layer in self.decoder.layers:
            bias = layer.multihead_attn.position_bias[:count]
            x = layer(x, memory, tgt_mask=mask, memory_mask=bias)
        return x if self.decoder.norm is None else self.decoder.norm(x)


class SelfAttention(nn.Module):
    """OPT's attention; the query is scaled by head_size ** -0.5 after its projection."""

    def __init__(self, hidden: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.q_proj, self.k_proj, self.v_proj, self.out_proj = (
            nn.Linear(hidden, hidden) for _ in range(4)
        )

    def forward(self, x: Tensor, allowed: Tensor) -> Tensor:
        batch, count, hidden = x.shape
        size = hidden // self.heads
        q, k, v = (
            y.view(batch, count, self.heads, size).transpose(1, 2)
            for y in (self.q_proj(x) * size**-0.5, self.k_proj(x), self.v_proj(x))
        )
        scores = (q @ k.transpose(2, 3)).masked_fill(~allowed, -math.inf)
        mixed = scores.softmax(dim=-1) @ v
        return self.out_proj(mixed.transpose(1, 2).reshape(batch, count, hidden))


class OptLayer(nn.Module):
    """An OPT decoder layer, norms before or after each half."""

    def __init__(self, hidden: int, backbone: BackboneConfig) -> None:
        super().__init__()
        self.norm_first = backbone.norm_first
        self.self_attn = SelfAttention(hidden, backbone.heads)
        self.self_attn_layer_norm = nn.LayerNorm(hidden)
        self.fc1 = nn.Linear(hidden, backbone.ffn_size)
        self.fc2 = nn.Linear(backbone.ffn_size, hidden)
        self.final_layer_norm = nn.LayerNorm(hidden)

    def forward(self, x: Tensor, allowed: Tensor) -> Tensor:
        if self.norm_first:
            x = x + self.self_attn(self.self_attn_layer_norm(x), allowed)
            return x + self.fc2(self.fc1(self.final_layer_norm(x)).relu())
        x = self.self_attn_layer_norm(x + self.self_attn(x, allowed))
        return self.final_layer_norm(x + self.fc2(self.fc1(x).relu()))


class Svae(nn.Module):
    """Sentence encoder and decoder."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.encoder = Encoder(config)
        self.decoder = Decoder(config)


class Sllm(nn.Module):
    """The sentence-level model; its state dict is a checkpoint of the original."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        backbone = config.require_backbone()
        self.config = config
        self.svae = Svae(config)
        self.llm_pe = nn.Embedding(backbone.max_positions + 2, config.hidden_size)
        self.llm_layers = nn.ModuleList(
            OptLayer(config.hidden_size, backbone) for _ in range(backbone.layers)
        )
        self.fc = nn.Linear(config.hidden_size, 2)

    def run_backbone(self, vectors: Tensor, prompt: int) -> tuple[Tensor, Tensor]:
        """Vectors [1, S, D], the first `prompt` of them prefilled -> hidden, stop logits.

        A cache keeps what a sentence's hidden states were when it was run, which is what a mask
        gives that lets the prompt see itself as configured and everything later see the past.
        """
        count = vectors.shape[1]
        allowed = torch.ones(count, count, dtype=torch.bool).tril()
        if self.config.require_backbone().prefill_attention == "bidirectional":
            allowed[:prompt, :prompt] = True
        x = vectors + self.llm_pe(torch.arange(count) + 2)
        for layer in self.llm_layers:
            x = layer(x, allowed)
        return x, self.fc(x)


class OptDecoder(nn.Module):
    """The part of OPT below `model.decoder.`."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        backbone, hidden = config.require_backbone(), config.hidden_size
        embed = backbone.word_embed_size or hidden
        self.embed_tokens = nn.Embedding(config.vocab_size, embed)
        self.embed_positions = nn.Embedding(backbone.max_positions + 2, hidden)
        self.project_in = self.project_out = None
        if embed != hidden:
            self.project_in = nn.Linear(embed, hidden, bias=False)
            self.project_out = nn.Linear(hidden, embed, bias=False)
        self.layers = nn.ModuleList(OptLayer(hidden, backbone) for _ in range(backbone.layers))
        self.final_layer_norm = nn.LayerNorm(hidden) if backbone.norm_first else None


class OptModel(nn.Module):
    """The part of OPT below `model.`."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.decoder = OptDecoder(config)


class Opt(nn.Module):
    """Token-level OPT with its tied output projection: ids [B, T] -> logits [B, T, V]."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.model = OptModel(config)

    def forward(self, ids: Tensor) -> Tensor:
        decoder = self.model.decoder
        count = ids.shape[1]
        x = decoder.embed_tokens(ids)
        if decoder.project_in is not None:
            x = decoder.project_in(x)
        x = x + decoder.embed_positions(torch.arange(count) + 2)
        allowed = torch.ones(count, count, dtype=torch.bool).tril()
        for layer in decoder.layers:
            x = layer(x, allowed)
        if decoder.final_layer_norm is not None:
            x = decoder.final_layer_norm(x)
        if decoder.project_out is not None:
            x = decoder.project_out(x)
        return x @ decoder.embed_tokens.weight.T
