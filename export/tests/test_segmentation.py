"""The segmentation rule `clauses` and canonical white space, from the table that Rust reads too."""

import json
import random
from pathlib import Path

import pytest

from sllm_train.text import clauses
from sllm_train.text.split import split_words
from sllm_train.text.white_space import canonical_pieces

TABLE = json.loads(
    (Path(__file__).parents[2] / "tests/data/segmentation.json").read_text(encoding="utf-8")
)
ENDS = ["", " ", "  ", "\n", "\r\n", "\t", "\r", "\n\n", " \n ", "\u00a0", "\u2028"]
ENDS += ["\u200b", " \ufeff", "\n\u2060 \u00ad\n"]


@pytest.mark.parametrize("case", TABLE["cases"], ids=lambda case: repr(case["text"]))
def test_pieces(case):
    assert clauses.segment(case["text"]) == case["pieces"]
    assert canonical_pieces(case["text"]) == [form for form in case["canonical"] if form]


@pytest.mark.parametrize("case", TABLE["splits"], ids=lambda case: " ".join(case["words"]))
def test_splits(case):
    starts = split_words(case["words"], case["tokens"], case["limit"])
    assert starts == case["starts"]


def test_pieces_join_back():
    draw = random.Random(0)
    alphabet = [*"aB1.,:;!?'\")(—@/ \n\t", "\r\n", "...", "Mr.", "e.g.", "”", "。", "http://", "😀"]
    for _ in range(3000):
        text = "".join(draw.choices(alphabet, k=draw.randrange(40)))
        pieces = clauses.segment(text)
        assert "".join(pieces) == text
        assert all(pieces)


@pytest.mark.parametrize("text", ["The dog ran home.", 'He said, "Go."', "(So?)", "The dog ran"])
def test_the_end_of_a_text_changes_nothing(text):
    forms = {tuple(canonical_pieces(text + end)) for end in ENDS}
    assert len(forms) == 1
