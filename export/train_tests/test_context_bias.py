"""The context bias: which tokens a context has, how its training begins, what that changes."""

import json

import numpy as np
import pytest
import torch
from helpers import tiny
from safetensors.torch import load_file
from tiny_training import Case, tiny_trained

from sllm_export.config import parse_config
from sllm_train.context_tokens import ContextTokens
from sllm_train.model import Sllm

BIAS = {"svae.context_bias_size": 6}
STAGE = ("--stage", "context-bias")
SHORT = ("--steps", "12", "--lr", "0.01", "--warmup", "1")


def test_a_context_has_the_tokens_of_its_sentences():
    windows = [
        [np.array([5, 6, 5]), np.array([7]), np.array([6, 8])],
        [np.array([9], np.uint16), np.array([5, 9], np.uint16)],
    ]
    seen = ContextTokens.of(windows).seen_up_to(torch.tensor([0, 1, 2, 3, 4, 1]), 10)
    found = [row.nonzero()[:, 0].tolist() for row in seen]
    assert found == [[5, 6], [5, 6, 7], [5, 6, 7, 8], [9], [5, 9], [5, 6, 7]]
    assert set(seen.flatten().tolist()) == {0, 1}


def test_rare_tokens_gain_most_at_first():
    bias = Sllm(parse_config(tiny(**BIAS))).svae.decoder.context_bias
    assert bias is not None
    shares = torch.linspace(0, 1, 64)
    shares /= shares.sum()
    bias.begin(shares)
    assert (bias.constant.diff() < 0).all()
    share = float(shares[-1] + 1e-6) / float((shares + 1e-6).sum())
    assert float(bias.constant[-1].detach()) == pytest.approx(
        0.3 * np.log(1 + 1 / (100 * share)), rel=1e-4
    )


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    case = Case(tmp_path_factory.mktemp("trained"))
    assert case.run(*SHORT) == 0
    return case


def test_only_the_bias_is_trained(trained, tmp_path):
    case = Case(tmp_path, **BIAS)
    checkpoint, tokenizer = trained.out / "model.safetensors", trained.out / "tokenizer.json"
    assert case.run(*STAGE, "--initial", checkpoint, "--tokenizer", tokenizer, *SHORT) == 0
    before, after = load_file(checkpoint), load_file(case.out / "model.safetensors")
    new = {name for name in after if "context_bias" in name}
    assert len(new) == 3
    assert after.keys() - new == before.keys()
    for name, value in before.items():
        assert torch.equal(value, after[name]), name
    losses = [
        line["next_sentence"]
        for line in map(json.loads, (case.out / "metrics.jsonl").read_text().splitlines())
        if "next_sentence" in line
    ]
    assert all(np.isfinite(losses))


def test_it_lowers_the_loss(trained, tmp_path, capsys):
    """Of stories that come back to what they began with."""
    reports = []
    for steps in ("1", "60"):
        case = Case(tmp_path / steps, **BIAS)
        checkpoint, tokenizer = trained.out / "model.safetensors", trained.out / "tokenizer.json"
        given = ("--initial", checkpoint, "--tokenizer", tokenizer, "--steps", steps)
        assert case.run(*STAGE, *given, "--lr", "0.03", "--warmup", "1", "--ema", "0.5") == 0
        reports.append(json.loads(capsys.readouterr().out))
    assert reports[1]["loss"] < reports[0]["loss"] - 0.05


@pytest.mark.parametrize(
    ("changes", "arguments", "problem"),
    [
        ({}, STAGE, "svae.context_bias_size is 0"),
        (BIAS, STAGE, "needs a trained model (--initial)"),
        (BIAS, (*STAGE, "--rollout-share", "0.1"), "--rollout-share has no effect"),
    ],
)
def test_refused(changes, arguments, problem, tmp_path, capsys):
    assert Case(tmp_path, **changes).run(*arguments, "--steps", "1") == 1
    assert problem in capsys.readouterr().err


def test_the_model_has_none_by_default():
    assert Sllm(parse_config(tiny_trained())).svae.decoder.context_bias is None
