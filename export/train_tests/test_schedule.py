"""Warm-up, stable, decay; and trainings that are made longer."""

import json

import pytest
import torch
from tiny_training import Case, losses, saved_state

from sllm_export.errors import ExportError
from sllm_train.options import Options
from sllm_train.schedule import Clock, is_decaying, learning_rate, progress
from sllm_train.state import STABLE_FILE


def test_learning_rate():
    """Step, rate: warm-up, peak until the last fifth, then down to zero as 1 - sqrt(x)."""
    options = Options(steps=100, warmup=10, lr=2.0, decay=0.2)
    cases = [(0, 0.2), (9, 2.0), (10, 2.0), (79, 2.0), (80, 2.0), (85, 1.0), (100, 0.0)]
    for step, expected in cases:
        done = progress(options, step, seconds=0)
        assert learning_rate(options, step, done) == pytest.approx(expected), step
    assert learning_rate(Options(steps=10, warmup=0, lr=1.0), 0, 0.0) == 1.0
    assert learning_rate(Options(steps=10, lr=1.0, warmup=0, decay=0.0), 10, 0.99) == 1.0


def test_minutes_are_progress():
    options = Options(minutes=2)
    assert [progress(options, 0, seconds) for seconds in (0, 60, 120, 500)] == [0, 0.5, 1, 1]
    assert not is_decaying(options, 0.79)
    assert is_decaying(options, 0.8)


def test_the_clock_counts_processor_time():
    clock = Clock("cpu", before=100)
    torch.randn(400, 400) @ torch.randn(400, 400)
    assert 100 <= clock.seconds() < 110


def test_a_longer_training_continues_before_the_decay(tmp_path):
    """A training of 10 steps and then 20 has the losses of one of 20."""
    case = Case(tmp_path / "grown")
    whole = Case(tmp_path / "whole")
    assert case.run("--steps", "10", "--decay", "0.4", "--warmup", "2") == 0
    assert saved_state(case.out, STABLE_FILE)["step"] == 6
    assert case.run("--steps", "20", "--decay", "0.4", "--warmup", "2") == 0
    assert whole.run("--steps", "20", "--decay", "0.4", "--warmup", "2") == 0
    assert saved_state(case.out)["step"] == saved_state(whole.out)["step"] == 20
    for name, value in saved_state(whole.out)["model"].items():
        assert torch.equal(saved_state(case.out)["model"][name], value), name
    assert losses(case.out)[20]["lr"] == losses(whole.out)[20]["lr"]


def test_the_best_weights_are_kept(tmp_path):
    """A rate that destroys the model at the end does not reach model.safetensors."""
    case = Case(tmp_path)
    steps = ("--warmup", "0", "--ema", "0", "--evaluate-every", "1", "--max-norm", "1e9")
    assert case.run("--steps", "4", "--lr", "0.01", *steps) == 0
    lines = [json.loads(line) for line in (case.out / "metrics.jsonl").read_text().splitlines()]
    valid = [(line["valid"]["loss"], line["best"]) for line in lines if "valid" in line]
    best = float("inf")
    for loss, is_best in valid:
        assert is_best == (loss <= best)
        best = min(best, loss)
    kept = saved_state(case.out)["best_loss"]
    assert kept == min(loss for loss, _ in valid)


@pytest.mark.parametrize("given", [{}, {"steps": 3, "minutes": 1.0}])
def test_either_steps_or_minutes(given):
    with pytest.raises(ExportError, match="give either --steps or --minutes"):
        Options(**given).check()
