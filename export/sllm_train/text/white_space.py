"""Canonical white space: what a model sees of the blanks and line breaks of a piece.

`src/text/white_space.rs` is the same in Rust. A piece keeps its own white space in the text; its
token ids are those of the canonical form.
"""

from __future__ import annotations

import re

from .clauses import BYTE_ORDER_MARK, LINE_BREAKS, WHITE_SPACE, segment

_RUN = re.compile(f"[{WHITE_SPACE}]+")
# Soft hyphen, zero width space, word joiner.
_LEFT_OUT = re.compile(f"[\u00ad\u200b\u2060{BYTE_ORDER_MARK}]")
_LINE_BREAK = re.compile(f"[{LINE_BREAKS}]")


def canonical(piece: str, ends_text: bool = False) -> str:
    """The words of `piece` with one blank between them, and one line break after them if the white
    space at its end holds one. At the end of a text (`ends_text`) no line break is kept. Soft
    hyphens, zero width spaces, word joiners and byte order marks are left out."""
    content = _RUN.sub(" ", _LEFT_OUT.sub("", piece)).strip(" ")
    if not content:
        return ""
    space = piece[len(piece.rstrip(_STRIPPED)) :]
    return content + "\n" if not ends_text and _LINE_BREAK.search(space) else content


def canonical_pieces(text: str) -> list[str]:
    """The pieces of `text` by the rule `clauses` in canonical form, but those that say nothing."""
    pieces = [piece for piece in segment(text) if canonical(piece)]
    last = len(pieces) - 1
    return [canonical(piece, ends_text=number == last) for number, piece in enumerate(pieces)]


_STRIPPED = "".join(chr(c) for c in range(0x3001) if _RUN.match(chr(c)))
