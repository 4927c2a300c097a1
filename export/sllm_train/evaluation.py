"""What `metrics.jsonl` says of a model: all figures on each validation text."""

from __future__ import annotations

from typing import Any

import torch
from tokenizers import Tokenizer

from sllm_export.config import ModelConfig

from .batches import Window
from .bpe import token_sizes
from .continuations import degenerate_share
from .metrics import evaluate
from .model import SentenceVae, Sllm
from .token_model import TokenModel
from .token_objective import evaluate_tokens

CONTINUED_RECORDS = 40
TrainedModel = Sllm | SentenceVae | TokenModel


class Evaluation:
    """Evaluates a model on the same windows each time. The first text decides which weights are
    kept."""

    def __init__(
        self,
        config: ModelConfig,
        windows: dict[str, list[Window]],
        tokenizer: Tokenizer,
        amp: torch.autocast,
    ) -> None:
        self.config, self.windows, self.tokenizer, self.amp = config, windows, tokenizer, amp
        self.token_bytes = token_sizes(tokenizer, config.vocab_size)

    def __call__(self, model: TrainedModel) -> dict[str, Any]:
        reports = {name: self._report(model, windows) for name, windows in self.windows.items()}
        first, *others = reports
        report = reports[first]
        if isinstance(model, Sllm):
            windows = self.windows[first][:CONTINUED_RECORDS]
            report["degenerate"] = degenerate_share(model, self.config, windows, self.tokenizer)
        if others:
            report["others"] = {name: reports[name] for name in others}
        return report

    def _report(self, model: TrainedModel, windows: list[Window]) -> dict[str, Any]:
        config = self.config
        report: dict[str, Any]
        if isinstance(model, TokenModel):
            longest = config.require_backbone().max_positions
            report = evaluate_tokens(
                model, windows, config.tokens, longest, self.token_bytes, self.amp
            )
        else:
            report = evaluate(model, windows, config.tokens, self.token_bytes, self.amp)
        return report
