from dataclasses import replace

import pytest
from fakes import outcome, speeds

from peers.measure import Spread, Summary, comparisons, ratios
from peers.workload import Seconds, Speed, Workload


@pytest.mark.parametrize(
    ("figures", "expected"),
    [
        ([3.0], (3.0, 3.0, 3.0)),
        ([9.0, 1.0, 2.0], (2.0, 1.0, 9.0)),
        ([4.0, 1.0, 9.0, 2.0], (3.0, 1.0, 9.0)),
    ],
)
def test_spread(figures, expected):
    assert Spread.of(figures) == Spread(*expected)


def test_speed_is_of_the_tokens_asked_for():
    workload = Workload(prompt_tokens=320, sentence_tokens=10, sentences=16)
    seconds = Seconds(prompt=0.5, generation=4.0)
    assert Speed.of(seconds, workload) == Speed(640.0, 40.0)
    assert Speed.of(seconds, replace(workload, batch=8)) == Speed(5120.0, 320.0)


def test_ratios_are_taken_round_by_round():
    # The machine was three times faster in the second round: the ratio of the medians would be 2.
    found = ratios(speeds(6, 18, 6), speeds(2, 6, 3))
    assert found.output_tokens_per_second == Spread(3.0, 2.0, 3.0)
    assert found == Summary.of([Speed(3, 3), Speed(3, 3), Speed(2, 2)])
    with pytest.raises(ValueError, match="shorter"):
        ratios(speeds(1, 2), speeds(1))


def test_what_is_compared():
    """Sentence-level ones with all of another kind, the token-level one with its like; batches
    with batches, and with themselves alone."""
    outcomes = [
        outcome("sllm-ort-sllm", 8),
        outcome("sllm-ort-sllm-int4", 9),
        outcome("sllm-ort-sllm-int4-batch8", 18),
        outcome("sllm-ort-opt", 4),
        outcome("ctranslate2-opt", 2),
        outcome("llama-cpp-gpt2-q4", 3),
        outcome("llama-cpp-gpt2-q4-batch8", 6),
        outcome("transformers-opt", 1, failure="it broke"),
        outcome("pytorch-sllm", 1),
    ]
    found = [(c.own.name, c.other.name) for c in comparisons(outcomes)]
    assert found == [
        ("sllm-ort-sllm", "sllm-ort-opt"),
        ("sllm-ort-sllm", "ctranslate2-opt"),
        ("sllm-ort-sllm", "llama-cpp-gpt2-q4"),
        ("sllm-ort-sllm", "pytorch-sllm"),
        ("sllm-ort-sllm-int4", "sllm-ort-opt"),
        ("sllm-ort-sllm-int4", "ctranslate2-opt"),
        ("sllm-ort-sllm-int4", "llama-cpp-gpt2-q4"),
        ("sllm-ort-sllm-int4", "pytorch-sllm"),
        ("sllm-ort-sllm-int4-batch8", "sllm-ort-sllm-int4"),
        ("sllm-ort-sllm-int4-batch8", "llama-cpp-gpt2-q4-batch8"),
        ("sllm-ort-opt", "ctranslate2-opt"),
        ("sllm-ort-opt", "llama-cpp-gpt2-q4"),
    ]
