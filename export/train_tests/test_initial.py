"""A training that begins with a checkpoint, or with a bundle."""

import json

import pytest
import torch
from helpers import run_cli
from safetensors.torch import load_file
from tiny_training import Case, saved_state

from sllm_export import cli

SLOTS = {"svae.slots": 4, "svae.norm_first": True}
STILL = ("--lr", "1e-9", "--weight-decay", "0", "--ema", "0.5", "--steps", "1")
DROPOUT = ("--condition-dropout", "0.25")


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    case = Case(tmp_path_factory.mktemp("trained"), **SLOTS)
    assert case.run("--steps", "12", "--lr", "0.01", "--warmup", "1", *DROPOUT) == 0
    return case


@pytest.fixture(scope="module")
def bundle(trained):
    out = trained.folder / "bundle"
    checkpoint, tokenizer = trained.out / "model.safetensors", trained.out / "tokenizer.json"
    files = ["--config", trained.config, "--checkpoint", checkpoint, "--tokenizer", tokenizer]
    result = run_cli("bundle", *files, "--variant", "portable", "--out", out)
    assert result.returncode == 0, result.stderr
    return out


def test_a_checkpoint_is_gone_on_with(trained, tmp_path):
    case = Case(tmp_path, **SLOTS)
    checkpoint = trained.out / "model.safetensors"
    arguments = ["--initial", checkpoint, "--tokenizer", trained.out / "tokenizer.json", *STILL]
    assert case.run(*arguments) == 0
    before = load_file(checkpoint)
    for name, value in saved_state(case.out)["model"].items():
        torch.testing.assert_close(value, before[name], atol=1e-6, rtol=0, msg=name)
    told = json.loads((case.out / "training.json").read_text())
    assert told["initial"] == {"checkpoint": str(checkpoint)}


def test_a_bundle_brings_its_tokenizer_and_the_same_losses(trained, bundle, tmp_path, capsys):
    reports = []
    for name, initial in (("one", trained.out / "model.safetensors"), ("other", bundle)):
        case = Case(tmp_path / name, **SLOTS)
        # A tokenizer of its own would be another one.
        case.text.write_text("Quite another text. It is short.\n<|endoftext|>\n" * 9)
        given = ["--tokenizer", trained.out / "tokenizer.json"] if name == "one" else []
        assert case.run("--initial", initial, *given, *STILL) == 0
        reports.append(json.loads(capsys.readouterr().out))
        tokenizer = (case.out / "tokenizer.json").read_bytes()
        assert tokenizer == (trained.out / "tokenizer.json").read_bytes()
    assert reports[0].keys() == reports[1].keys()
    for name, value in reports[0].items():
        if not isinstance(value, dict):
            assert value == pytest.approx(reports[1][name], rel=1e-4), name


@pytest.mark.parametrize("changes", [{}, {"hidden_size": 16}], ids=["slots", "size"])
def test_another_model_is_refused(changes, trained, bundle, tmp_path, capsys):
    case = Case(tmp_path, **changes)
    for initial in (trained.out / "model.safetensors", bundle):
        assert case.run("--initial", initial) == 1
        error = capsys.readouterr().err
        assert error.startswith(f"sllm_export: error: {initial}: ")
        assert "svae.encoder." in error
        assert not case.out.exists()


def test_it_is_refused_where_it_has_no_effect(trained, tmp_path, capsys):
    case = Case(tmp_path, **SLOTS)
    arguments = ["--stage", "sllm", "--initial", trained.out / "model.safetensors"]
    assert case.run(*arguments) == 1
    assert "--initial has no effect in --stage sllm" in capsys.readouterr().err
    assert case.run("--initial", tmp_path / "absent") == 1
    assert "absent: no such file" in capsys.readouterr().err


def test_a_resume_does_not_read_it(trained, tmp_path):
    case = Case(tmp_path, **SLOTS)
    copy = tmp_path / "copy.safetensors"
    copy.write_bytes((trained.out / "model.safetensors").read_bytes())
    tokenizer = ["--tokenizer", trained.out / "tokenizer.json"]
    assert case.run("--initial", copy, *tokenizer, *STILL) == 0
    copy.unlink()
    assert cli.main(case.arguments("--initial", copy, *tokenizer, *STILL[:-1], "2")) == 0
    told = json.loads((case.out / "training.json").read_text())
    assert told["initial"] == {"checkpoint": str(copy)}
