"""Canonical white space: what a model sees of the blanks and line breaks of a piece.

`src/text/white_space.rs` is the same in Rust. A piece keeps its own white space in the text; its
token ids are those of the canonical form.
"""

from __future__ import annotations

import re

from .clauses import BYTE_ORDER_MARK, LINE_BREAKS, WHITE_SPACE

_RUN = re.compile(f"[{WHITE_SPACE}]+")
_INDENT = re.compile(rf"\A[{WHITE_SPACE}{BYTE_ORDER_MARK}]+")
_LINE_BREAK = re.compile(f"[{LINE_BREAKS}]")


def canonical(piece: str, ends_text: bool = False) -> str:
    """The words of `piece` with one blank between them, and one line break after them if the white
    space at its end holds one. At the end of a text (`ends_text`) no line break is kept. Byte order
    marks in front of the words are left out."""
    content = _RUN.sub(" ", _INDENT.sub("", piece)).strip(" ")
    if not content:
        return ""
    space = piece[len(piece.rstrip(_STRIPPED)) :]
    return content + "\n" if not ends_text and _LINE_BREAK.search(space) else content


_STRIPPED = "".join(chr(c) for c in range(0x3001) if _RUN.match(chr(c)))
