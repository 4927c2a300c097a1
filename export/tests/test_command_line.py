"""Errors of the command line: a status, and one line that says what to do."""

import json
import os
import sys
from pathlib import Path

import pytest
from bundle_command import export, left_over, refusal
from helpers import DATA, TOKENIZER, random_weights, run_cli, tiny, tiny_opt
from safetensors.numpy import save_file

from sllm_export import cli

FAILURES = [
    (["--random", "0"], "no tokenizer: give --tokenizer"),
    (["--tokenizer", TOKENIZER], "no weights: give --checkpoint FILE, or --random SEED"),
    (["--random", "0", "--tokenizer", DATA / "mixed.json"], "the tokenizer cannot be loaded"),
    (["--random", "0", "--tokenizer", "none.json"], "none.json: cannot be read"),
    (["--random", "0", "--opt", DATA], "holds neither tokenizer.json nor vocab.json"),
    (["--random", "0", "--checkpoint", "x.pth"], "--random and --checkpoint exclude each other"),
    (["--random", "0", "--variant", "gpu"], "--variant gpu: unknown, known variants: cpu-int8"),
    (["--checkpoint", "x.pth", "--tokenizer", TOKENIZER], "x.pth: no such file"),
    (["--checkpoint", DATA / "mixed.pth", "--tokenizer", TOKENIZER], "missing svae.encoder.embed"),
    (
        ["--random", "0", "--tokenizer", TOKENIZER, "--model-card", "none.md"],
        "none.md: cannot be read",
    ),
]


@pytest.mark.parametrize(("arguments", "message"), FAILURES, ids=[row[1] for row in FAILURES])
def test_failures_are_one_line(config, tmp_path, capsys, arguments, message):
    out = tmp_path / "bundle"
    command = ["bundle", "--config", config, "--out", out, *arguments]
    assert cli.main([str(argument) for argument in command]) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("sllm_export: error: ")
    assert message in captured.err
    assert captured.err.count("\n") == 1
    assert left_over(tmp_path, config.name) == []


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        ([], 2, "usage:"),
        (["bundle"], 2, "--config"),
        (["bundle", "--config", "c", "--out", "o", "--random", "-1"], 2, "--random"),
        (["bundle", "--config", "c", "--out", "o", "--random", "abc"], 2, "--random: abc (allowed"),
        (["bundle", "--config", "c", "--out", "o", "--segmentation", "x"], 2, "--segmentation"),
        (
            ["bundle", "--config", "c", "--out", "o", "--data", os.fsdecode(b"\xff")],
            2,
            "--data: \\udcff (allowed: UTF-8)",
        ),
        (["bundle", "--config", "none.json", "--out", "o"], 1, "none.json: cannot be read"),
    ],
)
def test_exit_status(arguments, status, message):
    result = run_cli(*arguments)
    assert result.returncode == status
    assert result.stdout == ""
    assert message in result.stderr
    assert "Traceback" not in result.stderr


def test_training_without_pytorch(monkeypatch, capsys):
    for name in [name for name in sys.modules if name.startswith("sllm_train")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "torch", None)
    assert cli.main(["train"]) == 1
    assert "training needs PyTorch: install the extra `train`" in capsys.readouterr().err


def test_folders_that_cannot_be_written(config, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(cli, "_weights", None)
    file = tmp_path / "file"
    file.write_text("kept")
    for out in (file / "bundle", file / "a" / "b", Path("/proc/bundle"), Path("/dev/null/x")):
        assert export(config, out) == 1
        assert f"{out.parent}: cannot be written" in refusal(capsys)
    assert file.read_text() == "kept"


@pytest.mark.skipif(os.name != "posix", reason="needs links, and names of any bytes")
def test_names_that_cannot_be_written(config, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(cli, "_weights", None)
    one, other = tmp_path / "one", tmp_path / "other"
    one.symlink_to(other)
    other.symlink_to(one)
    for out in (one, tmp_path / ("x" * 300), tmp_path / os.fsdecode(b"\xff")):
        assert export(config, out, "--force") == 1
        refusal(capsys)
    assert left_over(tmp_path, config.name) == ["one", "other"]


OPT_WITHOUT_EFFECT = {
    "absent": (tiny(), "none", ["--random", "0"], "none: no such directory"),
    "file": (tiny(), "file", ["--random", "0"], "file: no such directory"),
    "svae": (
        tiny(kind="svae", backbone=None),
        "opt",
        ["--random", "0"],
        "kind svae needs nothing else of it",
    ),
    "sllm": (tiny(), "bare", ["--random", "0"], "it has no config.json to be compared"),
    "opt, random": (tiny_opt(), "bare", ["--random", "0"], "it has no config.json"),
    "opt, checkpoint": (tiny_opt(), "bare", ["--checkpoint", "x.pth"], "it has no config.json"),
}


@pytest.mark.parametrize("name", OPT_WITHOUT_EFFECT)
def test_an_opt_directory_without_effect(config, tmp_path, capsys, name):
    raw, opt, weights, message = OPT_WITHOUT_EFFECT[name]
    config.write_text(json.dumps(raw))
    (tmp_path / "file").touch()
    for folder in ("opt", "bare"):
        (tmp_path / folder).mkdir()
    (tmp_path / "opt" / "config.json").write_text('{"model_type": "opt"}')
    out = tmp_path / "bundle"
    assert export(config, out, "--opt", tmp_path / opt, *weights) == 1
    error = refusal(capsys)
    assert message in error
    assert "no such directory" in error or "--tokenizer gives the tokenizer" in error
    assert not out.exists()


@pytest.mark.skipif(os.name != "posix", reason="needs names of any bytes")
def test_a_checkpoint_whose_name_is_not_utf8(config, tmp_path, capsys):
    _, weights = random_weights(tiny())
    path = tmp_path / os.fsdecode(b"\xff.safetensors")
    stored = tmp_path / "a.safetensors"
    save_file({name: weights.load(name) for name in weights.shapes}, stored)
    stored.rename(path)
    assert export(config, tmp_path / "bundle", "--checkpoint", path) == 1
    assert "\\udcff.safetensors: its name is not UTF-8; rename it" in refusal(capsys)
