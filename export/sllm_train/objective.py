"""The losses of one batch, and their gradients."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from .batches import Batch, Group
from .focal import focal_slope
from .model import SentenceVae, Sllm
from .output_loss import output_loss

MIN_NEGATIVE_TOKENS = 4
NEGATIVE_SHARE = 0.3
MAX_LAG = 3


@dataclass
class Weights:
    """What each loss counts. The first two are means over tokens; nothing is reconstructed where
    `reconstruction` is None. `unlikelihood` weighs the unlikelihood of repeating a sentence
    (arXiv 1908.04319, for whole sentences), with the following tokens as its unit.
    `condition_dropout` is the share of the next sentences that are predicted from zeros.
    `distillation` is what a teacher's distributions weigh, the text's tokens the rest of 1.
    `focal_gamma` makes focal losses of those of tokens and stop head; 0 is cross-entropy."""

    reconstruction: float | None = 1.0
    reconstruction_share: float = 1.0
    latent_noise: float = 0.0
    condition_dropout: float = 0.0
    distillation: float = 0.0
    following: float = 1.0
    stop: float = 0.1
    unlikelihood: float = 0.0
    focal_gamma: float = 0.0


@dataclass
class Sums:
    """Summed negative log-likelihoods (nats) and what they are summed over."""

    reconstruction: float = 0.0
    reconstruction_tokens: int = 0
    following: float = 0.0
    following_tokens: int = 0
    stop: float = 0.0
    sentences: int = 0

    def add(self, other: Sums) -> None:
        """Count `other` in."""
        for name, value in vars(other).items():
            setattr(self, name, getattr(self, name) + value)

    def means(self) -> dict[str, float]:
        """Each loss by its name in `metrics.jsonl`."""
        return {
            "reconstruction": self.reconstruction / max(1, self.reconstruction_tokens),
            "next_sentence": self.following / max(1, self.following_tokens),
            "next_token": self.following / max(1, self.following_tokens),
            "stop": self.stop / max(1, self.sentences),
        }


def keep_probability(lengths: Tensor) -> Tensor:
    """1 from 14 tokens on, less for shorter sentences."""
    return ((lengths + 2) / 16).clamp(max=1)


def keep_for_reconstruction(lengths: Tensor, share: float = 1.0) -> Tensor:
    """Short sentences are learned first: spend less on them."""
    draw = torch.rand(lengths.shape, device=lengths.device)
    return draw < share * keep_probability(lengths)


def encode(model: Sllm, batch: Batch) -> Tensor:
    """All sentences of the batch -> their vectors [n, D], in the batch's order."""
    return encode_groups(model.svae, batch.groups)


def encode_groups(svae: SentenceVae, groups: list[Group]) -> Tensor:
    """All sentences of the groups -> their vectors [n, D], in the order of `Group.index`."""
    parts = [svae.encoder(group.ids, group.targets != -100) for group in groups]
    index = torch.cat([group.index for group in groups])
    vectors = torch.cat(parts)
    return torch.empty_like(vectors).index_copy(0, index, vectors)


def run_backbone(model: Sllm, batch: Batch, vectors: Tensor) -> Tensor:
    """Sentence vectors [n, D] -> hidden [n, D] of the same sentences."""
    places = sum(rows * width for rows, width in batch.grids)
    joined = vectors.new_zeros(places, vectors.shape[1]).index_copy(0, batch.slots, vectors)
    real = torch.zeros(places, dtype=torch.bool, device=vectors.device)
    real[batch.slots] = True
    sizes = [rows * width for rows, width in batch.grids]
    hidden = [
        model.predict(part.unflatten(0, grid), flags.unflatten(0, grid)).flatten(0, 1)
        for part, flags, grid in zip(
            joined.split(sizes), real.split(sizes), batch.grids, strict=True
        )
    ]
    return torch.cat(hidden)[batch.slots]


def decode_targets(
    svae: SentenceVae, group: Group, rows: Tensor, condition: Tensor
) -> tuple[Tensor, Tensor]:
    """Decoder states [tokens, D] and targets [tokens] of `rows`, from `condition` [rows, D].

    The states have the precision that products have under the present autocast.
    """
    states = svae.decoder.states(group.ids[rows], condition)
    targets = group.targets[rows]
    wanted = targets != -100
    return states[wanted].to(precision_of(states.device.type)), targets[wanted]


