"""Segmentation, corpora, and the order of the data."""

import itertools
import subprocess
import sys

import numpy as np
import pytest
import zstandard
from helpers import tiny
from tiny_training import stories, windows

from sllm_export.config import parse_config
from sllm_export.errors import ExportError
from sllm_train.batches import (
    MixedStream,
    RecordStream,
    augment_repetition,
    collate,
    join_neighbours,
)
from sllm_train.bpe import train_tokenizer
from sllm_train.corpus import load_tokenized, read_records, sample_records, tokenize
from sllm_train.text.original import segment

# The table of the Rust side, tests/segmentation.rs.
SEGMENTS = [
    ("", []),
    ("Bye", ["Bye"]),
    ("Hello, my friend. Bye", ["Hello, ", "my friend. ", "Bye"]),
    ("Hello.", ["Hello."]),
    ("  Hello. ", ["  Hello. "]),
    ("   ", ["   "]),
    ("\t", ["\t"]),
    ("\nHello.", ["\n", "Hello."]),
    (" \r\n Hello", [" \r\n ", "Hello"]),
    ("one\r\ntwo\r\n\r\nthree", ["one\r\n", "two\r\n\r\n", "three"]),
    ("a.\tb", ["a.", "\tb"]),
    ("3.14", ["3.", "14"]),
    ("...", [".", ".", "."]),
    ('"Hi," she said.', ['"', 'Hi," ', "she said."]),
    ('"Hi", she said.', ['"', 'Hi", ', "she said."]),
    ('"?"', ['"?', '"']),
    ('."!', ['."', "!"]),
    ("今天，天气很好。我们走吧！", ["今天，", "天气很好。", "我们走吧！"]),
    ("他说：“好。”然后走了", ["他说：", "“好。”", "然后走了"]),
    ("等等……好", ["等等……", "好"]),
    ("等… 好", ["等… 好"]),
    ("………", ["……", "…"]),
    ("走！”好", ["走！", "”", "好"]),
    ("é…ü。ß", ["é…ü。", "ß"]),
    ("–—“、〉ＡＢ", ["–—“、〉ＡＢ"]),
]
PAIRS = ["……", "，”", "”，", "。”", "”。", "!”", "”！", "？”", "”？"]
PAIRS += [pair for mark in ",.!?" for pair in (f'{mark}"', f'"{mark}')]
SINGLES = [*"，。”！？；：,.!?;:", '"', "\n", "\r"]


def by_the_rule(text):
    """The original's rule as it is written down: one step at a time."""
    at, last, pieces = 0, 0, []
    while at < len(text):
        if text[at : at + 2] in PAIRS:
            at += 2
        elif text[at] in SINGLES:
            at += 1
        else:
            at += 1
            continue
        while at < len(text) and text[at] in " \n\r":
            at += 1
        pieces.append(text[last:at])
        last = at
    return [*pieces, text[last:]] if last < len(text) else pieces


def test_segments():
    failures = [(text, segment(text)) for text, expected in SEGMENTS if segment(text) != expected]
    assert not failures
    assert not [text for text, expected in SEGMENTS if by_the_rule(text) != expected]


def test_every_three_signs_are_cut_by_the_rule():
    for signs in itertools.product([*SINGLES, "…", "x", " "], repeat=3):
        text = f"a{''.join(signs)}b"
        assert segment(text) == by_the_rule(text), text
        assert "".join(segment(text)) == text


@pytest.fixture(scope="module")
def tokenizer():
    return train_tokenizer(stories(40).splitlines(), vocab_size=320)


def corpus_of(folder, tokenizer, records, seed=0):
    path = folder / f"stories{seed}.txt"
    path.write_text(stories(records, seed))
    return tokenize(path, tokenizer, 63)


def key(window):
    return tuple(tuple(map(int, sentence)) for sentence in window.sentences)


def test_records_and_sentences(tmp_path, tokenizer):
    """Plain and compressed; without a last end mark; blank records; long sentences are cut."""
    texts = ["One. Two.\nThree", "x" * 150 + ". End", "<p>"]
    content = "\n<|endoftext|>\n".join(["", texts[0], "  ", *texts[1:]])
    plain, packed = tmp_path / "a.txt", tmp_path / "a.txt.zst"
    plain.write_text(content)
    packed.write_bytes(zstandard.compress(content.encode()))
    assert list(read_records(plain)) == list(read_records(packed)) == texts
    corpus = tokenize(packed, tokenizer, 63)
    assert corpus.records == 3
    for number, text in enumerate(texts):
        sentences = range(*corpus.record_starts[number : number + 2])
        ids = np.concatenate([corpus.sentence(i) for i in sentences])
        assert tokenizer.decode(ids.tolist(), skip_special_tokens=False) == text
        assert all(1 <= len(corpus.sentence(i)) <= 63 for i in sentences)


