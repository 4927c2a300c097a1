"""The original's segmentation rule (BestAnHongjun/SentenceVAE); `src/text/segment.rs` in Rust."""

from __future__ import annotations

import re

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
