"""Output projection and loss of each token in one, with gradients of our own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import torch
from torch import Tensor
from torch.nn import functional as F

from .focal import focal_slope
from .soft_targets import SoftTargets

MAX_NEGATIVE_PROBABILITY = 0.8


class _LossContext(Protocol):
    """What `OutputLoss` uses of PyTorch's context."""

    needs_input_grad: tuple[bool, ...]

    @property
    def saved_tensors(self) -> tuple[Tensor, ...]:
        """The tensors saved by `save_for_backward`."""

    def save_for_backward(self, *tensors: Tensor) -> None:
        """Keep tensors for the backward pass."""


class OutputLoss(torch.autograd.Function):
    """Output projection and cross-entropy in one: the logits are written once, and the gradients
    come from them in place. Returns the loss of each token; `factors` weigh their gradients.

    The last tokens, numbered by `negatives` (which of the negative sentences each belongs to), have
    the loss -n log(1 - P) with the probability P of the n tokens of their sentence (geometric
    mean), weighed by their factor.
    The gradients of the others are those of the focal loss with `gamma`, and where there are `soft`
    targets those weigh `distillation` of the cross-entropy. `added` [tokens, V] is added to the
    logits.
    """

    @staticmethod
    def forward(
        ctx: _LossContext,
        states: Tensor,
        weight: Tensor,
        bias: Tensor,
        targets: Tensor,
        factors: Tensor,
        negatives: Tensor,
        gamma: float = 0.0,
        soft: SoftTargets | None = None,
        distillation: float = 0.0,
        added: Tensor | None = None,
    ) -> Tensor:
        logits = F.linear(states, weight.to(states.dtype), bias.to(states.dtype))
        if added is not None:
            logits += added
        peak = logits.max(-1, keepdim=True).values
        wanted = logits.gather(1, targets[:, None]).float()
        exponents = logits.sub_(peak).exp_()
        total = exponents.sum(-1, keepdim=True, dtype=torch.float32)
        losses = (total.log() + peak.float() - wanted)[:, 0]
        factors, others = factors.clone(), len(losses) - len(negatives)
        if gamma:
            factors[:others] *= focal_slope(losses[:others], gamma)
        if len(negatives):
            factors[others:] *= unlikelihood_slope(losses[others:], negatives)
        gradient = exponents.mul_((factors[:, None] / total).to(exponents.dtype))
        # In full precision: the difference of two close numbers is all that confident tokens have.
        chosen = factors[:, None] * ((wanted - peak.float()).exp() / total - 1)
        gradient.scatter_(1, targets[:, None], chosen.to(gradient.dtype))
        if soft is not None:
            softened = soft.less_text(targets).mul_(distillation * factors[soft.places, None])
            gradient.index_add_(0, soft.places, softened.to(gradient.dtype))
        ctx.save_for_backward(states, weight, gradient)
        return losses

    @staticmethod
    def backward(ctx: _LossContext, *_: Tensor) -> tuple[Tensor | None, ...]:
        states, weight, gradient = ctx.saved_tensors
        to_states = gradient @ weight.to(gradient.dtype) if ctx.needs_input_grad[0] else None
        to_weight = to_bias = None
        if ctx.needs_input_grad[1]:  # a frozen one's would be the largest product of all
            to_weight = (gradient.mT @ states).to(weight.dtype)
            to_bias = gradient.sum(0, dtype=torch.float32)
        to_added = gradient if ctx.needs_input_grad[9] else None
        return to_states, to_weight, to_bias, None, None, None, None, None, None, to_added


def output_loss(
    states: Tensor,
    output: tuple[Tensor, Tensor],
    targets: Tensor,
    factors: Tensor,
    negatives: Tensor,
    focal_gamma: float = 0.0,
    soft: SoftTargets | None = None,
    distillation: float = 0.0,
    added: Tensor | None = None,
) -> Tensor:
    """Cross-entropy of each token [tokens], nats; see `OutputLoss`.

    `output` is the weight and the bias of the output projection.
    """
    apply: Callable[..., Tensor] = OutputLoss.apply
    options = (focal_gamma, soft, distillation, added)
    return apply(states, *output, targets, factors, negatives, *options)


def unlikelihood_slope(losses: Tensor, sentences: Tensor) -> Tensor:
    """Slope of -n log(1 - P) in each token's loss, with P = exp(-mean of its sentence's n losses).

    The mean, not the sum: a sentence that greedy decoding says has a small probability as a whole.
    """
    count = int(sentences.max()) + 1
    sums = losses.new_zeros(count).index_add_(0, sentences, losses)
    probability = (-sums / sentences.bincount(minlength=count)).exp()
    probability = probability.clamp(max=MAX_NEGATIVE_PROBABILITY)
    return -(probability / (1 - probability))[sentences]
