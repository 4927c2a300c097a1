"""Focal loss (arXiv 1708.02002): (1 - p)^gamma * -log p, so that what is known well counts less."""

from __future__ import annotations

from torch import Tensor

LEAST_NATS = 1e-12


def focal_slope(nats: Tensor, gamma: float) -> Tensor:
    """Derivative of the focal loss by the cross-entropy `nats` = -log p, element by element.

    Cross-entropy with its gradient multiplied by it is trained as focal loss is, exactly.
    """
    # Rounding makes some of the confident ones zero or less.
    nats = nats.clamp(min=LEAST_NATS)
    missed = -(-nats).expm1()
    return missed**gamma + gamma * missed ** (gamma - 1) * (-nats).exp() * nats