def train_batch(
    model: Sllm, batch: Batch, weights: Weights, scale: Sums, amp: torch.autocast
) -> Sums:
    """Accumulate the gradients of one batch.

    `scale` holds the numbers of tokens and sentences that the losses are divided by (those of all
    processes). The decoder runs and is differentiated group by group, so that the logits of only
    one group are alive at a time.
    """
    sums = Sums(sentences=len(batch.slots))
    with amp:
        vectors = encode(model, batch)
        hidden = run_backbone(model, batch, vectors)
        stop_logits = model.fc(hidden).float()
        stop_loss = F.cross_entropy(stop_logits, batch.continues, reduction="sum")
    sums.stop = float(stop_loss.detach())
    if weights.focal_gamma:
        nats = F.cross_entropy(stop_logits, batch.continues, reduction="none")
        stop_loss = (nats * focal_slope(nats.detach(), weights.focal_gamma)).sum()
    # Nothing is differentiated below vectors that come from frozen weights.
    vector_leaf = vectors.detach().requires_grad_(vectors.requires_grad)
    hidden_leaf = hidden.detach().requires_grad_(hidden.requires_grad)
    reconstruction_factor = (weights.reconstruction or 0.0) / max(1, scale.reconstruction_tokens)
    following_factor = weights.following / max(1, scale.following_tokens)
    for group in batch.groups:
        kept = choose_reconstructed(group, weights)
        later = batch.predicted[group.index].nonzero()[:, 0]
        again = choose_negatives(group, batch.inserted[group.index], weights)
        negatives_after = group.index[again] + choose_lags(batch.left[group.index[again]])
        preceding = torch.cat([group.index[later] - 1, negatives_after])
        rows = torch.cat([kept, later, again])
        if not len(rows):
            continue
        with amp:
            reconstructed = add_noise(vector_leaf[group.index[kept]], weights.latent_noise)
            keeps = keep_conditions(len(later), weights.condition_dropout, rows.device)
            keeps = F.pad(keeps, (0, len(again)), value=1)[:, None]
            condition = torch.cat([reconstructed, hidden_leaf[preceding] * keeps])
            states, targets = decode_targets(model.svae, group, rows, condition.float())
        tokens = [int((group.lengths[part] + 1).sum()) for part in (kept, later, again)]
        shares = (
            reconstruction_factor,
            following_factor,
            following_factor * weights.unlikelihood,
        )
        factors = torch.cat(
            [
                torch.full((count,), share, device=targets.device)
                for count, share in zip(tokens, shares, strict=True)
            ]
        )
        numbers = torch.arange(len(again), device=targets.device)
        negatives = numbers.repeat_interleave(group.lengths[again] + 1)
        output = output_projection(model.svae)
        added = None
        if (bias := model.svae.decoder.context_bias) is not None:
            seen = batch.context.seen_up_to(preceding, len(output[1])) * keeps
            lengths = group.lengths[torch.cat([later, again])] + 1
            with amp:
                added = bias(states[tokens[0] :], seen.repeat_interleave(lengths, 0))
            added = F.pad(added, (0, 0, tokens[0], 0)).to(states.dtype)
        soft = None
        if batch.taught:
            taught = batch.taught.select(group.index[later])
            soft = taught.soft_targets(group.lengths[later] + 1, first=tokens[0])
        losses = output_loss(
            states,
            output,
            targets,
            factors,
            negatives,
            weights.focal_gamma,
            soft,
            weights.distillation,
            added,
        )
        if losses.requires_grad:
            losses.sum().backward()
        reconstruction, following, _ = losses.detach().split(tokens)
        sums.reconstruction += float(reconstruction.sum())
        sums.following += float(following.sum())
        sums.reconstruction_tokens += tokens[0]
        sums.following_tokens += tokens[1]
    leaves = ((vectors, vector_leaf), (hidden, hidden_leaf))
    # No gradient where no group had a row to decode, or what a vector is made by is frozen.
    roots: list[tuple[Tensor, Tensor | None]] = [
        (root, leaf.grad) for root, leaf in leaves if leaf.grad is not None
    ]
    if stop_loss.requires_grad:
        roots.append((stop_loss * (weights.stop / scale.sentences), None))
    if roots:
        torch.autograd.backward([root for root, _ in roots], [gradient for _, gradient in roots])
    for group in batch.joined:
        sums.add(reconstruct(model.svae, group, reconstruction_factor, weights, amp))
    return sums


