"""Random weights in PyTorch."""

from __future__ import annotations

import torch
from torch import nn

from sllm_export.checkpoint.state_dict import StateDict


@torch.no_grad()
def fill(model: nn.Module, weights: StateDict) -> None:
    """Copies the tensors into a model that has the same names, tied ones under one of them.

    Raises ValueError if a name is on one side only.
    """
    parameters = dict(model.named_parameters())
    if parameters.keys() != weights.shapes.keys():
        strangers = sorted(parameters.keys() ^ weights.shapes.keys())
        raise ValueError(f"tensors that only the model or only the weights have: {strangers}")
    for name, parameter in parameters.items():
        parameter.copy_(torch.tensor(weights.load(name)))
