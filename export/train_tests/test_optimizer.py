"""Muon's orthogonalisation, what it is used for, and the learning rate."""

import pytest
import torch
from helpers import tiny
from tiny_training import randomize

from sllm_export.config import parse_config
from sllm_train.model import Sllm
from sllm_train.optimizer import Optimizer, orthogonalize


@pytest.mark.parametrize("shape", [(3, 32, 32), (2, 24, 96), (1, 1, 8)])
def test_singular_values_come_near_one(shape):
    """From between 0.1 and 1; Muon's five steps stop at about 0.7 to 1.2."""
    left, values, right = torch.linalg.svd(torch.randn(shape), full_matrices=False)
    spread = left * torch.linspace(1, 0.1, values.shape[-1]) @ right
    found = orthogonalize(spread)
    values = torch.linalg.svdvals(found)
    assert values.min() > 0.6
    assert values.max() < 1.3
    # The singular vectors stay: the product with the input's polar factor is symmetric.
    product = found @ (left @ right).mT
    torch.testing.assert_close(product, product.mT, atol=0.03, rtol=0)


def test_no_gradient_no_update():
    assert orthogonalize(torch.zeros(1, 4, 8)).abs().max() == 0


def test_every_parameter_is_updated_once():
    """By a step of about 0.2 times the learning rate where Muon does it."""
    model = randomize(Sllm(parse_config(tiny(**{"svae.learnable_add": True}))))
    optimizer = Optimizer(model, weight_decay=0.0)
    adam = [p for group in optimizer.adam.param_groups for p in group["params"]]
    both = [*optimizer.muon.parameters, *adam]
    assert sorted(map(id, both)) == sorted(map(id, model.parameters()))
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    for parameter in model.parameters():
        parameter.grad = torch.randn_like(parameter)
    optimizer.step(lr=0.01, max_norm=1.0)
    for name, parameter in model.named_parameters():
        assert parameter.grad is None
        step = (parameter - before[name]).square().mean().sqrt().item()
        matrix = parameter.ndim == 2 and "layers." in name
        assert step == pytest.approx(0.002 if matrix else 0.01, rel=0.2), name
