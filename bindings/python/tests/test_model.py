"""Models: the same results as the command line program."""

from __future__ import annotations

import copy
import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sllm_ort
from conftest import PROMPT, ROOT, STORIES, TINY, TINY_OPT, TINY_SVAE, program

TEXTS = ["The fox was happy. ", "The fox was sad. ", "Tom saw a dog. "]

GENERATIONS: list[tuple[list[str], dict[str, Any]]] = [
    (["--temperature", "0"], {"temperature": 0}),
    (
        ["--temperature", "0.8", "--top-p", "0.9", "--seed", "7"],
        {"temperature": 0.8, "top_p": 0.9, "seed": 7},
    ),
    (
        ["--temperature", "1", "--top-k", "20", "--min-p", "0.01", "--seed", "3", "-n", "5"],
        {"temperature": 1.0, "top_k": 20, "min_p": 0.01, "seed": 3, "max_sentences": 5},
    ),
    (
        ["--greedy", "--repetition-penalty", "1.3", "--no-repeat-ngram", "3", "--ignore-stop"],
        {"temperature": 0, "repetition_penalty": 1.3, "no_repeat_ngram": 3, "ignore_eos": True},
    ),
    (
        [
            *("--greedy", "--repetition-penalty", "1", "--dry-multiplier", "0.5"),
            *("--dry-base", "1.5", "--dry-allowed-length", "3"),
        ],
        {
            "temperature": 0,
            "repetition_penalty": 1,
            "dry_multiplier": 0.5,
            "dry_base": 1.5,
            "dry_allowed_length": 3,
        },
    ),
    (
        ["--temperature", "0.8", "--guidance-scale", "2", "--seed", "5"],
        {"temperature": 0.8, "guidance_scale": 2, "seed": 5},
    ),
    (
        ["--temperature", "0.9", "--seed", "5", "--best-of", "3", "--avoid-repeats", "false"],
        {"temperature": 0.9, "seed": 5, "best_of": 3, "avoid_repeats": False},
    ),
    (
        ["--greedy", "--stop", "ball", "--stop", "dog", "--when-full", "drop-oldest"],
        {"temperature": 0, "stop": ["ball", "dog"], "overflow": "drop_oldest"},
    ),
]


@pytest.mark.parametrize("bundle", [TINY, STORIES], ids=["tiny", "stories"])
@pytest.mark.parametrize(("flags", "keywords"), GENERATIONS)
def test_sentences_are_those_of_the_program(
    bundle: Path, flags: list[str], keywords: dict[str, Any]
) -> None:
    common = ["--model", str(bundle), "--variant", "portable", *flags]
    *expected, end = program("run", PROMPT, *common)
    model = sllm_ort.Model(bundle, variant="portable")
    generation = model.session(PROMPT).generate(**keywords)
    found = list(generation)
    assert [s.token_ids for s in found] == [s["token_ids"] for s in expected]
    assert [s.text for s in found] == [s["text"] for s in expected]
    assert [s.index for s in found] == list(range(len(found)))
    for sentence, line in zip(found, expected, strict=True):
        assert sentence.stop_probability == pytest.approx(line["stop_probability"], rel=1e-6)
    assert generation.finish_reason == end["finish_reason"]


def ids(sentences: list[sllm_ort.Sentence]) -> list[list[int]]:
    return [sentence.token_ids for sentence in sentences]


def test_a_token_level_model_continues() -> None:
    *expected, _ = program("run", PROMPT, "--model", str(TINY_OPT), "--greedy")
    session = sllm_ort.Model(TINY_OPT).session(PROMPT)
    found = [s.token_ids for s in session.generate(temperature=0)]
    assert found == [s["token_ids"] for s in expected]


@pytest.mark.parametrize("line_break", ["\r\n", "\r"])
def test_line_breaks_and_byte_order_marks_are_nothing_to_the_model(
    stories: sllm_ort.Model, line_break: str
) -> None:
    text = "Tom had a red ball.\n\nHe ran to the park,\nand Mia saw him.\n"
    other = "\ufeff" + text.replace("\n", line_break)
    sentences = stories.segment(other)
    assert "".join(sentence.text for sentence in sentences) == other
    expected = [sentence.token_ids for sentence in stories.segment(text)]
    assert [sentence.token_ids for sentence in sentences] == expected
    one = "He ran to the park\nand saw her.\n"
    vectors = stories.encode([one, "\ufeff" + one.replace("\n", line_break)])
    assert (vectors[0] == vectors[1]).all()
    session, same = stories.session(text), stories.session(other)
    assert (same.text, same.tokens) == (other, session.tokens)
    found = ids(list(same.generate(max_sentences=2, temperature=0)))
    assert found == ids(list(session.generate(max_sentences=2, temperature=0)))


