"""Sessions, and the iterator over new sentences."""

from __future__ import annotations

from pathlib import Path

import pytest
import sllm_ort
from conftest import PROMPT


def test_a_session_holds_what_is_appended_and_generated(stories: sllm_ort.Model) -> None:
    session = stories.session()
    assert (len(session), session.text, session.sentences) == (0, "", [])
    appended = session.append(PROMPT)
    assert (appended.sentences, appended.truncated, appended.dropped) == (2, 0, "")
    remaining = session.remaining
    sentences = list(session.generate(max_sentences=3, temperature=0))
    assert session.text == PROMPT + "".join(s.text for s in sentences)
    assert session.sentences[-3:] == [s.text for s in sentences]
    assert len(session) == 2 + 3
    assert session.remaining == remaining - 3
    assert session.tokens > 20
    assert session.memory_bytes > 0
    assert session.model is stories
    assert repr(session) == f"<Session of sllm-stories: 5 sentences, {session.tokens} tokens>"


def test_fork_rewind_and_clear(stories: sllm_ort.Model) -> None:
    session = stories.session(PROMPT)
    fork = session.fork()
    first = list(session.generate(max_sentences=4, temperature=0))
    assert len(fork) == 2
    assert list(fork.generate(max_sentences=4, temperature=0)) == first
    session.rewind(2)
    assert session.text == PROMPT + first[0].text + first[1].text
    again = list(session.generate(max_sentences=2, temperature=0))
    assert [s.token_ids for s in again] == [s.token_ids for s in first[2:]]
    session.rewind()
    session.drop_oldest(2)
    assert session.text == "".join(s.text for s in first[:3])
    session.clear()
    assert len(session) == 0
    fork.rewind(1000)
    assert len(fork) == 0


def test_a_session_is_saved_and_loaded(stories: sllm_ort.Model, tmp_path: Path) -> None:
    session = stories.session(PROMPT)
    list(session.generate(max_sentences=3, seed=1))
    file = tmp_path / "story.session"
    session.save(file)
    loaded = sllm_ort.Session.load(stories, str(file))
    restored = sllm_ort.Session.from_bytes(stories, session.to_bytes())
    expected = list(session.generate(max_sentences=3, seed=2))
    for other in (loaded, restored):
        assert list(other.generate(max_sentences=3, seed=2)) == expected
        assert other.text == session.text


def test_text_comes_in_pieces(stories: sllm_ort.Model) -> None:
    pieces: list[str] = []
    session = stories.session(PROMPT)
    generation = session.generate(max_sentences=3, seed=4, on_text=pieces.append)
    sentences = []
    for sentence in generation:
        sentences.append(sentence.text)
        assert "".join(pieces) == "".join(sentences)
    assert len(pieces) > len(sentences)


def test_a_drawn_seed_is_told(stories: sllm_ort.Model) -> None:
    session = stories.session(PROMPT)
    generation = session.fork().generate(max_sentences=3, temperature=0.9)
    drawn = list(generation)
    seed = generation.seed
    assert list(session.fork().generate(max_sentences=3, temperature=0.9, seed=seed)) == drawn
    others = {session.fork().generate().seed for _ in range(8)}
    assert len(others) > 1


def test_the_session_is_busy_until_the_iterator_ends(stories: sllm_ort.Model) -> None:
    session = stories.session(PROMPT)
    generation = session.generate(max_sentences=2, seed=1)
    next(generation)
    for use in (lambda: len(session), lambda: session.append("No. "), session.generate):
        with pytest.raises(sllm_ort.BusyError, match="the session is in use"):
            use()
    assert repr(session) == "<Session of sllm-stories, in use>"
    next(generation)
    assert generation.finish_reason == "max_sentences"
    assert list(generation) == []
    assert len(session) == 4


@pytest.mark.parametrize("way", ["break", "close", "with", "drop", "cancel", "before"])
def test_an_ended_iterator_gives_the_session_back(stories: sllm_ort.Model, way: str) -> None:
    session = stories.session(PROMPT)
    generation = session.generate(max_sentences=9, ignore_eos=True, seed=1)
    sentences = 1
    if way == "break":
        del generation
        for _ in session.generate(seed=1):
            break
    elif way == "close":
        next(generation)
        generation.close()
        generation.close()
        assert generation.finish_reason == "cancelled"
        assert next(generation, None) is None
    elif way == "with":
        with generation:
            next(generation)
    elif way == "cancel":
        next(generation)
        generation.cancel()
        assert list(generation) == []
        assert generation.finish_reason == "cancelled"
    elif way == "before":
        generation.close()
        sentences = 0
    else:
        next(generation)
        del generation
    assert len(session) == 2 + sentences
    assert len(list(session.generate(max_sentences=2, ignore_eos=True))) == 2


def test_an_exception_of_the_callback_ends_the_generation(stories: sllm_ort.Model) -> None:
    session = stories.session(PROMPT)

    def fail(text: str) -> None:
        raise LookupError(text)

    generation = session.generate(on_text=fail, seed=1)
    with pytest.raises(LookupError):
        next(generation)
    assert list(generation) == []
    assert generation.finish_reason == "cancelled"
    assert len(session) in (2, 3)
    assert len(list(session.generate(max_sentences=1))) == 1


def test_the_time_limit_ends_it(stories: sllm_ort.Model) -> None:
    generation = stories.session(PROMPT).generate(time_limit=0)
    assert list(generation) == []
    assert generation.finish_reason == "time_limit"