def test_records_without_tokens_are_left_out(tmp_path):
    """Such as those of a tokenizer that normalises them away."""
    from tokenizers import Tokenizer, models, normalizers

    tokenizer = Tokenizer(models.BPE({"a": 0}, []))
    tokenizer.normalizer = normalizers.Replace("-", "")
    path = tmp_path / "a.txt"
    path.write_text("--\n<|endoftext|>\naa.--\n")
    corpus = tokenize(path, tokenizer, 63)
    assert (corpus.records, corpus.tokens.tolist()) == (1, [0, 0])
    path.write_text("--\n")
    with pytest.raises(ExportError, match="no text"):
        tokenize(path, tokenizer, 63)


def test_tokenized_corpora_are_kept(tmp_path, tokenizer):
    path, cache = tmp_path / "a.b.txt", tmp_path / "cache"
    path.write_text(stories(5))
    first, again = (load_tokenized(path, tokenizer, 63, cache) for _ in range(2))
    load_tokenized(path, tokenizer, 20, cache)
    path.write_text(stories(6))
    other = load_tokenized(path, tokenizer, 63, cache)
    names = {"tokens.npy", "sentence_starts.npy", "record_starts.npy"}
    assert [{f.name for f in d.iterdir()} for d in cache.iterdir()] == [names] * 3
    assert (first.records, again.records, other.records) == (5, 5, 6)
    assert np.array_equal(first.tokens, again.tokens)


@pytest.mark.parametrize("records", [1, 7])
def test_an_epoch_visits_every_record_once(tmp_path, tokenizer, records):
    corpus = corpus_of(tmp_path, tokenizer, records)
    stream = RecordStream(corpus, seed=3, max_sentences=99)
    epochs = [[key(stream.next()) for _ in range(records)] for _ in range(3)]
    assert len(epochs[0]) == records
    assert sorted(epochs[0]) == sorted(epochs[1]) == sorted(epochs[2])
    assert records == 1 or epochs[0] != epochs[1]


def test_long_records_are_cut_at_random(tmp_path, tokenizer):
    path = tmp_path / "a.txt"
    path.write_text(" ".join(f"Sentence {n}." for n in range(9)))
    stream = RecordStream(tokenize(path, tokenizer, 63), seed=0, max_sentences=4)
    found = [stream.next() for _ in range(60)]
    texts = [tokenizer.decode([int(i) for s in w.sentences for i in s]) for w in found]
    assert all(len(window.sentences) == 4 for window in found)
    assert len(set(texts)) == 6
    assert [window.ends for window in found] == [text.endswith("8.") for text in texts]


def test_resume_gives_the_same_batches(tmp_path, tokenizer):
    corpora = [(corpus_of(tmp_path, tokenizer, 9, seed), 1.0 + seed) for seed in range(2)]
    stream, resumed = MixedStream(corpora, 1, 3), MixedStream(corpora, 1, 3)
    for _ in range(5):
        stream.next_share(300, 0, 2)
    resumed.restore(stream.state())
    for _ in range(5):
        shares = [s.next_share(300, 1, 2) for s in (stream, resumed)]
        assert [key(w) for w in shares[0]] == [key(w) for w in shares[1]]
    with pytest.raises(ValueError, match="zip"):
        MixedStream(corpora[:1], 1, 3).restore(stream.state())


@pytest.mark.parametrize(("world", "batch_tokens"), [(2, 500), (3, 500), (3, 1)])
def test_shares_are_disjoint_and_cover_the_batch(tmp_path, tokenizer, world, batch_tokens):
    corpora = [(corpus_of(tmp_path, tokenizer, 40), 1.0)]
    whole = MixedStream(corpora, 1, 8)
    streams = [MixedStream(corpora, 1, 8) for _ in range(world)]
    for _ in range(3):
        shares = [s.next_share(batch_tokens, rank, world) for rank, s in enumerate(streams)]
        assert all(shares)
        together = [key(window) for share in shares for window in share]
        assert sorted(together) == sorted(key(whole.next()) for _ in together)
        assert len({str(stream.state()) for stream in [whole, *streams]}) == 1


