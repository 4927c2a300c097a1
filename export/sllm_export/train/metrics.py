"""Evaluation: reconstruction by length, next-sentence perplexity, stop accuracy.

Greedy decoding reproduces a sentence exactly if and only if every argmax under teacher forcing is
right, so one forward pass tells exactness.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch.nn import functional as F

from .batches import Batch, RecordStream, collate
from .corpus import Corpus
from .model import Sllm
from .objective import decode_targets, encode, run_backbone

LENGTH_BINS = ((1, 8), (9, 16), (17, 32), (33, 64))


class Tally:
    """Counts of one evaluation, by length bin where it says so."""

    def __init__(self) -> None:
        bins = len(LENGTH_BINS)
        self.sentences, self.exact = [0] * bins, [0] * bins
        self.tokens, self.right = [0] * bins, [0] * bins
        self.reconstruction = self.following = 0.0
        self.following_tokens = self.text_tokens = 0
        self.stop_right = self.stop_found = self.ends = self.asked = 0

    def report(self) -> dict[str, Any]:
        report: dict[str, Any] = {"reconstruction": {}}
        for number, (low, high) in enumerate(LENGTH_BINS):
            if count := self.sentences[number]:
                report["reconstruction"][f"{low}-{high}"] = {
                    "sentences": count,
                    "exact": self.exact[number] / count,
                    "token_accuracy": self.right[number] / self.tokens[number],
                }
        long = sum(self.sentences[2:])
        report["exact_17_and_more"] = sum(self.exact[2:]) / long if long else None
        report["reconstruction_perplexity"] = math.exp(self.reconstruction / sum(self.tokens))
        report["next_sentence_perplexity"] = math.exp(self.following / self.following_tokens)
        report["next_sentence_tokens"] = self.following_tokens
        report["stop_accuracy"] = self.stop_right / self.asked
        report["stop_recall"] = self.stop_found / self.ends if self.ends else None
        return report


@torch.no_grad()
def evaluate(
    model: Sllm, corpus: Corpus, config: dict[str, Any], records: int, amp: torch.autocast
) -> dict[str, Any]:
    """Evaluate on the first `records` records, each cut to `max_sentences` sentences."""
    model.eval()
    tally = Tally()
    following_bytes = 0
    for window in _windows(corpus, records, config["max_sentences"]):
        batch = collate([window], config, group_tokens=4096)
        with amp:
            _count(model, batch, tally)
    model.train()
    return tally.report()


def _windows(corpus: Corpus, records: int, max_sentences: int):
    stream = RecordStream(corpus, 0, max_sentences)
    for _ in range(min(records, corpus.records)):
        yield stream.next()


def _count(model: Sllm, batch: Batch, tally: Tally) -> None:
    vectors = encode(model, batch)
    hidden = run_backbone(model, batch, vectors)
    continues = model.fc(hidden).argmax(-1)
    ends = batch.continues == 0
    tally.asked += len(ends)
    tally.ends += int(ends.sum())
    tally.stop_right += int((continues == batch.continues).sum())
    tally.stop_found += int(((continues == 0) & ends).sum())
    for group in batch.groups:
        every = torch.arange(len(group.index))
        states, targets = decode_targets(model, group, every, vectors[group.index])
        logits = model.svae.decoder.linear(states)
        tally.reconstruction += float(F.cross_entropy(logits.float(), targets, reduction="sum"))
        right = (logits.argmax(-1) == targets).split((group.lengths + 1).tolist())
        for length, flags in zip(group.lengths.tolist(), right, strict=True):
            number = next(n for n, (_, high) in enumerate(LENGTH_BINS) if length <= high)
            tally.sentences[number] += 1
            tally.exact[number] += bool(flags.all())
            tally.tokens[number] += len(flags)
            tally.right[number] += int(flags.sum())
        later = batch.predicted[group.index].nonzero()[:, 0]
        if len(later):
            condition = hidden[group.index[later] - 1].float()
            states, targets = decode_targets(model, group, later, condition)
            logits = model.svae.decoder.linear(states)
            tally.following += float(F.cross_entropy(logits.float(), targets, reduction="sum"))
            tally.following_tokens += len(targets)
