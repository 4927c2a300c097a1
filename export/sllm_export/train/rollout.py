"""The model's own sentences in place of the text's: what it will see when it generates.

A model that is trained on texts alone repeats itself as soon as it goes on from its own sentences.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from sllm_export.config import Tokens

from .batches import Window, collate
from .model import Sllm
from .objective import encode, run_backbone

OWN_SENTENCES = 3
MIN_SENTENCES = OWN_SENTENCES + 2
LONGEST = 24
GROUP_TOKENS = 4096


@torch.no_grad()
def say_some(
    model: Sllm, windows: list[Window], share: float, tokens: Tokens, random: np.random.Generator
) -> list[Window]:
    """In this share of the windows replace up to `OWN_SENTENCES` consecutive sentences by those
    that the model says there, decoded greedily. They are not to be predicted; what follows them
    is."""
    if share == 0:
        return windows
    chosen = [len(w.sentences) >= MIN_SENTENCES and random.random() < share for w in windows]
    # In the order in which `collate` puts them.
    own = sorted(
        (w for w, taken in zip(windows, chosen, strict=True) if taken),
        key=lambda w: len(w.sentences),
    )
    rest = [w for w, taken in zip(windows, chosen, strict=True) if not taken]
    if not own:
        return windows
    training = model.training
    model.eval()
    said = _continue(model, own, tokens, random)
    model.train(training)
    return rest + said


def _continue(
    model: Sllm, windows: list[Window], tokens: Tokens, random: np.random.Generator
) -> list[Window]:
    batch = collate(windows, tokens, GROUP_TOKENS).to(model.fc.weight.device)
    vectors = encode(model, batch)
    counts = [len(w.sentences) for w in windows]
    starts = np.cumsum([0, *counts[:-1]])
    places = [int(random.integers(count - OWN_SENTENCES - 1)) for count in counts]
    sentences = [list(w.sentences) for w in windows]
    echoes = [set(w.echoes) for w in windows]
    going = list(range(len(windows)))
    for step in range(OWN_SENTENCES):
        rows = torch.tensor([int(starts[w]) + places[w] + step for w in going])
        hidden = run_backbone(model, batch, vectors)
        ids, lengths = decode_greedily(model, hidden[rows.to(hidden.device)], tokens)
        ended = [number for number, length in enumerate(lengths) if length]
        if not ended:
            break
        spoken = torch.tensor([lengths[number] for number in ended], device=ids.device)
        prompts = ids[ended, : int(spoken.max()) + 1]
        mask = torch.arange(prompts.shape[1], device=ids.device) <= spoken[:, None]
        after = rows[ended].to(vectors.device) + 1
        vectors[after] = model.svae.encoder(prompts, mask).to(vectors.dtype)
        for number in ended:
            window, place = going[number], places[going[number]] + step + 1
            sentences[window][place] = ids[number, 1 : lengths[number] + 1].cpu().numpy()
            echoes[window].add(place)
        going = [going[number] for number in ended]
    return [
        Window(spoken, window.ends, frozenset(places))
        for spoken, window, places in zip(sentences, windows, echoes, strict=True)
    ]


def decode_greedily(model: Sllm, sentence: Tensor, tokens: Tokens) -> tuple[Tensor, list[int]]:
    """Sentence vectors [N, D] -> ids [N, T] with bos in front, and how many tokens each sentence
    has without bos and eos; 0 for one without tokens or without an end."""
    decoder = model.svae.decoder
    ids = torch.full((len(sentence), 1), tokens.bos, device=sentence.device)
    lengths = torch.zeros(len(sentence), dtype=torch.long, device=sentence.device)
    ended = lengths > 0
    for length in range(LONGEST):
        last = decoder.states(ids, sentence)[:, -1]
        chosen = decoder.linear(last).argmax(-1)
        now = (chosen == tokens.eos) & ~ended
        lengths[now] = length
        ended |= now
        if ended.all():
            break
        ids = torch.cat([ids, chosen[:, None]], dim=1)
    return ids, lengths.tolist()