def test_corpora_are_mixed_by_tokens(tmp_path, tokenizer):
    corpora = [(corpus_of(tmp_path, tokenizer, 20, seed), w) for seed, w in enumerate((3.0, 1.0))]
    stream = MixedStream(corpora, 1, 8)
    for _ in range(400):
        stream.next()
    assert stream.drawn[0] / stream.drawn[1] == pytest.approx(3, rel=0.05)


def test_collate():
    """Every sentence once, behind bos and before eos; the stop target only at a record's end."""
    config = parse_config(tiny())
    bos, eos, pad = config.tokens.bos, config.tokens.eos, config.tokens.pad
    records = sorted(windows(config), key=lambda w: len(w.sentences))
    batch = collate(windows(config), config.tokens, group_tokens=20)
    sentences = [s.tolist() for record in records for s in record.sentences]
    seen = []
    for group in batch.groups:
        rows = zip(*(x.tolist() for x in vars(group).values()), strict=True)
        for ids, targets, index, length in rows:
            seen.append(index)
            padding = len(ids) - length - 1
            assert ids == [bos, *sentences[index], *[pad] * padding]
            assert targets == [*sentences[index], eos, *[-100] * padding]
    assert sorted(seen) == list(range(len(sentences)))
    predicted = [
        n > 0 and n not in record.inserted
        for record in records
        for n in range(len(record.sentences))
    ]
    assert batch.predicted.tolist() == predicted
    ends = [
        n == len(record.sentences) - 1 and record.ends
        for record in records
        for n in range(len(record.sentences))
    ]
    assert (batch.continues == 0).tolist() == ends
    assert len(set(batch.slots.tolist())) == len(sentences)


def test_repetition_augmentation():
    """Some sentences come again, marked; without them the record is as it was, end included."""
    config = parse_config(tiny())
    found = windows(config)
    for seed in range(50):
        changed = augment_repetition(found, 0.8, 8, np.random.default_rng(seed))
        for old, new in zip(found, changed, strict=True):
            assert len(new.sentences) <= 8
            assert new.ends == old.ends
            if new is not old:
                kept = [s for n, s in enumerate(new.sentences) if n not in new.inserted]
                assert all(a is b for a, b in zip(kept, old.sentences, strict=True))
                assert new.inserted
                assert len(new.sentences) - 1 not in new.inserted
                assert 0 not in new.inserted
    assert augment_repetition(found, 0.0, 8, np.random.default_rng(0)) == found


@pytest.mark.parametrize("longest", [20, 14, 11])
def test_joined_neighbours_have_all_lengths(longest):
    config = parse_config(tiny())
    draws = np.random.default_rng(0)
    found = join_neighbours(windows(config) * 3, 5000, longest, draws)
    lengths = {len(sentence) for sentence in found}
    assert lengths == set(range(14, longest + 1))
    assert join_neighbours(windows(config), 0, longest, draws) == []


def test_seeds_do_not_depend_on_the_process():
    code = "print(hash((1, 12345, 3)) % 2**31)"
    environments = [{"PYTHONHASHSEED": seed} for seed in ("1", "2")]
    found = [
        subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, check=True)
        for env in environments
    ]
    assert (
        len({result.stdout for result in found} | {f"{hash((1, 12345, 3)) % 2**31}\n".encode()})
        == 1
    )


def test_a_sample_of_a_large_corpus(tmp_path):
    """About so many bytes, from everywhere in the file; compressed or not."""
    records = [f"Record {number:03d} is here." for number in range(100)]
    text = "\n<|endoftext|>\n".join(records)
    path, packed = tmp_path / "a.txt", tmp_path / "a.txt.zst"
    path.write_text(text)
    packed.write_bytes(zstandard.compress(text.encode()))
    sample = list(sample_records(path, len(text) // 4))
    assert 23 <= len(sample) <= 25
    gaps = np.diff([records.index(record) for record in sample])
    assert set(gaps) <= {4, 5}
    assert list(sample_records(packed, len(text) // 4)) == sample
    assert list(sample_records(path, None)) == list(sample_records(path, 10**6)) == records
