"""A bundle is whole or absent, whatever ends the command."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from bundle_command import export, left_over
from helpers import EXPORT, TOKENIZER

from sllm_export import bundle


@pytest.mark.parametrize("existing", [False, True])
def test_failing_check_leaves_nothing(config, tmp_path, monkeypatch, capsys, existing):
    out = tmp_path / "bundle"
    if existing:
        assert export(config, out) == 0
        before = (out / "sllm.json").read_text()
    capsys.readouterr()
    monkeypatch.setattr("sllm_export.graph.layers.LAYER_NORM_EPS", 9.0)
    assert export(config, out, "--random", "1", "--force") == 1
    error = capsys.readouterr().err
    assert error.startswith("sllm_export: error: cpu-int8/encoder.onnx: sentence_embedding differs")
    assert error.count("\n") == 1
    if existing:
        assert (out / "sllm.json").read_text() == before
    assert left_over(tmp_path, config.name) == (["bundle"] if existing else [])


def test_failing_rename_puts_the_old_bundle_back(config, tmp_path, monkeypatch):
    out = tmp_path / "bundle"
    assert export(config, out) == 0
    before = (out / "sllm.json").read_text()
    rename = Path.rename

    def failing(self, target):
        if self.name == "new":
            raise OSError("no space left")
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", failing)
    assert export(config, out, "--random", "1", "--force") == 1
    assert (out / "sllm.json").read_text() == before
    assert left_over(tmp_path, config.name) == ["bundle"]


def test_interruption_leaves_nothing(config, tmp_path, monkeypatch, capsys):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(bundle, "check_graph", interrupted)
    assert export(config, tmp_path / "bundle") == 1
    assert "interrupted" in capsys.readouterr().err
    assert left_over(tmp_path, config.name) == []


def test_termination_leaves_nothing(config, tmp_path):
    code = (
        "import runpy, sys, time, sllm_export.bundle as bundle\n"
        "bundle.check_graph = lambda *_: (print('ready', flush=True), time.sleep(60))\n"
        "sys.argv[0] = 'sllm_export'\n"
        "runpy.run_module('sllm_export', run_name='__main__')\n"
    )
    arguments = ["bundle", "--config", config, "--random", "0", "--tokenizer", TOKENIZER]
    with subprocess.Popen(
        [sys.executable, "-c", code, *map(str, arguments), "--out", str(tmp_path / "bundle")],
        env={**os.environ, "PYTHONPATH": str(EXPORT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        assert len(left_over(tmp_path, config.name)) == 1
        process.terminate()
        error = process.communicate(timeout=30)[1]
    assert error == "sllm_export: error: interrupted\n"
    assert process.returncode == 1
    assert left_over(tmp_path, config.name) == []


@pytest.mark.parametrize("name", ["new", "bundle"])
def test_an_interruption_while_the_bundle_is_replaced_loses_nothing(
    config, tmp_path, monkeypatch, name
):
    out = tmp_path / "bundle"
    assert export(config, out, "--variant", "portable") == 0
    before = (out / "sllm.json").read_text()
    rename = Path.rename

    def interrupted(self, target):
        if self.name == "old":
            return rename(self, target)
        result = rename(self, target) if self.name == "bundle" else None
        if self.name == name:
            raise KeyboardInterrupt
        return result

    monkeypatch.setattr(Path, "rename", interrupted)
    assert export(config, out, "--random", "1", "--variant", "portable", "--force") == 1
    assert (out / "sllm.json").read_text() == before
    assert left_over(tmp_path, config.name) == ["bundle"]
