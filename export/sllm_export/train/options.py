"""The settings of a training, each with its help text and the values that it may have."""

from __future__ import annotations

import math
from dataclasses import MISSING, dataclass, field
from typing import Any

import torch

PRECISIONS = ("bf16", "fp32")


@dataclass(frozen=True)
class Setting:
    """What the command line says about a field and checks of it; `high` is not included."""

    help: str
    low: float = 0
    high: float = math.inf
    choices: tuple[str, ...] | None = None


def _setting(text: str, default: Any = MISSING, **limits: Any) -> Any:
    return field(default=default, metadata={"setting": Setting(text, **limits)})


@dataclass
class Options:
    """Settings of one training; what it gives depends on them, the model and the corpora."""

    steps: int = _setting("updates in all, those before a resume included", low=1)
    batch_tokens: int = _setting("tokens of one step, that of all processes together", 8192, low=1)
    group_tokens: int = _setting(
        "tokens whose logits are in memory at a time; more is faster on a GPU", 1024, low=1
    )
    lr: float = _setting("peak learning rate, of Muon and of AdamW", 2e-3, high=10)
    warmup: int = _setting("steps of linear warm-up; a cosine down to 2%% follows", 100)
    weight_decay: float = _setting("weight decay of all matrices", 0.01)
    max_norm: float = _setting("gradients are clipped to this norm", 1.0)
    ema: float = _setting(
        "decay of the averaged weights, which are those evaluated and kept", 0.999, high=1
    )
    dropout: float = _setting("dropout in the backbone", 0.0, high=1)
    reconstruction_weight: float = _setting(
        "weight of the reconstruction loss; that of the next sentence is 1", 1.0
    )
    joined_share: float = _setting(
        "tokens of long sentences made of neighbours, to be reconstructed only, per token of text",
        0.0,
    )
    echo_share: float = _setting(
        "share of the records in which a sentence or two are repeated, to learn to go on", 0.0
    )
    own_share: float = _setting(
        "share of the records in which some sentences are the model's own, to learn to go on", 0.0
    )
    repetition_weight: float = _setting(
        "weight of the unlikelihood of saying a sentence again; about 16 is noticed", 0.0
    )
    seed: int = _setting("seed of weights, data order and dropout", 1)
    checkpoint_minutes: float = _setting("minutes between two saves of the state", 5.0)
    evaluate_every: int = _setting("steps between two evaluations", 500, low=1)
    precision: str = _setting("of the layers; weights are fp32", "bf16", choices=PRECISIONS)
    device: str = _setting("cpu, cuda or cuda:N; under torchrun cpu or cuda", "cpu")

    def autocast(self) -> torch.autocast:
        """A new context for mixed precision as `precision` and `device` say."""
        kind = torch.device(self.device).type
        return torch.autocast(kind, dtype=torch.bfloat16, enabled=self.precision == "bf16")
