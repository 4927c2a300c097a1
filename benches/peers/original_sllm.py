"""The SLLM as the original runs it: PyTorch in fp32, with the original's modules, names and caches.

| part | what the original computes for a new sentence |
|---|---|
| sentence decoder | all tokens so far, for each new token: it has no KV cache |
| sentence encoder | the whole sentence, [t1..tn, eos] |
| backbone | one step with a KV cache |

Shapes: S sentences, T tokens of a sentence, D hidden size, V vocabulary.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from transformers import DynamicCache, OPTConfig
from transformers.models.opt.modeling_opt import OPTDecoderLayer

from peers.random_model import opt_fields
from sllm_export.config import ModelConfig
from sllm_train.model import OPT_POSITION_OFFSET, sinusoidal_positions


class _TokenInput(nn.Module):
    """Token embedding, optional projection, fixed positions."""

    positions: Tensor

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        size, embed = config.hidden_size, config.require_svae().word_embed_size
        self.embed_token = nn.Embedding(config.vocab_size, embed)
        self.project_in = None if embed == size else nn.Linear(embed, size, bias=False)
        table = sinusoidal_positions(config.max_sentence_tokens, size)
        self.register_buffer("positions", table, persistent=False)

    def embed(self, ids: Tensor) -> Tensor:
        """[S, T] -> [S, T, D]."""
        x = self.embed_token(ids)
        if self.project_in is not None:
            x = self.project_in(x)
        return x + self.positions[: ids.shape[1]]


class SentenceEncoder(_TokenInput):
    """Sentences -> vectors."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__(config)
        svae, size = config.require_svae(), config.hidden_size
        layer = nn.TransformerEncoderLayer(size, svae.heads, svae.ffn_size, batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, svae.layers)
        self.la = nn.Linear(size, 1) if svae.learnable_add else None
        self.lnorm = nn.LayerNorm(size)

    def forward(self, ids: Tensor, real: Tensor | None) -> Tensor:
        """ids [S, T], real [S, T] true on tokens -> [S, 1, D].

        Without `real` the original sets all states to 0, because it assigns 0 through an index
        that is None. A generated sentence costs an encoder pass, and its vector is always the same.
        """
        padding = None if real is None else ~real
        states = self.encoder(self.embed(ids), src_key_padding_mask=padding)
        states[padding] = 0
        if self.la is not None:
            states = states * self.la(states)
        return self.lnorm(states.sum(-2, keepdim=True))


class SentenceDecoder(_TokenInput):
    """A vector -> a sentence."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__(config)
        svae, size = config.require_svae(), config.hidden_size
        layer = nn.TransformerDecoderLayer(size, svae.heads, svae.ffn_size, batch_first=True)
        self.decoder = nn.TransformerDecoder(layer, svae.layers)
        self.linear = nn.Linear(size, config.vocab_size)
        self._bos, self._eos = config.tokens.bos, config.tokens.eos

    def forward(self, ids: Tensor, sentence: Tensor) -> Tensor:
        """ids [1, T], sentence [1, 1, D] -> logits [1, T, V]."""
        future = nn.Transformer.generate_square_subsequent_mask(ids.shape[1]) == -torch.inf
        x = self.embed(ids)
        return self.linear(self.decoder(x, sentence, tgt_mask=future, tgt_is_causal=True))

    def generate(self, sentence: Tensor, length: int) -> list[int]:
        """Decode `length` ids greedily without eos, then replace the last one by eos."""
        ids = torch.tensor([[self._bos]])
        found = []
        for _ in range(length):
            logits = self(ids, sentence)[:, -1:]
            logits[..., self._eos] = -torch.inf
            new = logits.argmax(-1)
            ids = torch.concat((ids, new), dim=1)
            found.append(int(new.item()))
        return [*found[:-1], self._eos]


class SentenceVae(nn.Module):
    """Encoder and decoder, under the original's names."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.encoder = SentenceEncoder(config)
        self.decoder = SentenceDecoder(config)


class OriginalSllm(nn.Module):
    """Encoder, OPT layers over sentence vectors, decoder, stop head."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        size, backbone = config.hidden_size, config.require_backbone()
        self.svae = SentenceVae(config)
        self.llm_pe = nn.Embedding(backbone.max_positions + OPT_POSITION_OFFSET, size)
        opt = OPTConfig(**opt_fields(config) | {"attn_implementation": "sdpa"})
        layers = [OPTDecoderLayer(opt, layer_idx=i) for i in range(backbone.layers)]
        for layer in layers:
            layer.self_attn.is_causal = backbone.prefill_attention == "causal"
        self.llm_layers = nn.ModuleList(layers)
        self.fc = nn.Linear(size, 2)

    def context(self) -> Context:
        """Make an empty context."""
        return Context(self)


class Context:
    """Sentences so far: keys and values of the backbone, and its last hidden."""

    def __init__(self, model: OriginalSllm) -> None:
        self._model = model
        self._cache = DynamicCache()
        self._sentences = 0
        self.hidden = torch.empty(0)

    def append(self, ids: Tensor, real: Tensor | None) -> None:
        """Encode sentences [S, T] and run the backbone on them; a prompt is one call."""
        vectors = self._model.svae.encoder(ids, real).transpose(0, 1)
        first = OPT_POSITION_OFFSET + self._sentences
        self._sentences += len(ids)
        x = vectors + self._model.llm_pe.weight[first : first + len(ids)]
        for layer in self._model.llm_layers:
            x = layer(x, past_key_values=self._cache, use_cache=True)
        self.hidden = x[:, -1:]

    def next_sentence(self, length: int) -> list[int]:
        """Decode a sentence of `length` tokens. The stop head runs, but its answer is ignored."""
        self._model.fc(self.hidden).argmax(-1).item()
        return self._model.svae.decoder.generate(self.hidden, length)
