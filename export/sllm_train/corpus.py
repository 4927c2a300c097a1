"""Reading a corpus, cutting it into sentences, and keeping it as memory-mapped token arrays."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

import numpy as np
import zstandard
from tokenizers import Encoding, Tokenizer

from sllm_export.digest import sha256
from sllm_export.errors import ExportError

from .text import entities, original
from .text.split import split_words
from .text.white_space import canonical_pieces
from .zst import ZstFile, decoded_bytes

RECORD_END = "<|endoftext|>"
RULES: dict[str, Callable[[str], list[str]]] = {
    "original": original.segment,
    "clauses": canonical_pieces,
}
ARRAYS = ("tokens", "sentence_starts", "record_starts")


def sample_records(path: Path, max_bytes: int | None) -> Iterator[str]:
    """All records of a corpus file, or, if it has more than `max_bytes` bytes of text, every n-th,
    about so many bytes in all."""
    size = text_bytes(path) if max_bytes else 0
    rate = min(1.0, (max_bytes or 0) / size) if size else 1.0
    kept = 0.0
    for record in read_records(path):
        kept += rate
        if kept >= 1:
            kept -= 1
            yield record


def text_bytes(path: Path) -> int:
    """Bytes of text in a corpus file."""
    if path.suffix != ".zst":
        return path.stat().st_size
    try:
        return decoded_bytes(path)
    except zstandard.ZstdError as error:
        raise ExportError(f"{path}: cannot be read: {error}") from error


def read_records(path: Path) -> Iterator[str]:
    """Records of a corpus file (`.txt` or `.txt.zst`), each without its closing line."""
    lines: list[str] = []
    try:
        with _open_text(path) as file:
            for line in file:
                if line.strip() == RECORD_END:
                    if record := "".join(lines).strip():
                        yield record
                    lines = []
                else:
                    lines.append(line)
    except (UnicodeDecodeError, zstandard.ZstdError) as error:
        raise ExportError(f"{path}: cannot be read: {error}") from error
    if record := "".join(lines).strip():
        yield record


def _open_text(path: Path) -> TextIO:
    if path.suffix != ".zst":
        return path.open(encoding="utf-8")
    return io.TextIOWrapper(io.BufferedReader(ZstFile(path)), encoding="utf-8")


@dataclass
class Corpus:
    """Token ids of all sentences, concatenated, without bos and eos.

    Sentence i is `tokens[sentence_starts[i]:sentence_starts[i + 1]]`; record r holds the sentences
    `record_starts[r]` up to `record_starts[r + 1]`.
    """

    tokens: np.ndarray
    sentence_starts: np.ndarray
    record_starts: np.ndarray

    @property
    def records(self) -> int:
        """How many records there are."""
        return len(self.record_starts) - 1

    def sentence(self, index: int) -> np.ndarray:
        """Token ids of one sentence."""
        return self.tokens[self.sentence_starts[index] : self.sentence_starts[index + 1]]


def tokenize(
    path: Path,
    tokenizer: Tokenizer,
    max_tokens: int,
    rule: str = "original",
    max_bytes: int | None = None,
    copies: int = 0,
) -> Corpus:
    """Tokenize a corpus file, or a sample of `max_bytes` bytes; a sentence of more than
    `max_tokens` tokens is split into several.

    With `copies`, in place of each record so many copies with other entities.
    """
    tokens: list[np.ndarray] = []
    lengths: list[int] = []
    record_sentences: list[int] = []
    dtype = np.uint16 if tokenizer.get_vocab_size() <= 2**16 else np.int32
    split = _split_at_words if rule == "clauses" else _split_at_tokens
    records = sample_records(path, max_bytes)
    if copies:
        records = _substituted(records, copies)
    for record in records:
        count = 0
        pieces = RULES[rule](record)
        for piece, encoding in zip(
            pieces, tokenizer.encode_batch(pieces, add_special_tokens=False), strict=True
        ):
            for ids in filter(None, split(piece, encoding, max_tokens)):
                tokens.append(np.asarray(ids, dtype=dtype))
                lengths.append(len(ids))
                count += 1
        if count:
            record_sentences.append(count)
    if not tokens:
        raise ExportError(f"{path}: {'nothing to substitute' if copies else 'no text'} in it")
    starts = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    record_starts = np.concatenate([[0], np.cumsum(record_sentences)]).astype(np.int64)
    return Corpus(np.concatenate(tokens), starts, record_starts)


def _substituted(records: Iterator[str], copies: int) -> Iterator[str]:
    for number, record in enumerate(records):
        yield from entities.substituted_copies(record, copies, str(number))


def _split_at_tokens(_: str, encoding: Encoding, limit: int) -> Iterator[list[int]]:
    ids = encoding.ids
    for start in range(0, len(ids), limit):
        yield ids[start : start + limit]


def _split_at_words(piece: str, encoding: Encoding, limit: int) -> Iterator[list[int]]:
    """The parts of a canonical piece: a blank stands only between words, so that the words' tokens
    are those that they have alone."""
    ids = encoding.ids
    if len(ids) <= limit:
        yield ids
        return
    words = piece.split(" ")
    blanks = np.flatnonzero(np.frombuffer(piece.encode("utf-32-le"), np.uint32) == ord(" "))
    word_of_token = np.searchsorted(blanks, [end for _, end in encoding.offsets])
    counts = np.bincount(word_of_token, minlength=len(words))
    ends = np.cumsum(counts)
    starts = [0, *(int(ends[word - 1]) for word in split_words(words, counts.tolist(), limit))]
    for start, end in zip(starts, [*starts[1:], len(ids)], strict=True):
        for part in range(start, end, limit):
            yield ids[part : min(part + limit, end)]


def load_tokenized(
    path: Path,
    tokenizer: Tokenizer,
    max_tokens: int,
    cache: Path,
    rule: str = "original",
    max_bytes: int | None = None,
    copies: int = 0,
) -> Corpus:
    """`tokenize`, kept in `cache` under a name made of all that the result depends on, and mapped
    into memory from there."""
    settings = [sha256(path), tokenizer.to_str(), max_tokens, rule, max_bytes]
    if copies:
        settings += [copies, entities.version()]
    digest = hashlib.sha256(json.dumps(settings).encode()).hexdigest()
    stored = cache / f"{path.name.split('.')[0]}-{digest[:16]}"
    if not stored.exists():
        corpus = tokenize(path, tokenizer, max_tokens, rule, max_bytes, copies)
        partial = stored.with_name(stored.name + ".partial")
        partial.mkdir(parents=True, exist_ok=True)
        for name in ARRAYS:
            np.save(partial / f"{name}.npy", getattr(corpus, name))
        partial.rename(stored)
    return Corpus(*(np.load(stored / f"{name}.npy", mmap_mode="r") for name in ARRAYS))
