"""What the stages of a training differ in: the model, what of it is trained, and its losses."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Generic, Protocol, TypeVar

import numpy as np

from sllm_export.config import ModelConfig

from .batches import Batch, Window, augment_repetition, collate, join_neighbours
from .model import SentenceVae, Sllm
from .objective import Sums, Weights, expected_sums, reconstruct, train_batch
from .options import Options
from .rollout import roll_out
from .token_model import TokenModel
from .token_objective import TokenBatch, collate_tokens, train_tokens

ModelT = TypeVar("ModelT", Sllm, SentenceVae, TokenModel)
BatchT = TypeVar("BatchT", Batch, TokenBatch)


class Stage(Protocol[ModelT, BatchT]):
    """What the training loop needs of a stage."""

    losses: tuple[str, ...]
    """The losses that are logged, by their names in `Sums.means`."""

    def build(self, config: ModelConfig) -> ModelT:
        """Make a new model; its frozen parameters require no gradient."""

    def batch(
        self,
        model: ModelT,
        config: ModelConfig,
        windows: list[Window],
        random: np.random.Generator,
    ) -> BatchT:
        """Make the batch of one step from windows of the corpora."""

    def expected(self, batch: BatchT) -> Sums:
        """The numbers that `train` divides by, before it runs."""

    def tokens(self, sums: Sums) -> int:
        """The tokens of text that these sums are of."""

    def train(self, model: ModelT, batch: BatchT, scale: Sums) -> Sums:
        """Accumulate the gradients of one batch; `scale` is `expected` over all processes."""


class _SentenceStage(Generic[ModelT]):
    """Batches and weights of the stages that train sentence-level models."""

    def __init__(self, options: Options) -> None:
        self.options = options
        self.weights = Weights(
            reconstruction=options.reconstruction_weight,
            reconstruction_share=options.reconstruction_share,
            latent_noise=options.latent_noise,
            condition_dropout=options.condition_dropout,
            distillation=options.distillation_weight,
            unlikelihood=options.unlikelihood_weight,
            focal_gamma=_focal_gamma(options),
        )

    def batch(
        self,
        model: ModelT,
        config: ModelConfig,
        windows: list[Window],
        random: np.random.Generator,
    ) -> Batch:
        """What one step is trained on: the windows, augmented, and long sentences made of them."""
        options = self.options
        windows = augment_repetition(
            windows, options.repetition_share, config.max_sentences or len(windows), random
        )
        if isinstance(model, Sllm):
            with options.autocast():
                windows = roll_out(model, windows, options.rollout_share, config.tokens, random)
        extra = int(options.joined_share * sum(window.tokens for window in windows))
        joined = join_neighbours(windows, extra, config.max_sentence_tokens - 1, random)
        return collate(windows, config.tokens, options.group_tokens, joined)


class Joint(_SentenceStage[Sllm]):
    """Everything at once, from random weights: reconstruction, next sentence, stop head."""

    losses: tuple[str, ...] = ("reconstruction", "next_sentence", "stop")

    def build(self, config: ModelConfig) -> Sllm:
        return Sllm(config, self.options.dropout)

    def expected(self, batch: Batch) -> Sums:
        return expected_sums(batch, self.weights)

    def tokens(self, sums: Sums) -> int:
        return sums.following_tokens

    def train(self, model: Sllm, batch: Batch, scale: Sums) -> Sums:
        return train_batch(model, batch, self.weights, scale, self.options.autocast())


class NextSentence(Joint):
    """The original's second stage: next sentence and stop head, nothing is reconstructed."""

    losses: tuple[str, ...] = ("next_sentence", "stop")

    def __init__(self, options: Options) -> None:
        super().__init__(options)
        self.weights.reconstruction = None
        self.weights.stop = 1.0

    def build(self, config: ModelConfig) -> Sllm:
        model = Sllm(config, self.options.dropout)
        if self.options.freeze_svae:
            model.svae.requires_grad_(False)
        if (outer := self.options.outer_layers) is not None:
            for layer in model.llm_layers[outer : len(model.llm_layers) - outer]:
                layer.requires_grad_(False)
        return model


class ContextBias(NextSentence):
    """The context bias of a trained model, and nothing else."""

    losses: tuple[str, ...] = ("next_sentence",)

    def build(self, config: ModelConfig) -> Sllm:
        model = Sllm(config)
        model.requires_grad_(False)
        bias = model.svae.decoder.context_bias
        assert bias is not None, "check_trainable refuses a configuration without it"
        bias.requires_grad_(True)
        return model


class Reconstruction(_SentenceStage[SentenceVae]):
    """The original's first stage: each sentence by itself, from its own vector."""

    losses: tuple[str, ...] = ("reconstruction",)

    def build(self, config: ModelConfig) -> SentenceVae:
        return SentenceVae(config)

    def expected(self, batch: Batch) -> Sums:
        groups = [*batch.groups, *batch.joined]
        return Sums(reconstruction_tokens=sum(int((g.lengths + 1).sum()) for g in groups))

    def tokens(self, sums: Sums) -> int:
        return sums.reconstruction_tokens

    def train(self, model: SentenceVae, batch: Batch, scale: Sums) -> Sums:
        sums, factor = Sums(), 1 / max(1, scale.reconstruction_tokens)
        amp = self.options.autocast()
        for group in [*batch.groups, *batch.joined]:
            sums.add(reconstruct(model, group, factor, self.weights, amp))
        return sums


class TokenLevel:
    """The baseline: a token-level OPT model, from random weights."""

    losses: tuple[str, ...] = ("next_token",)

    def __init__(self, options: Options) -> None:
        self.options = options

    def build(self, config: ModelConfig) -> TokenModel:
        return TokenModel(config, self.options.dropout)

    def batch(
        self,
        model: TokenModel,
        config: ModelConfig,
        windows: list[Window],
        random: np.random.Generator,
    ) -> TokenBatch:
        """The windows as sequences of tokens."""
        longest = config.require_backbone().max_positions
        return collate_tokens(windows, config.tokens, longest, self.options.group_tokens)

    def expected(self, batch: TokenBatch) -> Sums:
        return Sums(following_tokens=batch.tokens)

    def tokens(self, sums: Sums) -> int:
        return sums.following_tokens

    def train(self, model: TokenModel, batch: TokenBatch, scale: Sums) -> Sums:
        return train_tokens(model, batch, scale, self.options.autocast())


# Each stage makes its own models and batches, so the loop does not depend on their types.
STAGES: dict[str, Callable[[Options], Stage[Any, Any]]] = {
    "joint": Joint,
    "svae": Reconstruction,
    "sllm": NextSentence,
    "context-bias": ContextBias,
    "opt": TokenLevel,
}


def _focal_gamma(options: Options) -> float:
    return options.focal_gamma if options.loss == "focal" else 0.0
