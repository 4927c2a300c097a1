"""Which tokens the context of a sentence has."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor


@dataclass
class ContextTokens:
    """The tokens of a batch of windows. Sentence i is number `places[i]` of window `windows[i]`;
    window `first[0, j]` has token `first[1, j]` first in its sentence `first[2, j]`."""

    windows: Tensor
    places: Tensor
    first: Tensor

    @classmethod
    def of(cls, windows: Sequence[Sequence[np.ndarray]]) -> ContextTokens:
        """Those of the sentences of each window, in the batch's order."""
        counts = torch.tensor([len(sentences) for sentences in windows])
        first = [_first(number, sentences) for number, sentences in enumerate(windows)]
        return cls(
            torch.arange(len(windows)).repeat_interleave(counts),
            torch.cat([torch.arange(count) for count in counts.tolist()]),
            torch.from_numpy(np.concatenate(first, axis=1)),
        )

    def to(self, device: torch.device) -> ContextTokens:
        """The same on `device`."""
        return ContextTokens(*(value.to(device) for value in vars(self).values()))

    def seen_up_to(self, sentences: Tensor, vocab_size: int) -> Tensor:
        """1 for each token of these sentences [n] and of those before them in their windows, else
        0, [n, vocabulary]."""
        windows, tokens, places = self.first
        count, never = int(self.windows.max()) + 1, int(self.places.max()) + 1
        table = self.places.new_full((count, vocab_size), never)
        table[windows, tokens] = places
        return (table[self.windows[sentences]] <= self.places[sentences, None]).float()


def _first(number: int, sentences: Sequence[np.ndarray]) -> np.ndarray:
    """Columns (window, token, first sentence) [3, m] of window `number`."""
    ids = np.concatenate(sentences).astype(np.int64)
    places = np.repeat(np.arange(len(sentences)), [len(sentence) for sentence in sentences])
    tokens, at = np.unique(ids, return_index=True)
    return np.stack([np.full(len(tokens), number), tokens, places[at]])
