"""From corpora to training batches: whole records, their sentences grouped by length.

Every process draws the same global batches from the same seeds and keeps its share, so the state
of the data is one cursor per corpus.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from sllm_export.config import Tokens

from .context_tokens import ContextTokens
from .corpus import Corpus
from .soft_targets import TaughtSentences

BACKBONE_GRIDS = 4
SHORTEST_JOINED = 14


@dataclass
class Window:
    """Consecutive sentences of one record; `ends` says whether the record ends with them.
    `inserted` are the places of sentences that are not the text's own: they are no targets.
    `taught` is what a teacher says of the sentences."""

    sentences: list[np.ndarray]
    ends: bool
    inserted: frozenset[int] = frozenset()
    taught: TaughtSentences | None = None

    @property
    def tokens(self) -> int:
        """Tokens to predict, the eos of each sentence included."""
        return sum(map(len, self.sentences)) + len(self.sentences)


@dataclass
class Group:
    """Sentences of similar length. `ids` [n, T] start with bos; `targets` [n, T] end with eos and
    are -100 where there is none; `index` [n] numbers the sentences within the batch."""

    ids: Tensor
    targets: Tensor
    index: Tensor
    lengths: Tensor

    def to(self, device: torch.device) -> Group:
        """The group on `device`."""
        return Group(**{name: value.to(device) for name, value in vars(self).items()})


@dataclass
class Batch:
    """`groups` hold each sentence of the batch once; `joined` are long ones made of neighbours, to
    be reconstructed only. `grids` are the [records, sentences] shapes that the backbone runs on,
    records of similar length in one; `slots` [n] place the batch's sentences in all grids,
    flattened and joined; `predicted` [n] marks those that follow from the sentence before them;
    `inserted` [n] those that are not the text's own; `left` [n] counts those that come after them
    in their window; `continues` [n] is the stop head's target: 0 where the record ends with that
    sentence, else 1; `context` is which tokens come before; `taught` is what a teacher says of
    the sentences."""

    groups: list[Group]
    joined: list[Group]
    grids: list[tuple[int, int]]
    slots: Tensor
    predicted: Tensor
    inserted: Tensor
    left: Tensor
    continues: Tensor
    context: ContextTokens
    taught: TaughtSentences | None = None

    def to(self, device: torch.device) -> Batch:
        """The batch on `device`."""
        return Batch(
            groups=[group.to(device) for group in self.groups],
            joined=[group.to(device) for group in self.joined],
            grids=self.grids,
            slots=self.slots.to(device),
            predicted=self.predicted.to(device),
            inserted=self.inserted.to(device),
            left=self.left.to(device),
            continues=self.continues.to(device),
            context=self.context.to(device),
            taught=self.taught and self.taught.to(device),
        )


class RecordStream:
    """Windows of one corpus for ever: each epoch visits every record once, in a new order."""

    def __init__(self, corpus: Corpus, seed: int, max_sentences: int) -> None:
        self.corpus, self.seed, self.max_sentences = corpus, seed, max_sentences
        self.cursor = 0
        self._epoch, self._order = -1, np.empty(0, np.int64)

    def next(self) -> Window:
        """The next record, or a random part of it if it is too long."""
        epoch, place = divmod(self.cursor, self.corpus.records)
        if epoch != self._epoch:
            order = np.random.default_rng((self.seed, epoch)).permutation(self.corpus.records)
            self._epoch, self._order = epoch, order
        start, end = self.corpus.record_starts[self._order[place] :][:2]
        first, last = start, end
        if end - start > self.max_sentences:
            draw = np.random.default_rng((self.seed, 1, self.cursor))
            first = draw.integers(start, end - self.max_sentences, endpoint=True)
            last = first + self.max_sentences
        self.cursor += 1
        sentences = [self.corpus.sentence(i) for i in range(first, last)]
        return Window(sentences, ends=bool(last == end))


class MixedStream:
    """Draws windows from several corpora in fixed proportions of their tokens."""

    def __init__(self, corpora: list[tuple[Corpus, float]], seed: int, max_sentences: int) -> None:
        self.streams = [
            RecordStream(corpus, seed + number, max_sentences)
            for number, (corpus, _) in enumerate(corpora)
        ]
        self.weights = [weight for _, weight in corpora]
        self.drawn = [0] * len(corpora)

    def next(self) -> Window:
        """A window of the corpus that is furthest behind its share."""
        owed = [drawn / weight for drawn, weight in zip(self.drawn, self.weights, strict=True)]
        choice = owed.index(min(owed))
        window = self.streams[choice].next()
        self.drawn[choice] += window.tokens
        return window

    def next_share(self, batch_tokens: int, rank: int, world: int) -> list[Window]:
        """This process's part of the next `batch_tokens` tokens, balanced over the processes."""
        windows: list[Window] = []
        total = 0
        while total < batch_tokens or len(windows) < world:
            windows.append(self.next())
            total += windows[-1].tokens
        shares: list[list[Window]] = [[] for _ in range(world)]
        loads = [0] * world
        for window in sorted(windows, key=lambda w: -w.tokens):
            lightest = loads.index(min(loads))
            shares[lightest].append(window)
            loads[lightest] += window.tokens
        return shares[rank]

    def token_shares(self, vocab_size: int) -> Tensor:
        """How often each token occurs, [vocabulary], 1 in all."""
        shares = torch.zeros(vocab_size)
        for stream, weight in zip(self.streams, self.weights, strict=True):
            tokens = stream.corpus.tokens
            counts = torch.from_numpy(np.bincount(tokens, minlength=vocab_size))
            shares += weight * counts / max(1, len(tokens))
        return shares / sum(self.weights)

    def state(self) -> dict[str, list[int]]:
        """Where the stream stands."""
        return {"cursors": [s.cursor for s in self.streams], "drawn": list(self.drawn)}

    def restore(self, state: dict[str, list[int]]) -> None:
        """Go on from a `state`. Raises ValueError if it is of another number of corpora."""
        self.drawn = list(state["drawn"])
        for stream, cursor in zip(self.streams, state["cursors"], strict=True):
            stream.cursor = cursor


