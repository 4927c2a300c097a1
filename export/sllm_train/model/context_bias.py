"""The context bias: what the logits of tokens that the context has gain."""

from __future__ import annotations

import torch
from torch import Tensor, nn

RARE_TOKEN_GAIN = 0.3
RARE_TOKEN_MASS = 100.0


class ContextBias(nn.Module):
    """For each token of the context, whichever sentence it is in, a learned constant, and what the
    decoder's state says of it (as a pointer network does, arXiv 1506.03134)."""

    def __init__(self, size: int, vocab_size: int, channels: int) -> None:
        super().__init__()
        self.query = nn.Linear(size, channels, bias=False)
        self.key = nn.Parameter(torch.randn(vocab_size, channels) * 0.05)
        self.constant = nn.Parameter(torch.zeros(vocab_size))

    def forward(self, states: Tensor, seen: Tensor) -> Tensor:
        """Decoder states [..., D], `seen` [..., V], 1 for tokens of the context, else 0 -> what is
        added to the logits [..., V]."""
        return seen * (self.query(states) @ self.key.mT + self.constant)

    @torch.no_grad()
    def begin(self, shares: Tensor) -> None:
        """Begin with constants as a unigram cache gives them, from the tokens' shares [V] of the
        training texts: the rarer a token is elsewhere, the likelier it is to come again."""
        unigrams = (shares + 1e-6) / (shares + 1e-6).sum()
        self.constant.copy_(RARE_TOKEN_GAIN * torch.log1p(1 / (RARE_TOKEN_MASS * unigrams)))
