"""Self-rollout: the model's own sentences in place of the text's, as in generation.

A model that is trained on texts alone repeats itself as soon as it continues its own sentences.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from sllm_export.config import Tokens

from .batches import Window, collate
from .context_tokens import ContextTokens
from .model import SentenceDecoder, Sllm
from .objective import encode, run_backbone

ROLLOUT_SENTENCES = 3
MIN_SENTENCES = ROLLOUT_SENTENCES + 2
MAX_TOKENS = 24
GROUP_TOKENS = 4096


@torch.no_grad()
def roll_out(
    model: Sllm, windows: list[Window], share: float, tokens: Tokens, random: np.random.Generator
) -> list[Window]:
    """In this share of the windows replace up to `ROLLOUT_SENTENCES` consecutive sentences by those
    that the model generates there, greedily. They are not targets; what follows them is."""
    if share == 0:
        return windows
    chosen = [len(w.sentences) >= MIN_SENTENCES and random.random() < share for w in windows]
    # In the order in which `collate` puts them.
    rolled = sorted(
        (w for w, taken in zip(windows, chosen, strict=True) if taken),
        key=lambda w: len(w.sentences),
    )
    rest = [w for w, taken in zip(windows, chosen, strict=True) if not taken]
    if not rolled:
        return windows
    training = model.training
    model.eval()
    replaced = _replace(model, rolled, tokens, random)
    model.train(training)
    return rest + replaced


def _replace(
    model: Sllm, windows: list[Window], tokens: Tokens, random: np.random.Generator
) -> list[Window]:
    batch = collate(windows, tokens, GROUP_TOKENS).to(model.fc.weight.device)
    vectors = encode(model, batch)
    counts = [len(w.sentences) for w in windows]
    starts = np.cumsum([0, *counts[:-1]])
    places = [int(random.integers(count - ROLLOUT_SENTENCES - 1)) for count in counts]
    sentences = [list(w.sentences) for w in windows]
    inserted = [set(w.inserted) for w in windows]
    active = list(range(len(windows)))
    for step in range(ROLLOUT_SENTENCES):
        rows = torch.tensor([int(starts[w]) + places[w] + step for w in active]).to(vectors.device)
        hidden = run_backbone(model, batch, vectors)[rows]
        context = ContextTokens.of(sentences).to(rows.device)
        seen = context.seen_up_to(rows, model.svae.decoder.linear.out_features)
        ids, lengths = decode_greedily(model.svae.decoder, hidden, seen, tokens)
        ended = [number for number, length in enumerate(lengths) if length]
        if not ended:
            break
        kept = torch.tensor([lengths[number] for number in ended], device=ids.device)
        prompts = ids[ended, : int(kept.max()) + 1]
        mask = torch.arange(prompts.shape[1], device=ids.device) <= kept[:, None]
        after = rows[ended] + 1
        vectors[after] = model.svae.encoder(prompts, mask).to(vectors.dtype)
        for number in ended:
            window, place = active[number], places[active[number]] + step + 1
            sentences[window][place] = ids[number, 1 : lengths[number] + 1].cpu().numpy()
            inserted[window].add(place)
        active = [active[number] for number in ended]
    return [
        Window(replaced, window.ends, frozenset(places), window.taught)
        for replaced, window, places in zip(sentences, windows, inserted, strict=True)
    ]


@dataclass
class TokenCache:
    """Keys and values of the decoder's self-attention, [N, heads, T, head size] in each layer."""

    layers: dict[int, tuple[Tensor, Tensor]] = field(default_factory=dict)

    def append(self, layer: int, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
        """All keys and values of the layer, the new ones included."""
        if layer in self.layers:
            old_key, old_value = self.layers[layer]
            key, value = torch.cat([old_key, key], 2), torch.cat([old_value, value], 2)
        self.layers[layer] = key, value
        return key, value

    def select(self, rows: Tensor) -> None:
        """Keep these rows only."""
        self.layers = {n: (k[rows], v[rows]) for n, (k, v) in self.layers.items()}


def decode_greedily(
    decoder: SentenceDecoder,
    sentence: Tensor,
    seen: Tensor,
    tokens: Tokens,
    max_tokens: int = MAX_TOKENS,
) -> tuple[Tensor, list[int]]:
    """Sentence vectors [N, D], `seen` [N, V] (1 for tokens of the context, else 0) -> ids [N, T]
    with bos in front, and how many tokens each sentence has without bos and eos; 0 for one without
    tokens or without an end. Rows that have ended leave the computation."""
    count, device = len(sentence), sentence.device
    ids = torch.full((count, max_tokens + 1), tokens.bos, device=device)
    lengths = torch.zeros(count, dtype=torch.long, device=device)
    memory = decoder.memory_of(sentence)
    rows = torch.arange(count, device=device)
    cache = TokenCache()
    for length in range(max_tokens):
        states = decoder.step(ids[rows, length], length, memory, cache)
        chosen = decoder.logits(states, seen).argmax(-1)
        ends = chosen == tokens.eos
        lengths[rows[ends]] = length
        ids[rows, length + 1] = chosen
        if ends.all():
            break
        if ends.any():
            going = (~ends).nonzero()[:, 0]
            rows, memory, seen = rows[going], memory[going], seen[going]
            cache.select(going)
    return ids, lengths.tolist()