def augment_repetition(
    windows: list[Window], share: float, max_sentences: int, random: np.random.Generator
) -> list[Window]:
    """Repeat one or two sentences within this share of the windows: a model that has repeated
    itself learns to go on."""
    augmented = [_repeat_block(w, random) if random.random() < share else w for w in windows]
    return [
        new if len(new.sentences) <= max_sentences else old
        for old, new in zip(windows, augmented, strict=True)
    ]


def _repeat_block(window: Window, random: np.random.Generator) -> Window:
    block, copies = int(random.integers(1, 3)), int(random.integers(1, 3))
    if len(window.sentences) <= block:
        return window
    start = int(random.integers(len(window.sentences) - block))
    after = start + block
    order = [
        *range(after),
        *list(range(start, after)) * copies,
        *range(after, len(window.sentences)),
    ]
    sentences = [window.sentences[number] for number in order]
    inserted = frozenset(range(after, after + block * copies))
    taught = window.taught and window.taught.select(torch.tensor(order))
    return Window(sentences, window.ends, inserted, taught)


def join_neighbours(
    windows: list[Window], tokens: int, longest: int, random: np.random.Generator
) -> list[np.ndarray]:
    """Parts of `SHORTEST_JOINED` to `longest` tokens of concatenated neighbours, together about
    `tokens` tokens: long sentences are rare in simple text, and the last positions would hardly be
    trained."""
    if longest < SHORTEST_JOINED:
        return []
    joined: list[np.ndarray] = []
    total = 0
    for _ in range(tokens // SHORTEST_JOINED):
        sentences = windows[random.integers(len(windows))].sentences
        first = int(random.integers(len(sentences)))
        wanted = int(random.integers(SHORTEST_JOINED, longest, endpoint=True))
        part = np.concatenate(sentences[first : first + wanted])[:wanted]
        if len(part) == wanted:
            joined.append(part)
            total += wanted
        if total >= tokens:
            break
    return joined


def collate(
    windows: list[Window],
    tokens: Tokens,
    group_tokens: int,
    joined: list[np.ndarray] | None = None,
) -> Batch:
    """Group the sentences of `windows` by length; a group holds up to `group_tokens` tokens."""
    windows = sorted(windows, key=lambda w: len(w.sentences))
    grids: list[tuple[int, int]] = []
    slots: list[int] = []
    predicted: list[bool] = []
    inserted: list[bool] = []
    left: list[int] = []
    continues: list[int] = []
    offset = 0
    for part in np.array_split(np.arange(len(windows)), min(BACKBONE_GRIDS, len(windows))):
        rows = [windows[i] for i in part]
        width = len(rows[-1].sentences)
        grids.append((len(rows), width))
        for window in rows:
            count = len(window.sentences)
            slots += range(offset, offset + count)
            predicted += [place > 0 and place not in window.inserted for place in range(count)]
            inserted += [place in window.inserted for place in range(count)]
            left += range(count - 1, -1, -1)
            continues += [1] * (count - 1) + [0 if window.ends else 1]
            offset += width
    sentences = [s for w in windows for s in w.sentences]
    taught = [window.taught for window in windows if window.taught is not None]
    return Batch(
        groups=_groups(sentences, tokens, group_tokens),
        joined=_groups(joined or [], tokens, group_tokens),
        grids=grids,
        slots=torch.tensor(slots),
        predicted=torch.tensor(predicted),
        inserted=torch.tensor(inserted),
        left=torch.tensor(left),
        continues=torch.tensor(continues),
        context=ContextTokens.of([window.sentences for window in windows]),
        taught=TaughtSentences.joined(taught) if taught else None,
    )


def _groups(sentences: list[np.ndarray], tokens: Tokens, group_tokens: int) -> list[Group]:
    lengths = np.array([len(s) for s in sentences])
    order = np.argsort(-lengths, kind="stable")
    groups, start = [], 0
    while start < len(order):
        rows = max(1, group_tokens // (int(lengths[order[start]]) + 1))
        index = order[start : start + rows]
        groups.append(_group([sentences[i] for i in index], index, tokens))
        start += rows
    return groups


def _group(sentences: list[np.ndarray], index: np.ndarray, tokens: Tokens) -> Group:
    width = len(sentences[0]) + 1
    ids = np.full((len(sentences), width), tokens.pad, np.int64)
    targets = np.full((len(sentences), width), -100, np.int64)
    for row, sentence in enumerate(sentences):
        ids[row, 0] = tokens.bos
        ids[row, 1 : len(sentence) + 1] = sentence
        targets[row, : len(sentence)] = sentence
        targets[row, len(sentence)] = tokens.eos
    lengths = np.array([len(s) for s in sentences])
    return Group(*map(torch.from_numpy, (ids, targets, index, lengths)))
