"""Batches, loss and evaluation of the token-level baseline."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sllm_export.config import Tokens

from .batches import Window
from .objective import Sums, precision_of
from .output_loss import output_loss
from .token_model import TokenModel


@dataclass
class TokenGroup:
    """Sequences of similar length: `ids` [n, T] begin with bos; `targets` [n, T] are -100 where
    there is none."""

    ids: Tensor
    targets: Tensor


@dataclass
class TokenBatch:
    """Sequences in groups, and how many targets they have."""

    groups: list[TokenGroup]
    tokens: int

    def to(self, device: torch.device) -> TokenBatch:
        """The batch on `device`."""
        groups = [TokenGroup(g.ids.to(device), g.targets.to(device)) for g in self.groups]
        return TokenBatch(groups, self.tokens)


def sequence(window: Window, tokens: Tokens, longest: int) -> np.ndarray:
    """The window as one sequence of at most `longest` + 1 tokens: bos, its sentences, and eos where
    the record ends."""
    end = [tokens.eos] if window.ends else []
    ids = np.concatenate([[tokens.bos], *window.sentences, np.array(end, np.int64)])
    return ids.astype(np.int64)[: longest + 1]


def collate_tokens(
    windows: list[Window], tokens: Tokens, longest: int, group_tokens: int
) -> TokenBatch:
    """Group the windows' sequences by length; a group holds up to `group_tokens` tokens, or one
    sequence."""
    sequences = sorted((sequence(w, tokens, longest) for w in windows), key=len, reverse=True)
    groups, start = [], 0
    while start < len(sequences):
        width = len(sequences[start]) - 1
        rows = sequences[start : start + max(1, group_tokens // width)]
        ids = np.full((len(rows), width), tokens.pad, np.int64)
        targets = np.full((len(rows), width), -100, np.int64)
        for row, values in enumerate(rows):
            ids[row, : len(values) - 1] = values[:-1]
            targets[row, : len(values) - 1] = values[1:]
        groups.append(TokenGroup(torch.from_numpy(ids), torch.from_numpy(targets)))
        start += len(rows)
    return TokenBatch(groups, sum(len(values) - 1 for values in sequences))


def train_tokens(model: TokenModel, batch: TokenBatch, scale: Sums, amp: torch.autocast) -> Sums:
    """Accumulate the gradients of one batch, group by group."""
    sums = Sums()
    for group in batch.groups:
        losses = _losses(model, group, 1 / max(1, scale.following_tokens), amp)
        losses.sum().backward()
        sums.following += float(losses.detach().sum())
        sums.following_tokens += len(losses)
    return sums


def _losses(model: TokenModel, group: TokenGroup, factor: float, amp: torch.autocast) -> Tensor:
    """Cross-entropy of each target [tokens], nats."""
    wanted = group.targets != -100
    with amp:
        states = model.states(group.ids)[wanted].to(precision_of(group.ids.device.type))
    targets = group.targets[wanted]
    factors = torch.full(targets.shape, factor, device=targets.device)
    none = targets.new_zeros(0)
    bias = states.new_zeros(len(model.output))
    return output_loss(states, (model.output, bias), targets, factors, none)


@torch.no_grad()
def evaluate_tokens(
    model: TokenModel,
    windows: list[Window],
    tokens: Tokens,
    longest: int,
    token_bytes: np.ndarray,
    amp: torch.autocast,
) -> dict[str, Any]:
    """Perplexity and bits per byte of the windows, each cut to the model's positions."""
    device = next(model.parameters()).device
    model.eval()
    nats, count, size = 0.0, 0, 0
    for window in windows:
        batch = collate_tokens([window], tokens, longest, longest).to(device)
        losses = _losses(model, batch.groups[0], 1.0, amp)
        nats += float(losses.sum())
        count += len(losses)
        targets = batch.groups[0].targets.cpu().numpy()
        size += int(token_bytes[targets[targets >= 0]].sum())
    model.train()
    return {
        "loss": nats / max(1, count),
        "perplexity": math.exp(nats / max(1, count)),
        "bits_per_byte": nats / math.log(2) / max(1, size),
        "tokens": count,
    }
