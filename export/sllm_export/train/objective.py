"""The three losses of one batch, and their gradients."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from .batches import Batch, Group
from .model import Sllm


@dataclass
class Weights:
    """What each of the three cross-entropies counts; the first two are means over tokens."""

    reconstruction: float = 1.0
    following: float = 1.0
    stop: float = 0.1


@dataclass
class Sums:
    """Summed negative log-likelihoods (nats) and what they are summed over."""

    reconstruction: float = 0.0
    reconstruction_tokens: int = 0
    following: float = 0.0
    following_tokens: int = 0
    stop: float = 0.0
    sentences: int = 0

    def add(self, other: Sums) -> None:
        for name, value in vars(other).items():
            setattr(self, name, getattr(self, name) + value)


def keep_probability(lengths: Tensor) -> Tensor:
    """1 from 14 tokens on, less for shorter sentences."""
    return ((lengths + 2) / 16).clamp(max=1)


def keep_for_reconstruction(lengths: Tensor) -> Tensor:
    """Short sentences are learned first: spend less on them."""
    return torch.rand(lengths.shape, device=lengths.device) < keep_probability(lengths)


def encode(model: Sllm, batch: Batch) -> Tensor:
    """All sentences of the batch -> their vectors [n, D], in the batch's order."""
    parts = [model.svae.encoder(group.ids, group.targets != -100) for group in batch.groups]
    index = torch.cat([group.index for group in batch.groups])
    return torch.empty_like(torch.cat(parts)).index_copy(0, index, torch.cat(parts))


def run_backbone(model: Sllm, batch: Batch, vectors: Tensor) -> Tensor:
    """Sentence vectors [n, D] -> hidden [n, D] of the same sentences."""
    places = sum(rows * width for rows, width in batch.grids)
    joined = vectors.new_zeros(places, vectors.shape[1]).index_copy(0, batch.slots, vectors)
    parts = joined.split([rows * width for rows, width in batch.grids])
    hidden = [
        model.predict(part.unflatten(0, grid)).flatten(0, 1)
        for part, grid in zip(parts, batch.grids, strict=True)
    ]
    return torch.cat(hidden)[batch.slots]


def decode_targets(
    model: Sllm, group: Group, rows: Tensor, condition: Tensor
) -> tuple[Tensor, Tensor]:
    """Decoder states [tokens, D] and targets [tokens] of `rows`, from `condition` [rows, D]."""
    states = model.svae.decoder.states(group.ids[rows], condition)
    targets = group.targets[rows]
    wanted = targets != -100
    return states[wanted], targets[wanted]


class OutputLoss(torch.autograd.Function):
    """Output projection and cross-entropy in one: the logits are written once, and the gradients
    come from them in place. Returns the loss of each token; `factors` weigh their gradients."""

    @staticmethod
    def forward(ctx, states, weight, bias, targets, factors):  # noqa: ANN001, ANN205
        logits = F.linear(states, weight.to(states.dtype), bias.to(states.dtype))
        peak = logits.max(-1, keepdim=True).values
        wanted = logits.gather(1, targets[:, None]).float()
        exponents = logits.sub_(peak).exp_()
        total = exponents.sum(-1, keepdim=True, dtype=torch.float32)
        losses = total.log() + peak.float() - wanted
        gradient = exponents.mul_((factors[:, None] / total).to(exponents.dtype))
        chosen = gradient.gather(1, targets[:, None]).float() - factors[:, None]
        gradient.scatter_(1, targets[:, None], chosen.to(gradient.dtype))
        ctx.save_for_backward(states, weight, gradient)
        return losses[:, 0]

    @staticmethod
    def backward(ctx, _):  # noqa: ANN001, ANN205
        states, weight, gradient = ctx.saved_tensors
        to_states = gradient @ weight.to(gradient.dtype)
        to_weight = (gradient.mT @ states).to(weight.dtype)
        to_bias = gradient.sum(0, dtype=torch.float32)
        return to_states, to_weight, to_bias, None, None


def train_batch(
    model: Sllm, batch: Batch, weights: Weights, scale: Sums, amp: torch.autocast
) -> Sums:
    """Accumulate the gradients of one batch.

    `scale` holds the numbers of tokens and sentences that the losses are divided by (those of all
    processes). The decoder runs and is differentiated group by group, so that the logits of only
    one group are alive at a time.
    """
    sums = Sums(sentences=len(batch.slots))
    precision = torch.bfloat16 if amp._enabled else torch.float32
    with amp:
        vectors = encode(model, batch)
        hidden = run_backbone(model, batch, vectors)
        stop_loss = F.cross_entropy(model.fc(hidden).float(), batch.continues, reduction="sum")
    sums.stop = float(stop_loss.detach())
    reconstruction_factor = weights.reconstruction / scale.reconstruction_tokens
    following_factor = weights.following / scale.following_tokens
    vector_leaf = vectors.detach().requires_grad_()
    hidden_leaf = hidden.detach().requires_grad_()
    for group in batch.groups:
        kept = keep_for_reconstruction(group.lengths).nonzero()[:, 0]
        later = (~batch.is_first[group.index]).nonzero()[:, 0]
        sources = [vector_leaf[group.index[kept]], hidden_leaf[group.index[later] - 1]]
        rows = torch.cat([kept, later])
        if not len(rows):
            continue
        with amp:
            condition = torch.cat([source.float() for source in sources])
            states, targets = decode_targets(model, group, rows, condition)
        split = int((group.lengths[kept] + 1).sum())
        factors = torch.full(targets.shape, following_factor, device=targets.device)
        factors[:split] = reconstruction_factor
        losses = output_losses(model, states.to(precision), targets, factors)
        losses.sum().backward()
        reconstruction, following = losses[:split].sum(), losses[split:].sum()
        sums.reconstruction += float(reconstruction.detach())
        sums.following += float(following.detach())
        sums.reconstruction_tokens += split
        sums.following_tokens += len(losses) - split
    torch.autograd.backward(
        [vectors, hidden, stop_loss * (weights.stop / scale.sentences)],
        [vector_leaf.grad, hidden_leaf.grad, None],
    )
    for group in batch.joined:
        with amp:
            condition = model.svae.encoder(group.ids, group.targets != -100)
            every = torch.arange(len(group.lengths), device=group.lengths.device)
            states, targets = decode_targets(model, group, every, condition)
        factors = torch.full(targets.shape, reconstruction_factor, device=targets.device)
        losses = output_losses(model, states.to(precision), targets, factors)
        losses.sum().backward()
        sums.reconstruction += float(losses.detach().sum())
        sums.reconstruction_tokens += len(losses)
    return sums


def output_losses(model: Sllm, states: Tensor, targets: Tensor, factors: Tensor) -> Tensor:
    """Loss of each token, nats; see `OutputLoss`."""
    output = model.svae.decoder.linear
    return OutputLoss.apply(states, output.weight, output.bias, targets, factors)


def expected_sums(batch: Batch) -> Sums:
    """The numbers of tokens that `train_batch` divides by, before it runs."""
    sums = Sums(sentences=len(batch.slots))
    for group in batch.groups:
        tokens = group.lengths + 1
        sums.reconstruction_tokens += int((tokens * keep_probability(group.lengths)).sum())
        sums.following_tokens += int(tokens[~batch.is_first[group.index]].sum())
    for group in batch.joined:
        sums.reconstruction_tokens += int((group.lengths + 1).sum())
    return sums
