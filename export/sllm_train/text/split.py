"""Pieces with more tokens than a sentence may have, split where a clause begins.

`src/text/split_clauses.rs` is the same in Rust.
"""

from __future__ import annotations

from collections.abc import Sequence

# Words that begin a clause or a phrase.
CONNECTIVES = frozenset(
    """and but or nor so yet for because although though while when whenever where wherever who
    whom whose which that if unless until till since before after as than then to of in on at by
    with without from into onto upon over under through between among across against along around
    behind beside beyond during near toward towards about like""".split()
)
_CLAUSE_ENDS = ",;:—–)]"


def split_words(words: Sequence[str], tokens: Sequence[int], limit: int) -> list[int]:
    """Where to split `words` (which word begins each part but the first), given how many tokens
    each has, so that parts have at most `limit` tokens and are of similar length.

    A word of more than `limit` tokens is a part of its own, which is still too long.
    """
    starts: list[int] = []
    first, rest = 0, sum(tokens)
    while rest > limit:
        after = _split(words, tokens, first, rest, limit)
        if after == len(words):
            break
        starts.append(after)
        rest -= sum(tokens[first:after])
        first = after
    return starts


def _split(words: Sequence[str], tokens: Sequence[int], first: int, rest: int, limit: int) -> int:
    if rest <= 2 * limit:
        target = (rest + 1) // 2
        low, high = max(rest - limit, target - limit // 4), min(limit, target + limit // 4)
    else:
        target, low, high = 3 * limit // 4, limit // 2, limit
    best: tuple[int, int, int] | None = None
    before, fitting = 0, first
    for word in range(first, len(words)):
        if word > first and low <= before <= high:
            candidate = (_rank(words, word), abs(before - target), word)
            best = min(best or candidate, candidate)
        if before <= limit:
            fitting = word
        before += tokens[word]
        if before > limit:
            break
    if best:
        return best[2]
    return fitting if fitting > first else first + 1


def _rank(words: Sequence[str], word: int) -> int:
    """0 for a split between clauses, 1 for any other between words."""
    between = words[word - 1][-1] in _CLAUSE_ENDS or words[word].lower() in CONNECTIVES
    return 0 if between else 1
