"""What the stages of a training differ in: the model, what of it is trained, and its losses."""

from __future__ import annotations

from sllm_export.config import ModelConfig

from .batches import Batch
from .model import SentenceVae, Sllm, TrainedModel
from .objective import Sums, Weights, expected_sums, reconstruct, train_batch
from .options import Options


class Joint:
    """Everything at once, from random weights: reconstruction, next sentence, stop head."""

    losses: tuple[str, ...] = ("reconstruction", "next_sentence", "stop")

    def __init__(self, options: Options) -> None:
        self.options = options
        self.weights = Weights(
            reconstruction=options.reconstruction_weight,
            repetition=options.repetition_weight,
            focal_gamma=_focal_gamma(options),
        )

    def build(self, config: ModelConfig) -> TrainedModel:
        """A new model; what stays as it is needs no gradient."""
        return Sllm(config, self.options.dropout)

    def expected(self, batch: Batch) -> Sums:
        """The numbers that `train` divides by, before it runs."""
        return expected_sums(batch)

    def tokens(self, sums: Sums) -> int:
        """The tokens of text that these sums are of."""
        return sums.following_tokens

    def train(self, model: TrainedModel, batch: Batch, scale: Sums) -> Sums:
        """Accumulate the gradients of one batch; `scale` is `expected` over all processes."""
        return train_batch(model, batch, self.weights, scale, self.options.autocast())


class NextSentence(Joint):
    """The original's second stage: next sentence and stop head, nothing is reconstructed."""

    losses = ("next_sentence", "stop")

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


class Reconstruction(Joint):
    """The original's first stage: each sentence by itself, from its own vector."""

    losses = ("reconstruction",)

    def build(self, config: ModelConfig) -> SentenceVae:
        return SentenceVae(config)

    def expected(self, batch: Batch) -> Sums:
        groups = [*batch.groups, *batch.joined]
        return Sums(reconstruction_tokens=sum(int((g.lengths + 1).sum()) for g in groups))

    def tokens(self, sums: Sums) -> int:
        return sums.reconstruction_tokens

    def train(self, model: TrainedModel, batch: Batch, scale: Sums) -> Sums:
        sums, factor = Sums(), 1 / max(1, scale.reconstruction_tokens)
        gamma, amp = self.weights.focal_gamma, self.options.autocast()
        for group in [*batch.groups, *batch.joined]:
            sums.add(reconstruct(model, group, factor, gamma, amp))
        return sums


STAGES: dict[str, type[Joint]] = {"joint": Joint, "svae": Reconstruction, "sllm": NextSentence}


def _focal_gamma(options: Options) -> float:
    return options.focal_gamma if options.loss == "focal" else 0.0
