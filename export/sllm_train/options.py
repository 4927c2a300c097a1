"""The settings of a training, each with its help text and the values that it may have."""

from __future__ import annotations

import math
from dataclasses import MISSING, dataclass, field, fields
from typing import Any

import torch

from sllm_export.errors import ExportError

PRECISIONS = ("bf16", "fp32")
OPTIMIZERS = ("muon", "adamw")
SEGMENTATIONS = ("original", "clauses")
LOSSES = ("cross-entropy", "focal")
STAGES = ("joint", "svae", "sllm", "context-bias", "opt")
RECONSTRUCTING = ("joint", "svae")
WITH_BACKBONE = ("joint", "sllm", "context-bias")
WITH_DROPOUT = ("joint", "sllm", "opt")
_ABOVE_ONE = math.nextafter(1, 2)


@dataclass(frozen=True)
class Setting:
    """What the command line says about a field and checks of it; `high` is not included, and in
    a stage that is not in `stages` only the default is allowed."""

    help: str
    low: float = 0
    high: float = math.inf
    choices: tuple[str, ...] | None = None
    stages: tuple[str, ...] = STAGES


def _setting(text: str, default: Any = MISSING, **limits: Any) -> Any:
    return field(default=default, metadata={"setting": Setting(text, **limits)})


@dataclass
class Options:
    """Settings of one training; what it gives depends on them, the model and the corpora."""

    steps: int | None = _setting(
        "updates in all, those before a resume included (default: as --minutes says)", None, low=1
    )
    minutes: float | None = _setting(
        "minutes of training in all, on a GPU wall-clock time, on CPUs processor time by threads "
        "(default: as --steps says)",
        None,
        low=1e-3,
    )
    stage: str = _setting(
        "joint: all at once from random weights; svae: reconstruction alone (kind svae); sllm: "
        "next sentence and stop head, from --svae and --opt; opt: a token-level model (kind opt), "
        "the baseline, on the same sentences; context-bias: only the context bias of --initial",
        "joint",
        choices=STAGES,
    )
    segmentation: str = _setting(
        "rule that cuts texts into sentences: that of the original, or clauses (with canonical "
        "white space and long sentences split between words)",
        "original",
        choices=SEGMENTATIONS,
    )
    max_text_bytes: int | None = _setting(
        "of a larger --text use every n-th record, so many bytes in all (default: all of it)",
        None,
        low=1,
    )
    substituted_copies: int = _setting("copies of each record of --substituted", 4, low=1)
    loss: str = _setting(
        "of tokens and stop head; what is logged is cross-entropy", "cross-entropy", choices=LOSSES
    )
    focal_gamma: float = _setting("exponent of the focal loss", 2.0)
    optimizer: str = _setting(
        "muon: Muon for the layers' matrices, AdamW for the rest; adamw: AdamW for all",
        "muon",
        choices=OPTIMIZERS,
    )
    freeze_svae: bool = _setting(
        "keep the sentence encoder and decoder as they are", False, stages=("sllm",)
    )
    outer_layers: int | None = _setting(
        "train the first N and the last N backbone layers, keep those between (default: all)",
        None,
        stages=("sllm",),
    )
    batch_tokens: int = _setting("tokens of one step, that of all processes together", 8192, low=1)
    group_tokens: int = _setting(
        "tokens whose logits are in memory at a time; more is faster on a GPU", 1024, low=1
    )
    lr: float = _setting("peak learning rate, of both optimizers", 2e-3, high=10)
    warmup: int = _setting("steps of linear warm-up; then the rate is constant", 100)
    decay: float = _setting(
        "last part of the training, in which the rate falls to 0; what was trained before is kept, "
        "so that a training can be prolonged: give a larger --steps or --minutes",
        0.2,
        high=_ABOVE_ONE,
    )
    weight_decay: float = _setting("weight decay of all matrices", 0.01)
    max_norm: float = _setting("gradients are clipped to this norm", 1.0)
    ema: float = _setting(
        "decay of the averaged weights, which are those evaluated and kept", 0.999, high=1
    )
    dropout: float = _setting("dropout in the backbone", 0.0, high=1, stages=WITH_DROPOUT)
    reconstruction_weight: float = _setting(
        "weight of the reconstruction loss; that of the next sentence is 1", 1.0, stages=("joint",)
    )
    reconstruction_share: float = _setting(
        "share of the sentences that are reconstructed in a step; short ones less",
        1.0,
        high=_ABOVE_ONE,
        stages=("joint",),
    )
    latent_noise: float = _setting(
        "standard deviation of the noise added to the vectors that are reconstructed",
        0.0,
        stages=RECONSTRUCTING,
    )
    condition_dropout: float = _setting(
        "share of the next sentences that are predicted without a context, from a vector of zeros, "
        "as guidance needs it (classifier-free guidance, arXiv 2207.12598)",
        0.0,
        high=1,
        stages=WITH_BACKBONE,
    )
    distillation_weight: float = _setting(
        "weight of the distributions of --teacher in the loss of the next sentence; the text's own "
        "tokens have the rest of 1",
        0.5,
        high=_ABOVE_ONE,
        stages=WITH_BACKBONE,
    )
    joined_share: float = _setting(
        "tokens of long sentences made of neighbours, to be reconstructed only, per token of text",
        0.0,
        stages=RECONSTRUCTING,
    )
    repetition_share: float = _setting(
        "share of the records in which one or two sentences are repeated (repetition augmentation)",
        0.0,
        high=_ABOVE_ONE,
        stages=WITH_BACKBONE,
    )
    rollout_share: float = _setting(
        "share of the records in which some sentences are the model's own (self-rollout)",
        0.0,
        high=_ABOVE_ONE,
        stages=("joint",),
    )
    unlikelihood_weight: float = _setting(
        "weight of the unlikelihood of repeating a sentence; a token to predict weighs 1",
        0.0,
        stages=WITH_BACKBONE,
    )
    seed: int = _setting("seed of weights, data order and dropout", 1)
    # The flag and the training.json of existing folders have this name.
    checkpoint_minutes: float = _setting("minutes between two saves of the state", 5.0)
    evaluate_every: int = _setting("steps between two evaluations", 500, low=1)
    precision: str = _setting("of the layers; weights are fp32", "bf16", choices=PRECISIONS)
    device: str = _setting("cpu, cuda or cuda:N; under torchrun cpu or cuda", "cpu")

    def autocast(self) -> torch.autocast:
        """A new context for mixed precision as `precision` and `device` say."""
        kind = torch.device(self.device).type
        return torch.autocast(kind, dtype=torch.bfloat16, enabled=self.precision == "bf16")

    def check(self) -> None:
        """Refuses what has no effect in the stage, or with the loss."""
        if (self.steps is None) == (self.minutes is None):
            raise ExportError("give either --steps or --minutes")
        if self.loss != "focal" and self.focal_gamma != Options.focal_gamma:
            raise ExportError("--focal-gamma has no effect without --loss focal")
        for option in fields(self):
            stages: tuple[str, ...] = option.metadata["setting"].stages
            if self.stage not in stages and getattr(self, option.name) != option.default:
                allowed = " or ".join(f"--stage {stage}" for stage in stages)
                name = option.name.replace("_", "-")
                raise ExportError(
                    f"--{name} has no effect in --stage {self.stage} (only {allowed})"
                )
