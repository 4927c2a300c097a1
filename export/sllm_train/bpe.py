"""Byte-level BPE tokenizers that fit the segmentation rules.

`original`: tokens of punctuation carry the white space after it, which the rule leaves with the
sentence that it ends; with the usual pattern it would cost a token in nearly each sentence.
`clauses`: sentences come in canonical form. Each word has a blank before it, the first one
too, so that a word has the same tokens wherever it stands; a line break joins the mark before it.
Typographic quotes and ellipses are those of ASCII, characters are composed (NFC).
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from tokenizers import (
    AddedToken,
    Regex,
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    trainers,
)

SPECIAL_TOKENS = ["<pad>", "<s>", "</s>"]
_WORDS = r"'(?:[sdmt]|ll|ve|re)\b| ?[\p{L}\p{M}]+| ?\p{N}{1,3}"
PATTERNS = {
    "original": _WORDS + r"| ?[^\s\p{L}\p{M}\p{N}]+\s*|\s+",
    "clauses": _WORDS + r"| ?[^\s\p{L}\p{M}\p{N}]+\n?|\s+",
}


def train_tokenizer(texts: Iterable[str], vocab_size: int, rule: str = "original") -> Tokenizer:
    """Train on sentences cut by `rule`; ids 0, 1 and 2 are pad, bos and eos, and all 256 bytes have
    a token."""
    tokenizer = Tokenizer(models.BPE())
    if rule == "clauses":
        tokenizer.normalizer = normalizers.Sequence(
            [
                normalizers.NFC(),
                normalizers.Replace(Regex("[\u00ad\u200b\u2060\ufeff]"), ""),
                normalizers.Replace(Regex("[“”„‟«»]"), '"'),
                normalizers.Replace(Regex("[‘’‚‛]"), "'"),
                normalizers.Replace("…", "..."),
                normalizers.Prepend(" "),
            ]
        )
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(PATTERNS[rule]), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=SPECIAL_TOKENS,
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return tokenizer


def token_sizes(tokenizer: Tokenizer, vocab_size: int) -> np.ndarray:
    """Bytes of text that each id stands for [vocab_size]; none for special and unused ids."""
    sizes = np.zeros(vocab_size, np.int64)
    added: dict[int, AddedToken] = tokenizer.get_added_tokens_decoder()
    special = {number for number, token in added.items() if token.special}
    for token, number in tokenizer.get_vocab().items():
        # A byte-level token has one character per byte.
        sizes[number] = 0 if number in special else len(token)
    return sizes
