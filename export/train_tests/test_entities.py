"""Copies of stories with other names, animals and things."""

import random
import re

import numpy as np
import pytest
from tiny_training import stories

from sllm_export.errors import ExportError
from sllm_train.bpe import train_tokenizer
from sllm_train.corpus import load_tokenized, tokenize
from sllm_train.text import entities
from sllm_train.text.entities import substituted, substituted_copies

STORY = """Lily had an apple and a red ball. "LILY!" said Tom's mouse, "Will you share the APPLE?"
Lily's Mice, two foxes and a bear ran. Ann, Tom and Lily ate cherries. AN ELEPHANT saw the Fox.
"""


def copies(count):
    return [substituted(STORY, random.Random(seed)) for seed in range(count)]


def words(text):
    return re.findall(r"[A-Za-z]+", text)


def test_every_mention_changes_alike():
    """Whatever its case and number; distinct words stay distinct."""
    for copy in copies(200):
        pairs = dict(zip(words(STORY), words(copy), strict=True))
        assert {pairs["Lily"], pairs["Tom"]}.isdisjoint(words(STORY))
        assert pairs["Lily"] != pairs["Tom"]
        assert pairs["LILY"] == pairs["Lily"].upper()
        assert pairs["APPLE"] == pairs["apple"].upper()
        kept = pairs["mouse"] == "mouse"
        assert [pairs[word] == word for word in ("Mice", "foxes", "Fox", "ELEPHANT")] == [kept] * 4
        assert entities._plural(pairs["Fox"].lower()) == pairs["foxes"]
        assert entities._plural(pairs["mouse"]).capitalize() == pairs["Mice"]
        for word in ("Ann", "bear", "Will", "share", "two"):
            assert pairs[word] == word


def test_what_is_between_the_words_stays():
    for copy in copies(50):
        assert re.split(r"[A-Za-z]+", copy) == re.split(r"[A-Za-z]+", STORY)


def test_articles_fit_and_capitals_stay():
    seen = set()
    for copy in copies(300):
        for article, word in re.findall(r"\b([Aa][Nn]?) ([A-Za-z]+)", copy):
            assert (article.lower() == "an") == (word[0].lower() in "aeiou"), copy
            seen.add(article)
        for old, new in zip(words(STORY), words(copy), strict=True):
            assert old[0].isupper() == new[0].isupper()
    assert seen == {"a", "A", "an", "AN"}


@pytest.mark.parametrize(
    ("word", "plural"),
    [
        ("mouse", "mice"),
        ("fox", "foxes"),
        ("cherry", "cherries"),
        ("donkey", "donkeys"),
        ("potato", "potatoes"),
        ("peach", "peaches"),
        ("hippo", "hippos"),
        ("wolf", "wolves"),
    ],
)
def test_plurals(word, plural):
    assert entities._plural(word) == plural
    assert entities._entity(plural) == word
    assert entities._entity(plural.capitalize()) == word


def test_no_word_is_of_two_kinds_and_each_is_found_in_both_numbers():
    every = [word for kind in entities._KINDS.values() for word in kind]
    assert len(every) == len(set(every))
    for kind, listed in entities._KINDS.items():
        for word in listed:
            assert entities._entity(word) == word
            if kind not in ("girls", "boys", "colours"):
                assert entities._entity(entities._plural(word)) == word


@pytest.mark.parametrize(
    "text", ["", "The sun was hot.", "Will you rise? lily toms Reds bLUE Teddy bear"]
)
def test_what_has_no_entity_has_no_copies(text):
    assert list(substituted_copies(text, 5, "seed")) == []


def test_copies_depend_on_the_seed_alone():
    first, again = (list(substituted_copies(STORY, 4, "7")) for _ in range(2))
    assert first == again
    assert len(set(first)) == 4
    assert set(first).isdisjoint(substituted_copies(STORY, 4, "8"))


def test_a_corpus_of_copies(tmp_path):
    path, cache = tmp_path / "a.txt", tmp_path / "cache"
    path.write_text(f"{STORY}<|endoftext|>\nNobody was there.\n<|endoftext|>\n{STORY}")
    tokenizer = train_tokenizer([*stories(40).splitlines(), *STORY.splitlines()], vocab_size=400)
    corpus = tokenize(path, tokenizer, 63, copies=3)
    texts = [
        tokenizer.decode(np.concatenate([corpus.sentence(i) for i in range(first, end)]).tolist())
        for first, end in zip(corpus.record_starts, corpus.record_starts[1:], strict=False)
    ]
    expected = [
        *substituted_copies(STORY.strip(), 3, "0"),
        *substituted_copies(STORY.strip(), 3, "2"),
    ]
    assert texts == expected
    kept = load_tokenized(path, tokenizer, 63, cache, copies=3)
    plain = load_tokenized(path, tokenizer, 63, cache)
    assert np.array_equal(kept.tokens, corpus.tokens)
    assert (kept.records, plain.records) == (6, 3)
    path.write_text("Nobody was there.")
    with pytest.raises(ExportError, match="nothing to substitute"):
        tokenize(path, tokenizer, 63, copies=3)
