"""The segmentation rule `clauses`: sentences and long clauses, cut where a reader would pause.

`src/text/clauses.rs` is the same rule in Rust; `tests/data/segmentation.json` tests both.

A piece ends after a run of marks with its closing quotes and brackets, and after a line break. The
white space that follows belongs to the piece. No piece ends inside a number, an address or an
ellipsis, after an initial or an abbreviation, or at a comma shortly after the last cut.
"""

from __future__ import annotations

import re

# Unicode's White_Space, as a set of a regular expression.
WHITE_SPACE = "\t\n\x0b\x0c\r \x85\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000"
LINE_BREAKS = "\n\x0b\x0c\r\x85\u2028\u2029"
BYTE_ORDER_MARK = "\ufeff"
# Marks that end a piece wherever they stand: their scripts do not need a space after them.
WIDE_MARKS = "。｡！？；：，、､．؟،؛۔।॥።፣፤፥፧։᠂᠃"
HARD_MARKS = ".!?…‼⁇⁈⁉‽"
SOFT_MARKS = ",;:"
CLOSERS = "\"'”’»›)]}」』】》〉）］｝＂"
# Characters from the first word of a piece to a soft mark, below which it does not end there.
MIN_CLAUSE_CHARS = 16

# Never the end of a sentence.
TITLES = frozenset(
    """Mr Mrs Ms Mme Mlle Messrs Dr Prof St Rev Hon Gen Col Capt Cpt Lt Sgt Cpl Maj Adm Cmdr Gov
    Sen Rep Pres Supt Insp Mt Ft vs cf viz ca Fig Vol Nos""".split()
)
# The end of a sentence unless a small letter or a digit follows.
ABBREVIATIONS = frozenset(
    """Jr Sr Inc Ltd Co Corp Bros No no etc al ed eds est approx dept ch sec pp p Jan Feb Mar Apr
    Jun Jul Aug Sep Sept Oct Nov Dec Mon Tue Wed Thu Fri Sat Sun""".split()
)

_MARKS = re.escape(WIDE_MARKS + HARD_MARKS + SOFT_MARKS)
_CANDIDATE = re.compile(
    rf"(?P<marks>(?:(?:\.(?:[ \xa0]\.)+|[{_MARKS}])+[{re.escape(CLOSERS)}]*)+)"
    rf"|[{LINE_BREAKS}]"
)
_SPACE = re.compile(f"[{WHITE_SPACE}]*")
_LINE_BREAK = re.compile(f"[{LINE_BREAKS}]")
_WORD_BEFORE = re.compile(r"[^\W\d_]+(?:\.[^\W\d_]+)*$")
_TOKEN_BEFORE = re.compile(rf"[^{WHITE_SPACE}]*$")
_INDENT = re.compile(f"[{WHITE_SPACE}{BYTE_ORDER_MARK}]*")
_WORD_LOOKBACK = 32
_TOKEN_LOOKBACK = 256


def segment(text: str) -> list[str]:
    """Cut `text`; joined, the pieces are `text`. White space and byte order marks in front of a
    piece are part of it, but change nothing."""
    pieces: list[str] = []
    start = 0
    at = words = _end(_INDENT, text, 0)
    while match := _CANDIDATE.search(text, at):
        at = match.end()
        marks = match["marks"]
        if marks is not None and not _cuts(text, words, match.start(), at, marks):
            continue
        after = _after_space(text, at)
        pieces.append(text[start:after])
        start = after
        at = words = _end(_INDENT, text, start)
    if start < len(text):
        pieces.append(text[start:])
    return pieces


def _end(pattern: re.Pattern[str], text: str, at: int) -> int:
    """The end of what matches at `at`, which may be empty."""
    found = pattern.match(text, at)
    return found.end() if found else at


def _after_space(text: str, at: int) -> int:
    """The end of the white space that begins at `at`, which may be empty."""
    return _end(_SPACE, text, at)


def _cuts(text: str, start: int, begin: int, end: int, marks: str) -> bool:
    """Whether the piece from `start` ends with the marks at `begin` .. `end`."""
    following = text[end : end + 1]
    signs = marks.rstrip(CLOSERS)
    if any(sign in WIDE_MARKS for sign in signs):
        return True
    hard = any(sign in HARD_MARKS for sign in signs)
    if not hard and end - start < MIN_CLAUSE_CHARS and not _LINE_BREAK.match(following):
        return False
    if following == "" or _after_space(following, 0) > 0:
        return signs != "." or not _abbreviates(text, start, begin, end)
    if not following.isalpha() or _in_address(text, start, end):
        return False
    if len(marks) > 1 or signs not in ".,;:":
        return True
    before = text[max(begin - 2, start) : begin]
    if signs == ".":
        small = len(before) == 2 and before.isalpha() and before.islower()
        return small and following.isupper() and text[end + 1 : end + 2].islower()
    return signs != ":" and before[-1:].isalpha()


def _abbreviates(text: str, start: int, begin: int, end: int) -> bool:
    """Whether the full stop at `begin` is part of an abbreviation or an initial."""
    found = _WORD_BEFORE.search(text, max(begin - _WORD_LOOKBACK, start), begin)
    after = _after_space(text, end)
    if not found or after == len(text) or _LINE_BREAK.search(text, end, after):
        return False
    word, following = found[0], text[after]
    continues = following.islower() or following in "0123456789"
    if end - begin > 1:
        return following.islower() and (word in ABBREVIATIONS or "." in word)
    last = word.rpartition(".")[2]
    if len(last) == 1 and last.isupper():
        return word != "I" or not _follows_small_word(text, start, found.start())
    return word in TITLES or (continues and (word in ABBREVIATIONS or "." in word))


def _follows_small_word(text: str, start: int, at: int) -> bool:
    """Whether the word before the one at `at` begins with a small letter."""
    before = text[max(at - _WORD_LOOKBACK, start) : at].rstrip()
    found = _WORD_BEFORE.search(before)
    return found is not None and found[0][0].islower()


def _in_address(text: str, start: int, end: int) -> bool:
    """Whether the text before `end` ends inside an address: of the web, or for mail."""
    found = _TOKEN_BEFORE.search(text, max(end - _TOKEN_LOOKBACK, start), end)
    token = found[0] if found else ""
    return "://" in token or "@" in token or token.lower().startswith("www.")
