"""Checkpoints as mmengine's runner saves them, with all that lies beside the weights.

mmengine is not needed: what it pickles are instances of classes of its modules, which are stood
in for while the file is written. Needs PyTorch.
"""

from __future__ import annotations

import sys
from collections import OrderedDict
from pathlib import Path
from types import ModuleType
from typing import Any
from unittest import mock

import numpy as np
import torch
from torch import Tensor

_BUFFER_MODULE = "mmengine.logging.history_buffer"
_AVERAGED = "module."


class HistoryBuffer:
    """Stands for the class of that name, which the runner's message hub is full of."""

    def __init__(self, values: list[float]) -> None:
        self._max_length = 1_000_000
        self._log_history = np.array(values)
        self._count_history = np.ones(len(values))


# A class is pickled by the names that it says it has.
HistoryBuffer.__module__ = _BUFFER_MODULE


def save_mmengine(weights: dict[str, Tensor], path: Path) -> None:
    """Saves the weights as a runner with EMAHook and AdamW does.

    The hook puts the averaged weights under `state_dict` and those of the training under
    `ema_state_dict`, which are to be ignored: here they are other numbers.
    """
    averaged: OrderedDict[str, Any] = OrderedDict(steps=torch.tensor(7))
    averaged |= {_AVERAGED + name: tensor * 2 + 1 for name, tensor in weights.items()}
    first = next(iter(weights.values()))
    content = {
        "meta": {
            "epoch": 0,
            "iter": 7,
            "cfg": "max_iters = 7\n",
            "seed": 0,
            "experiment_name": "tiny",
            "mmengine_version": "0.10.4",
            "dataset_meta": {},
        },
        "state_dict": OrderedDict(weights),
        "message_hub": {
            "log_scalars": OrderedDict({"train/total_loss": HistoryBuffer([3.5, 2.25])}),
            "runtime_info": OrderedDict(iter=7, loop_stage="train"),
            "resumed_keys": OrderedDict({"train/total_loss": True}),
        },
        "optimizer": {
            "state": {0: {"step": torch.tensor(7.0), "exp_avg": torch.zeros_like(first[:1])}},
            "param_groups": [{"lr": 1e-4, "betas": (0.9, 0.999), "params": [0]}],
        },
        "param_schedulers": [{"last_step": 7, "_global_step": 8, "verbose": False}],
        "ema_state_dict": averaged,
    }
    parts = _BUFFER_MODULE.split(".")
    names = [".".join(parts[: count + 1]) for count in range(len(parts))]
    modules = {name: ModuleType(name) for name in names}
    modules[_BUFFER_MODULE].HistoryBuffer = HistoryBuffer  # type: ignore[attr-defined]
    with mock.patch.dict(sys.modules, modules):
        torch.save(content, path)
