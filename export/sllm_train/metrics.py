"""Evaluation: reconstruction by length, next-sentence perplexity, stop accuracy.

Greedy decoding reproduces a sentence exactly if and only if every argmax under teacher forcing is
right, so one forward pass tells exactness.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from sllm_export.config import Tokens

from .batches import Batch, Group, RecordStream, Window, collate
from .corpus import Corpus
from .model import SentenceVae, Sllm
from .objective import decode_targets, encode_groups, run_backbone

SHORTEST_BIN = 8
LONG_BIN = 2
GROUP_TOKENS = 4096


@dataclass
class Bin:
    """Counts of the sentences of similar length."""

    sentences: int = 0
    exact: int = 0
    tokens: int = 0
    right: int = 0
    bytes: int = 0
    exact_bytes: int = 0


@dataclass
class Tally:
    """Counts of one evaluation. Bin 0 is of 1 to 8 tokens, bin 1 of 9 to 16, bin 2 of 17 to 32,
    and so on, eos not counted."""

    bins: dict[int, Bin] = field(default_factory=dict)
    reconstruction: float = 0.0
    following: float = 0.0
    following_tokens: int = 0
    following_bytes: int = 0
    stop_right: int = 0
    stop_found: int = 0
    ends: int = 0
    asked: int = 0

    def bin(self, length: int) -> Bin:
        """The bin of sentences of `length` tokens."""
        number = ((length - 1) // SHORTEST_BIN).bit_length()
        return self.bins.setdefault(number, Bin())

    def report(self) -> dict[str, Any]:
        """All figures; None where nothing was counted."""
        return {
            **self.reconstruction_report(),
            "loss": _ratio(self.following, self.following_tokens),
            "bits_per_byte": _ratio(self.following / math.log(2), self.following_bytes),
            "next_sentence_perplexity": _perplexity(self.following, self.following_tokens),
            "next_sentence_tokens": self.following_tokens,
            "stop_accuracy": _ratio(self.stop_right, self.asked),
            "stop_recall": _ratio(self.stop_found, self.ends),
        }

    def reconstruction_report(self) -> dict[str, Any]:
        """The figures of a model that only reconstructs."""
        bins = sorted(self.bins.items())
        reconstruction = {
            _bin_name(number): {
                "sentences": b.sentences,
                "exact": b.exact / b.sentences,
                "token_accuracy": b.right / b.tokens,
            }
            for number, b in bins
        }
        long = [b for number, b in bins if number >= LONG_BIN]
        tokens = sum(b.tokens for _, b in bins)
        sentences = sum(b.sentences for _, b in bins)
        return {
            "reconstruction": reconstruction,
            "exact_17_and_more": _ratio(sum(b.exact for b in long), sum(b.sentences for b in long)),
            "round_trip": _ratio(
                sum(b.exact_bytes for _, b in bins), sum(b.bytes for _, b in bins)
            ),
            "tokens_per_sentence": _ratio(tokens - sentences, sentences),
            "loss": _ratio(self.reconstruction, tokens),
            "reconstruction_perplexity": _perplexity(self.reconstruction, tokens),
        }


def _bin_name(number: int) -> str:
    high = SHORTEST_BIN << number
    return f"{high // 2 + 1 if number else 1}-{high}"


def _ratio(part: float, whole: int) -> float | None:
    return part / whole if whole else None


def _perplexity(nats: float, tokens: int) -> float | None:
    return math.exp(nats / tokens) if tokens else None


def draw_windows(corpus: Corpus, records: int, max_sentences: int) -> list[Window]:
    """The same `records` records each time (all of them if there are fewer), each cut to
    `max_sentences` sentences."""
    stream = RecordStream(corpus, 0, max_sentences)
    return [stream.next() for _ in range(min(records, corpus.records))]


@torch.no_grad()
def evaluate(
    model: Sllm | SentenceVae,
    windows: list[Window],
    tokens: Tokens,
    token_bytes: np.ndarray,
    amp: torch.autocast,
) -> dict[str, Any]:
    """Evaluate on `windows`, one at a time; `token_bytes` [vocabulary] is how many bytes of text
    each token has."""
    sllm, svae = (model, model.svae) if isinstance(model, Sllm) else (None, model)
    device = next(model.parameters()).device
    model.eval()
    tally = Tally()
    sizes = torch.from_numpy(token_bytes)
    for window in windows:
        batch = collate([window], tokens, GROUP_TOKENS).to(device)
        with amp:
            vectors = encode_groups(svae, batch.groups)
            _count_reconstruction(svae, batch, vectors, sizes, tally)
            if sllm:
                _count_following(sllm, batch, vectors, sizes, tally)
    model.train()
    return tally.report() if sllm else tally.reconstruction_report()


def _count_reconstruction(
    svae: SentenceVae, batch: Batch, vectors: Tensor, token_bytes: Tensor, tally: Tally
) -> None:
    for group in batch.groups:
        every = torch.arange(len(group.index), device=group.index.device)
        nats, right = _decode(svae, group, every, vectors[group.index])
        tally.reconstruction += nats
        lengths = group.lengths.tolist()
        for length, size, flags in zip(
            lengths,
            _text_bytes(group, token_bytes).tolist(),
            right.split([n + 1 for n in lengths]),
            strict=True,
        ):
            counts = tally.bin(length)
            exact = bool(flags.all())
            counts.sentences += 1
            counts.exact += exact
            counts.bytes += size
            counts.exact_bytes += size * exact
            counts.tokens += len(flags)
            counts.right += int(flags.sum())


def _text_bytes(group: Group, token_bytes: Tensor) -> Tensor:
    """Bytes of text of each sentence [n], on the CPU."""
    targets = group.targets.cpu()
    return (token_bytes[targets.clamp(min=0)] * (targets >= 0)).sum(1)


def _count_following(
    model: Sllm, batch: Batch, vectors: Tensor, token_bytes: Tensor, tally: Tally
) -> None:
    hidden = run_backbone(model, batch, vectors)
    continues = model.fc(hidden).argmax(-1)
    ends = batch.continues == 0
    tally.asked += len(ends)
    tally.ends += int(ends.sum())
    tally.stop_right += int((continues == batch.continues).sum())
    tally.stop_found += int(((continues == 0) & ends).sum())
    for group in batch.groups:
        later = batch.predicted[group.index].nonzero()[:, 0]
        if len(later):
            condition = hidden[group.index[later] - 1].float()
            seen = batch.context.seen_up_to(group.index[later] - 1, len(token_bytes))
            nats, right = _decode(model.svae, group, later, condition, seen)
            tally.following += nats
            tally.following_tokens += len(right)
            tally.following_bytes += int(_text_bytes(group, token_bytes)[later.cpu()].sum())


def _decode(
    svae: SentenceVae, group: Group, rows: Tensor, condition: Tensor, seen: Tensor | None = None
) -> tuple[float, Tensor]:
    """Summed loss of the sentences `rows`, and which tokens are right [tokens], on the CPU."""
    states, targets = decode_targets(svae, group, rows, condition)
    if seen is not None:
        seen = seen.repeat_interleave(group.lengths[rows] + 1, 0)
    logits = svae.decoder.logits(states, seen)
    nats = F.cross_entropy(logits.float(), targets, reduction="sum")
    return float(nats), (logits.argmax(-1) == targets).cpu()