def add_noise(vectors: Tensor, deviation: float) -> Tensor:
    """Gaussian noise on sentence vectors, whose channels are about 1 in size."""
    return vectors + deviation * torch.randn_like(vectors) if deviation else vectors


def keep_conditions(count: int, drop_share: float, device: torch.device) -> Tensor:
    """1 [count], and 0 for `drop_share` of them, whose sentences are predicted from zeros: the
    decoder learns what sentences there are without a context, which is what guidance leads away
    from (arXiv 2207.12598)."""
    if not drop_share:
        return torch.ones(count, device=device)
    return (torch.rand(count, device=device) >= drop_share).float()


def reconstruct(
    svae: SentenceVae, group: Group, factor: float, weights: Weights, amp: torch.autocast
) -> Sums:
    """Accumulate the gradients of reconstructing every sentence of the group, each token's loss
    multiplied by `factor`."""
    latent_noise, focal_gamma = weights.latent_noise, weights.focal_gamma
    with amp:
        condition = add_noise(svae.encoder(group.ids, group.targets != -100), latent_noise)
        every = torch.arange(len(group.lengths), device=group.lengths.device)
        states, targets = decode_targets(svae, group, every, condition)
    factors = torch.full(targets.shape, factor, device=targets.device)
    none = factors.new_zeros(0, dtype=torch.long)
    losses = output_loss(states, output_projection(svae), targets, factors, none, focal_gamma)
    losses.sum().backward()
    total = float(losses.detach().sum())
    return Sums(reconstruction=total, reconstruction_tokens=len(losses))


def output_projection(svae: SentenceVae) -> tuple[Tensor, Tensor]:
    """Weight [vocabulary, D] and bias [vocabulary] of the decoder's output projection."""
    linear = svae.decoder.linear
    return linear.weight, linear.bias


def precision_of(device_type: str) -> torch.dtype:
    """What matrix products are computed in under the present autocast."""
    enabled = torch.is_autocast_enabled(device_type)
    return torch.get_autocast_dtype(device_type) if enabled else torch.float32


def choose_reconstructed(group: Group, weights: Weights) -> Tensor:
    """Rows of the sentences to reconstruct in this step."""
    if weights.reconstruction is None:
        return group.lengths.new_zeros(0)
    return keep_for_reconstruction(group.lengths, weights.reconstruction_share).nonzero()[:, 0]


def choose_negatives(group: Group, inserted: Tensor, weights: Weights) -> Tensor:
    """Rows of the unlikelihood negatives: of the sentences that are long enough all that were
    inserted into the text (`inserted` [n]), and some of the text's own."""
    if weights.unlikelihood == 0:
        return group.lengths.new_zeros(0)
    chosen = torch.rand(group.lengths.shape, device=group.lengths.device) < NEGATIVE_SHARE
    chosen |= inserted
    return (chosen & (group.lengths >= MIN_NEGATIVE_TOKENS)).nonzero()[:, 0]


def choose_lags(left: Tensor) -> Tensor:
    """How many sentences later each negative shall not come again: at once for about half of
    them, else up to `MAX_LAG` later; `left` [n] is how many there are."""
    lags = (torch.rand(left.shape, device=left.device) * 2 * MAX_LAG).long() - MAX_LAG + 1
    return torch.where(lags > left, 0, lags.clamp(min=0))


def expected_sums(batch: Batch, weights: Weights) -> Sums:
    """The numbers of tokens that `train_batch` divides by, before it runs."""
    share = weights.reconstruction_share
    sums = Sums(sentences=len(batch.slots))
    for group in batch.groups:
        tokens = group.lengths + 1
        sums.reconstruction_tokens += int((tokens * share * keep_probability(group.lengths)).sum())
        sums.following_tokens += int(tokens[batch.predicted[group.index]].sum())
    for group in batch.joined:
        sums.reconstruction_tokens += int((group.lengths + 1).sum())
    return sums
