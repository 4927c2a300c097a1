"""Sessions in several threads."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
import sllm_ort
from conftest import PROMPT


def test_threads_get_what_one_alone_gets(tiny: sllm_ort.Model) -> None:
    def story(seed: int) -> list[sllm_ort.Sentence]:
        session = tiny.session(PROMPT)
        return list(session.generate(max_sentences=6, temperature=0.9, seed=seed))

    expected = [story(seed) for seed in range(24)]
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(story, range(24))) == expected


def test_two_sessions_are_generated_at_the_same_time(stories: sllm_ort.Model) -> None:
    # Broken if one generation waits for the end of the other.
    both_generate = threading.Barrier(2, timeout=60)

    def story(seed: int) -> int:
        pieces: list[str] = []

        def on_text(text: str) -> None:
            pieces.append(text)
            if len(pieces) == 1:
                both_generate.wait()

        session = stories.session(PROMPT)
        return len(list(session.generate(max_sentences=4, seed=seed, on_text=on_text)))

    with ThreadPoolExecutor(2) as pool:
        assert list(pool.map(story, range(2))) == [4, 4]


def test_other_threads_run_while_a_sentence_is_generated(stories: sllm_ort.Model) -> None:
    session = stories.session(PROMPT)
    generation = session.generate(temperature=1, best_of=64)
    ended = threading.Event()

    def generate() -> None:
        next(generation)
        ended.set()

    thread = threading.Thread(target=generate)
    thread.start()
    ticks = 0
    while not ended.wait(0.001):
        ticks += 1
    thread.join()
    # With the interpreter's lock held there would be none.
    assert ticks >= 3


def test_a_second_use_at_the_same_time_is_an_error(stories: sllm_ort.Model) -> None:
    session = stories.session(PROMPT)
    generation = session.generate(temperature=1, best_of=64)
    begun = threading.Event()

    def generate() -> None:
        begun.set()
        next(generation, None)

    thread = threading.Thread(target=generate)
    thread.start()
    begun.wait()
    errors = 0
    while thread.is_alive():
        for use in (lambda: session.text, generation.close):
            try:
                use()
            except sllm_ort.BusyError:
                errors += 1
            else:
                # It was closed before the thread used it.
                break
        time.sleep(0.001)
    thread.join()
    assert errors > 0
    generation.close()
    assert len(session) in (2, 3)


def test_another_thread_cancels(stories: sllm_ort.Model) -> None:
    session = stories.session(PROMPT)
    generation = session.generate(max_sentences=10**9, ignore_eos=True, overflow="drop_oldest")
    timer = threading.Timer(0.2, generation.cancel)
    timer.start()
    sentences = sum(1 for _ in generation)
    timer.join()
    assert generation.finish_reason == "cancelled"
    assert sentences > 0


@pytest.mark.parametrize("work", ["encode", "batch"])
def test_work_in_threads(stories: sllm_ort.Model, work: str) -> None:
    def run(_: int) -> object:
        if work == "encode":
            return stories.encode([PROMPT]).tolist()
        return stories.generate_batch([PROMPT, PROMPT], max_sentences=2, seed=1)

    with ThreadPoolExecutor(3) as pool:
        results = list(pool.map(run, range(6)))
    assert all(result == results[0] for result in results)
