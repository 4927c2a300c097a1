"""Muon for the matrices of the layers and AdamW for all else, or AdamW alone; one learning rate.

Muon: https://kellerjordan.github.io/posts/muon/; its update is scaled to AdamW's usual size
(arXiv 2502.16982), so that the learning rate and the weight decay mean the same in both.
"""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

MOMENTUM = 0.95
ADAM_BETAS = (0.9, 0.98)
UPDATE_RMS = 0.2
_NEWTON_SCHULZ = (3.4445, -4.7750, 2.0315)


def orthogonalize(matrices: Tensor) -> Tensor:
    """Nearest (semi-)orthogonal matrices of a batch [n, rows, columns], rows <= columns."""
    if matrices.device.type == "cpu":  # one by one they stay in the cache
        return torch.stack([_orthogonalize(matrix) for matrix in matrices])
    return _orthogonalize(matrices.bfloat16()).float()


def _orthogonalize(x: Tensor, steps: int = 5) -> Tensor:
    a, b, c = _NEWTON_SCHULZ
    x = x / (x.norm(dim=(-2, -1), keepdim=True) + 1e-7)
    for _ in range(steps):
        gram = x @ x.mT
        x = a * x + (b * gram + c * gram @ gram) @ x
    return x


def gradient_of(parameter: nn.Parameter) -> Tensor:
    """The gradient of a parameter that has one; `Optimizer.reduce_gradients` gives one to all."""
    assert parameter.grad is not None, "gradients are reduced before the step"
    return parameter.grad


class Muon:
    """Momentum, then orthogonalisation; the work is shared between the processes by shape."""

    def __init__(self, parameters: list[nn.Parameter]) -> None:
        self.parameters = parameters
        self.momentum = [torch.zeros_like(p) for p in parameters]
        self.blocks: dict[tuple[int, int], list[int]] = {}
        for number, parameter in enumerate(parameters):
            rows, columns = parameter.shape
            shape = (columns, columns) if rows == 3 * columns else (rows, columns)
            self.blocks.setdefault(shape, []).append(number)

    def step(self, lr: float, weight_decay: float) -> None:
        """Update the parameters; overwrites their gradients."""
        for parameter, momentum in zip(self.parameters, self.momentum, strict=True):
            gradient = gradient_of(parameter)
            momentum.lerp_(gradient, 1 - MOMENTUM)
            gradient.lerp_(momentum, MOMENTUM)
        for shape, numbers in self.blocks.items():
            grads = torch.cat([gradient_of(self.parameters[n]).view(-1, *shape) for n in numbers])
            tall = shape[0] > shape[1]
            update = self._orthogonalize_shared(grads.mT if tall else grads)
            update = (update.mT if tall else update) * (UPDATE_RMS * math.sqrt(max(shape)))
            start = 0
            for number in numbers:
                parameter = self.parameters[number]
                count = parameter.numel() // (shape[0] * shape[1])
                parameter.mul_(1 - lr * weight_decay)
                parameter.sub_(update[start : start + count].reshape(parameter.shape), alpha=lr)
                start += count

    def _orthogonalize_shared(self, matrices: Tensor) -> Tensor:
        if not dist.is_initialized() or len(matrices) < dist.get_world_size():
            return orthogonalize(matrices)
        result = torch.zeros_like(matrices, memory_format=torch.contiguous_format)
        share = slice(dist.get_rank(), None, dist.get_world_size())
        result[share] = orthogonalize(matrices[share])
        dist.all_reduce(result)
        return result


class Optimizer:
    """Both optimizers over what one model trains, and their state as one dictionary of tensors.

    Without `muon` all is AdamW's. Frozen parameters are left as they are and have no state.
    """

    def __init__(self, model: nn.Module, weight_decay: float, muon: bool = True) -> None:
        self.weight_decay = weight_decay
        trained = [(name, p) for name, p in model.named_parameters() if p.requires_grad]
        by_muon = [
            muon and p.ndim == 2 and "layers." in name and name.endswith("weight")
            for name, p in trained
        ]
        matrices = [p for (_, p), chosen in zip(trained, by_muon, strict=True) if chosen]
        others = [p for (_, p), chosen in zip(trained, by_muon, strict=True) if not chosen]
        self.parameters = [p for _, p in trained]
        self.muon = Muon(matrices)
        decayed = [p for p in others if p.ndim == 2]
        plain = [p for p in others if p.ndim != 2]
        groups = [
            {"params": decayed, "weight_decay": weight_decay},
            {"params": plain, "weight_decay": 0.0},
        ]
        self.adam = torch.optim.AdamW(groups, lr=0.0, betas=ADAM_BETAS, eps=1e-8)

    def reduce_gradients(self) -> None:
        """Sum the gradients of all processes; a parameter that got none counts as zero."""
        for parameter in self.parameters:
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
        if dist.is_initialized():
            flat = torch.cat([gradient_of(p).view(-1) for p in self.parameters])
            dist.all_reduce(flat)
            start = 0
            for parameter in self.parameters:
                end = start + parameter.numel()
                gradient_of(parameter).copy_(flat[start:end].view_as(parameter))
                start = end

    @torch.no_grad()
    def step(self, lr: float, max_norm: float) -> float:
        """Clip to `max_norm`, update with learning rate `lr`; returns the norm before clipping."""
        self.reduce_gradients()
        norm = nn.utils.clip_grad_norm_(self.parameters, max_norm)
        self.muon.step(lr, self.weight_decay)
        for group in self.adam.param_groups:
            group["lr"] = lr
        self.adam.step()
        for parameter in self.parameters:
            parameter.grad = None
        return float(norm)

    def state(self) -> dict[str, Any]:
        """All that a resume needs."""
        return {"momentum": self.muon.momentum, "adam": self.adam.state_dict()}

    @torch.no_grad()
    def restore(self, state: dict[str, Any]) -> None:
        """Go on from a `state`. Raises RuntimeError or ValueError if it is of another model."""
        for momentum, stored in zip(self.muon.momentum, state["momentum"], strict=True):
            momentum.copy_(stored)
        self.adam.load_state_dict(state["adam"])