@pytest.mark.parametrize("variant", ["portable", "cpu-int8"])
@pytest.mark.parametrize("bundle", [TINY, STORIES], ids=["tiny", "stories"])
def test_vectors_are_those_of_the_program(bundle: Path, variant: str) -> None:
    expected = program("embed", *TEXTS, "--model", str(bundle), "--variant", variant)
    model = sllm_ort.Model(bundle, variant=variant)
    vectors = model.encode(TEXTS)
    assert vectors.dtype == np.float32
    assert vectors.shape == (len(TEXTS), model.hidden_size)
    wanted = np.array([line["embedding"] for line in expected], dtype=np.float32)
    np.testing.assert_array_equal(vectors, wanted)


def test_many_vectors_and_none(stories: sllm_ort.Model) -> None:
    texts = TEXTS * 50
    vectors = stories.encode(texts)
    np.testing.assert_allclose(vectors, np.tile(stories.encode(TEXTS), (50, 1)), atol=1e-5)
    assert stories.decode(vectors) == stories.decode(vectors[:3]) * 50
    assert stories.encode([]).shape == (0, stories.hidden_size)
    assert stories.decode(np.zeros((0, stories.hidden_size))) == []


def test_vectors_are_decoded(stories: sllm_ort.Model) -> None:
    vectors = stories.encode(TEXTS)
    assert stories.decode(vectors)[:2] == TEXTS[:2]
    assert stories.decode(vectors.astype(np.float64)[::-1]) == stories.decode(vectors)[::-1]
    assert stories.decode(vectors.tolist()) == stories.decode(vectors)


def test_reconstructions_are_those_of_the_program(stories: sllm_ort.Model) -> None:
    model = ["--model", str(STORIES), "--variant", "portable"]
    expected = program("reconstruct", *TEXTS, *model)
    found = stories.reconstruct(TEXTS)
    assert [r.output_ids for r in found] == [line["output_ids"] for line in expected]
    assert [r.input_ids for r in found] == [line["input_ids"] for line in expected]
    assert found[0].exact
    assert found[0].input == found[0].output == TEXTS[0]


def test_similarity_and_interpolation(stories: sllm_ort.Model) -> None:
    assert stories.similarity(TEXTS[0], TEXTS[0]) == pytest.approx(1)
    assert stories.similarity(TEXTS[0], TEXTS[2]) < stories.similarity(TEXTS[0], TEXTS[1]) < 1
    between = stories.interpolate(TEXTS[0], TEXTS[1], 4)
    assert len(between) == 4
    assert [between[0], between[-1]] == TEXTS[:2]


def test_a_text_is_segmented(stories: sllm_ort.Model) -> None:
    text = "Hi there. How are you, Tom? "
    expected = program("segment", text, "--model", str(STORIES))
    found = stories.segment(text)
    assert [(s.text, len(s.token_ids)) for s in found] == [
        (line["text"], line["tokens"]) for line in expected
    ]
    assert "".join(s.text for s in found) == text
    assert not any(s.truncated for s in found)


def test_a_batch_gives_what_each_context_gives(stories: sllm_ort.Model) -> None:
    prompts = ["Tom had a ball. ", "It was a rainy day. ", PROMPT]
    session = stories.session(prompts[2])
    batch = stories.generate_batch([*prompts[:2], session], max_sentences=5, seed=11)
    for row, (prompt, continuation) in enumerate(zip(prompts, batch, strict=True)):
        alone = stories.session(prompt).generate(max_sentences=5, seed=11 + row)
        assert ids(continuation.sentences) == ids(list(alone))
        assert continuation.finish_reason == alone.finish_reason
    assert session.text == prompts[2] + batch[2].text
    assert stories.generate_batch([]) == []


def test_properties(stories: sllm_ort.Model) -> None:
    config = json.loads((STORIES / "sllm.json").read_text())["model"]
    assert stories.name == config["name"]
    assert stories.hidden_size == config["hidden_size"]
    assert (stories.kind, stories.variant, stories.provider) == ("sllm", "portable", "cpu")
    assert stories.path == STORIES
    assert stories.threads == 1
    assert sllm_ort.Model(TINY_SVAE).kind == "svae"
    assert repr(stories) == "<Model sllm-stories of kind sllm, variant portable on cpu>"
    assert sllm_ort.__version__ in (ROOT / "Cargo.toml").read_text()


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_a_pickled_model_is_loaded_with_its_options(
    protocol: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(TINY.parent)
    model = sllm_ort.Model(TINY.name, variant="portable", threads=2)
    pickled = pickle.dumps(model, protocol)
    assert len(pickled) < 1000
    monkeypatch.chdir(tmp_path)
    again = pickle.loads(pickled)
    assert (again.path, again.variant, again.threads) == (TINY, "portable", 2)
    np.testing.assert_array_equal(again.encode(TEXTS), model.encode(TEXTS))
    assert copy.deepcopy(model) is copy.copy(model) is model


def test_values_are_pickled(tiny: sllm_ort.Model) -> None:
    (continuation,) = tiny.generate_batch([PROMPT], max_sentences=2, seed=1)
    assert pickle.loads(pickle.dumps(continuation)) == continuation
    assert continuation.text == "".join(s.text for s in continuation.sentences)
