"""Reading a corpus, cutting it into sentences, and keeping it as flat token arrays."""

from __future__ import annotations

import hashlib
import io
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import zstandard
from tokenizers import Tokenizer

from sllm_export.errors import ExportError

RECORD_END = "<|endoftext|>"
_PAIRS = ["……", "，”", "”，", "。”", "”。", "!”", "”！", "？”", "”？"]
_PAIRS += [',"', '",', '."', '".', '!"', '"!', '?"', '"?']
_SENTENCE = re.compile(
    "(?:" + "|".join(map(re.escape, _PAIRS)) + '|[，。”！？；：,.!?;:"\n\r])[ \n\r]*'
)


def segment(text: str) -> list[str]:
    """Cut `text` by the original's rule; joining the pieces gives it back."""
    pieces, start = [], 0
    for match in _SENTENCE.finditer(text):
        pieces.append(text[start : match.end()])
        start = match.end()
    if start < len(text):
        pieces.append(text[start:])
    return pieces


def read_records(path: Path) -> Iterator[str]:
    """Records of a corpus file (`.txt` or `.txt.zst`), each without its closing line."""
    lines: list[str] = []
    try:
        with _open_text(path) as file:
            for line in file:
                if line.rstrip("\n") == RECORD_END:
                    if record := "".join(lines).strip():
                        yield record
                    lines = []
                else:
                    lines.append(line)
    except (UnicodeDecodeError, zstandard.ZstdError) as error:
        raise ExportError(f"{path}: cannot be read: {error}") from error
    if record := "".join(lines).strip():
        yield record


def _open_text(path: Path) -> io.TextIOBase:
    if path.suffix != ".zst":
        return path.open(encoding="utf-8")
    return zstandard.open(path, "rt", encoding="utf-8")


@dataclass
class Corpus:
    """Token ids of all sentences, one after the other, without bos and eos.

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


def tokenize(path: Path, tokenizer: Tokenizer, max_tokens: int) -> Corpus:
    """Tokenise a corpus file; a sentence of more than `max_tokens` tokens is cut into several."""
    tokens: list[np.ndarray] = []
    lengths: list[int] = []
    record_sentences: list[int] = []
    dtype = np.uint16 if tokenizer.get_vocab_size() <= 2**16 else np.int32
    for record in read_records(path):
        count = 0
        encoded = tokenizer.encode_batch_fast(segment(record), add_special_tokens=False)
        for encoding in encoded:
            ids = np.asarray(encoding.ids, dtype=dtype)
            for start in range(0, len(ids), max_tokens):
                piece = ids[start : start + max_tokens]
                tokens.append(piece)
                lengths.append(len(piece))
                count += 1
        if count:
            record_sentences.append(count)
    if not tokens:
        raise ExportError(f"{path}: no text in it")
    starts = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    records = np.concatenate([[0], np.cumsum(record_sentences)]).astype(np.int64)
    return Corpus(np.concatenate(tokens), starts, records)


def load_tokenized(path: Path, tokenizer: Tokenizer, max_tokens: int, cache: Path) -> Corpus:
    """`tokenize`, kept in `cache` under a name made of all that the result depends on."""
    digest = hashlib.sha256(path.read_bytes())
    digest.update(tokenizer.to_str().encode())
    digest.update(str(max_tokens).encode())
    stored = cache / f"{path.name.split('.')[0]}-{digest.hexdigest()[:16]}.npz"
    if not stored.exists():
        corpus = tokenize(path, tokenizer, max_tokens)
        cache.mkdir(parents=True, exist_ok=True)
        partial = stored.with_suffix(".partial.npz")
        np.savez(partial, **vars(corpus))
        partial.replace(stored)
    with np.load(stored) as arrays:
        return Corpus(arrays["tokens"], arrays["sentence_starts"], arrays["record_starts"])
