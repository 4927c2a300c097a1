"""The focal loss against plain autograd."""

import pytest
import torch
from torch.nn import functional as F

from sllm_train.focal import focal_slope
from sllm_train.output_loss import output_loss

NONE = torch.zeros(0, dtype=torch.long)


def focal_loss(logits, targets, gamma):
    """As it is written down: -(1 - p)^gamma log p."""
    log_p = logits.log_softmax(-1).gather(-1, targets[..., None])[..., 0]
    return -((1 - log_p.exp()) ** gamma) * log_p


@pytest.mark.parametrize("gamma", [0.5, 1.0, 2.0, 5.0])
def test_gradients_of_the_focal_loss(gamma):
    """The last two tokens are negatives ones, whose loss has no focus; all losses are nats."""
    inputs = [torch.randn(9, 6), torch.randn(11, 6), torch.randn(11)]
    inputs = [x.double().requires_grad_() for x in inputs]
    targets, factors = torch.randint(11, (9,)), torch.rand(9)
    negatives = torch.tensor([0, 1])
    logits = F.linear(*inputs)
    nats = F.cross_entropy(logits, targets, reduction="none")
    wanted = (focal_loss(logits[:7], targets[:7], gamma) * factors[:7]).sum()
    again = (-(1 - (-nats[7:]).exp()).log() * factors[7:]).sum()
    expected = torch.autograd.grad(wanted + again, inputs)
    singles = [x.detach().float().requires_grad_() for x in inputs]
    found = output_loss(singles[0], (singles[1], singles[2]), targets, factors, negatives, gamma)
    torch.testing.assert_close(found, nats.float(), atol=1e-5, rtol=1e-5)
    for gradient, right in zip(torch.autograd.grad(found.sum(), singles), expected, strict=True):
        torch.testing.assert_close(gradient, right.float(), atol=1e-5, rtol=1e-4)


def test_without_gamma_it_is_cross_entropy():
    inputs = [torch.randn(9, 6), torch.randn(11, 6), torch.randn(11)]
    inputs = [x.requires_grad_() for x in inputs]
    targets, factors = torch.randint(11, (9,)), torch.rand(9)
    plain, zero = (
        torch.autograd.grad(
            output_loss(inputs[0], (inputs[1], inputs[2]), targets, factors, NONE, *more).sum(),
            inputs,
        )
        for more in ((), (0.0,))
    )
    assert all(torch.equal(a, b) for a, b in zip(plain, zero, strict=True))


@pytest.mark.parametrize("gamma", [0.0, 0.5, 1.0, 2.0, 50.0])
def test_certain_tokens_have_a_finite_slope(gamma):
    """Also where rounding has made nats negative; a hopeless token counts in full."""
    slopes = focal_slope(torch.tensor([-1e-7, 0.0, 1e-8, 200.0]), gamma)
    assert slopes.isfinite().all()
    assert slopes[-1] == 1
    assert gamma == 0 or slopes[:3].max() < 0.01


def test_a_frozen_output_gets_no_gradient():
    states, weight, bias = torch.randn(4, 6, requires_grad=True), torch.randn(5, 6), torch.randn(5)
    targets = torch.randint(5, (4,))
    output_loss(states, (weight, bias), targets, torch.ones(4), NONE, 2.0).sum().backward()
    expected = states.detach().clone().requires_grad_()
    focal_loss(F.linear(expected, weight, bias), targets, 2.0).sum().backward()
    torch.testing.assert_close(states.grad, expected.grad, atol=1e-5, rtol=1e-4)
