"""Sampling defaults on the command line: what the runtime accepts, and nothing else."""

import argparse
import json

import pytest

from sllm_export.generation import parse_generation

LARGEST = 2**32 - 1
# Up to where the JSON reader's own limit lies, and beyond.
DEPTHS = [*range(900, 1000), 100_000]


def refusal(text):
    with pytest.raises(argparse.ArgumentTypeError) as caught:
        parse_generation(text)
    return str(caught.value)


@pytest.mark.parametrize("key", ["top_k", "no_repeat_ngram"])
def test_counts(key):
    for value in (1, 50, LARGEST):
        assert parse_generation(json.dumps({key: value})) == {key: value}
    for shown in ("0", "-1", "1.0", "true", str(LARGEST + 1), "9" * 27, "9" * 400):
        message = refusal(f'{{"{key}": {shown}}}')
        assert message.startswith(f"{key} is {shown[:80]}")
        assert message.endswith(f"(allowed: a whole number, 1 to {LARGEST})")
    assert "not valid JSON" in refusal(f'{{"{key}": {"9" * 5000}}}')


def test_other_values():
    for text, message in (
        ("[]", "[] (allowed: a JSON object)"),
        ("{", "not valid JSON"),
        ('{"temperature": NaN}', "temperature is NaN (allowed: a number from 0 to 100)"),
        ('{"dry_allowed_length": 51}', "1 to 50"),
        ('{"topk": 1}', "'topk' is unknown"),
    ):
        assert message in refusal(text)


def test_deep_nesting():
    for depth in DEPTHS:
        for text in ("[" * depth, "[" * depth + "]" * depth):
            assert len(refusal(text)) < 300
            assert len(refusal(f'{{"top_k": {text}}}')) < 300
