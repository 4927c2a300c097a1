"""Soft targets: the distributions of a teacher over the next token, beside the text's own tokens
(knowledge distillation, arXiv 1503.02531)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F


@dataclass
class SoftTargets:
    """The teacher's distributions for some of the tokens of a loss: `places` [m] of those among
    them, and its `states` [m, E] there, before its output projection (see `TaughtSentences`)."""

    places: Tensor
    states: Tensor
    output: Tensor
    bias: Tensor

    def less_text(self, targets: Tensor) -> Tensor:
        """One-hot `targets` [tokens] minus the teacher's distributions, [m, V]: what the gradients
        of the logits gain when the teacher's distribution takes the place of the text's token."""
        probabilities = F.linear(self.states, self.output, self.bias).softmax(-1)
        ones = torch.ones_like(self.places, dtype=probabilities.dtype)[:, None]
        return probabilities.neg_().scatter_add_(1, targets[self.places, None], ones)


@dataclass
class TaughtSentences:
    """A teacher's states for sentences: those of sentence i are `states[starts[i]:starts[i + 1]]`,
    one for each of its tokens, fewer where the teacher's positions end, and none for eos. `output`
    [V, E] and `bias` [V] are the teacher's output projection; the bias is -inf for special tokens:
    a teacher's eos is the end of a text, that of a sentence-level model the end of a sentence."""

    states: Tensor
    starts: Tensor
    output: Tensor
    bias: Tensor

    @classmethod
    def joined(cls, parts: list[TaughtSentences]) -> TaughtSentences:
        """The sentences of all parts, which are of one teacher."""
        counts = torch.cat([part.starts.diff() for part in parts])
        states = torch.cat([part.states for part in parts])
        return cls(states, _starts(counts), parts[0].output, parts[0].bias)

    def to(self, device: torch.device) -> TaughtSentences:
        """The same on `device`."""
        return TaughtSentences(**{name: value.to(device) for name, value in vars(self).items()})

    def select(self, sentences: Tensor) -> TaughtSentences:
        """These sentences, by their numbers [n]."""
        counts = self.starts.diff()[sentences]
        rows = self.starts[sentences].repeat_interleave(counts) + _within(counts)
        return TaughtSentences(self.states[rows], _starts(counts), self.output, self.bias)

    def soft_targets(self, tokens: Tensor, first: int) -> SoftTargets:
        """For a loss whose token `first` is the first of these sentences, each of which has
        `tokens` [n] tokens there, eos included."""
        counts = self.starts.diff()
        places = first + (tokens.cumsum(0) - tokens).repeat_interleave(counts) + _within(counts)
        return SoftTargets(places, self.states, self.output, self.bias)


def _starts(counts: Tensor) -> Tensor:
    """[0, a, a + b, ...] of [a, b, ...]."""
    return torch.cat([counts.new_zeros(1), counts.cumsum(0)])


def _within(counts: Tensor) -> Tensor:
    """0 to a - 1, 0 to b - 1, ... of [a, b, ...]."""
    starts = _starts(counts)
    numbers = torch.arange(int(starts[-1]), device=counts.device)
    return numbers - starts[:-1].repeat_interleave(counts)
