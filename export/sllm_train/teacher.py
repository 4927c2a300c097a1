"""A token-level model that teaches a sentence-level one (`--teacher`)."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from sllm_export.config import ModelConfig, parse_config
from sllm_export.errors import ExportError

from .batches import Window
from .folder import TOKENIZER_FILE, TRAINING_FILE
from .initial import InitialWeights
from .options import WITH_BACKBONE, Options
from .soft_targets import TaughtSentences
from .state import WEIGHTS_FILE
from .token_model import TokenModel
from .token_objective import sequence

GROUP_TOKENS = 2048


class Teacher:
    """Reads whole windows, as its own training did, up to its last position."""

    def __init__(self, model: TokenModel, config: ModelConfig, amp: torch.autocast) -> None:
        self.model, self.config, self.amp = model.eval().requires_grad_(False), config, amp
        self.positions = config.require_backbone().max_positions
        self.bias = torch.zeros(config.vocab_size, device=model.output.device)
        self.bias[list(vars(config.tokens).values())] = -math.inf

    @classmethod
    def of_training(cls, folder: Path, student: ModelConfig, options: Options) -> Teacher:
        """The model of a training of stage `opt`; refused where its vocabulary, special tokens or
        sentences are not those of the `student`. The tokenizer is `obtain_tokenizer`'s to check."""
        path = folder / TRAINING_FILE
        try:
            stored = json.loads(path.read_text(encoding="utf-8"))
            config = parse_config(stored["config"], str(path))
            rule = dict(stored.get("options", {})).get("segmentation", Options.segmentation)
        except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
            raise ExportError(f"{path}: is damaged: {error!r}") from error
        if config.kind != "opt":
            raise ExportError(f"{folder}: is no training of --stage opt, its kind is {config.kind}")
        if rule != options.segmentation:
            raise ExportError(
                f"{folder}: its --segmentation is {json.dumps(rule)}, that of this training "
                f"{json.dumps(options.segmentation)}"
            )
        if config.tokens != student.tokens:
            raise ExportError(f"{folder}: its special tokens are not the configuration's")
        if config.vocab_size != student.vocab_size:
            raise ExportError(
                f"{folder}: its vocab_size is {config.vocab_size}, the configuration's "
                f"{student.vocab_size}"
            )
        model = TokenModel(config)
        InitialWeights.of_checkpoint(config, folder / WEIGHTS_FILE).fill(model)
        return cls(model.to(options.device), config, options.autocast())

    @property
    def output(self) -> Tensor:
        """Its output projection [V, E]."""
        return self.model.output

    @torch.no_grad()
    def read(self, windows: list[Window]) -> list[Window]:
        """The windows, each with the states from which this model predicts their tokens."""
        order = sorted(range(len(windows)), key=lambda number: -windows[number].tokens)
        taught = list(windows)
        while order:
            width = min(windows[order[0]].tokens, self.positions)
            count = max(1, GROUP_TOKENS // width)
            group, order = order[:count], order[count:]
            states = self._states([windows[number] for number in group])
            for number, row in zip(group, states, strict=True):
                lengths = torch.tensor([len(sentence) for sentence in windows[number].sentences])
                ends = lengths.cumsum(0).clamp(max=len(row))
                starts = torch.cat([ends.new_zeros(1), ends]).to(row.device)
                said = TaughtSentences(row[: int(ends[-1])], starts, self.output, self.bias)
                taught[number] = replace(windows[number], taught=said)
        return taught

    def _states(self, windows: list[Window]) -> Tensor:
        """States [n, T, E] of bos and the windows' tokens; padding comes last, nothing sees it."""
        tokens = self.config.tokens
        rows = [sequence(window, tokens, self.positions)[:-1] for window in windows]
        ids = np.full((len(rows), max(map(len, rows))), tokens.pad, np.int64)
        for row, values in enumerate(rows):
            ids[row, : len(values)] = values
        with self.amp:
            return self.model.states(torch.from_numpy(ids).to(self.output.device)).float()


def check_teacher(folder: Path | None, options: Options) -> None:
    """Refuses what a teacher has no effect on, and what has none without one."""
    if not folder:
        if options.distillation_weight != Options.distillation_weight:
            raise ExportError("--distillation-weight has no effect without --teacher")
        return
    if options.stage not in WITH_BACKBONE:
        allowed = " or ".join(f"--stage {stage}" for stage in WITH_BACKBONE)
        raise ExportError(f"--teacher has no effect in --stage {options.stage} (only {allowed})")
    if options.distillation_weight == 0:
        raise ExportError("--teacher has no effect with --distillation-weight 0")
    if options.loss == "focal":
        raise ExportError("--teacher has no effect with --loss focal")
    for name in (WEIGHTS_FILE, TRAINING_FILE, TOKENIZER_FILE):
        if not (folder / name).is_file():
            raise ExportError(f"{folder / name}: no such file")
