"""A bundle is replaced where `--force` says so; nothing else is."""

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from bundle_command import export, left_over, refusal
from helpers import EXPORT, TOKENIZER

from sllm_export import cli


def test_existing_directory(config, tmp_path, capsys):
    out = tmp_path / "bundle"
    assert export(config, out) == 0
    before = (out / "sllm.json").read_text()
    assert export(config, out) == 1
    assert "exists already; --force replaces a bundle" in capsys.readouterr().err
    assert (out / "sllm.json").read_text() == before
    assert export(config, out, "--random", "1", "--force") == 0
    assert (out / "sllm.json").read_text() != before
    assert left_over(tmp_path, config.name) == ["bundle"]


def test_force_does_not_replace_what_is_no_bundle(config, tmp_path, capsys):
    out = tmp_path / "precious"
    out.mkdir()
    (out / "thesis.txt").write_text("words")
    assert export(config, out, "--force") == 1
    assert "exists and is no bundle" in capsys.readouterr().err
    assert (out / "thesis.txt").read_text() == "words"


@pytest.mark.parametrize("name", ["model.safetensors", "portable/notes.txt", "old/encoder.bin"])
def test_force_deletes_nothing_but_a_bundle(config, tmp_path, monkeypatch, capsys, name):
    out = tmp_path / "bundle"
    assert export(config, out, "--variant", "portable") == 0
    (out / ".DS_Store").write_text("")
    assert export(config, out, "--variant", "portable", "--force") == 0
    before = (out / "sllm.json").read_text()
    file = out / name
    file.parent.mkdir(exist_ok=True)
    file.write_text("precious")
    capsys.readouterr()
    with monkeypatch.context() as patched:
        patched.setattr(cli, "_weights", None)
        assert export(config, out, "--random", "1", "--force") == 1
    assert f"{file}: is no part of the bundle" in refusal(capsys)
    assert file.read_text() == "precious"
    assert (out / "sllm.json").read_text() == before


def test_link_to_a_bundle_is_followed(config, tmp_path):
    out, link = tmp_path / "bundle", tmp_path / "link"
    assert export(config, out) == 0
    before = (out / "sllm.json").read_text()
    link.symlink_to(out)
    assert export(config, link, "--random", "1", "--force") == 0
    assert link.is_symlink()
    assert (out / "sllm.json").read_text() != before


@pytest.mark.parametrize("part", [".", "sllm.json", "portable", "portable/encoder.onnx"])
def test_force_does_not_replace_what_is_read_only(config, tmp_path, monkeypatch, capsys, part):
    out = tmp_path / "bundle"
    assert export(config, out, "--variant", "portable") == 0
    before = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    protected = out / part
    mode = protected.stat().st_mode
    protected.chmod(mode & 0o555)
    capsys.readouterr()
    # It is said before any work.
    with monkeypatch.context() as patched:
        patched.setattr(cli, "_weights", None)
        assert export(config, out, "--random", "1", "--force") == 1
    assert f"{protected}: is read-only, so it is not replaced" in refusal(capsys)
    protected.chmod(mode)
    assert {path: path.read_bytes() for path in out.rglob("*") if path.is_file()} == before
    assert left_over(tmp_path, config.name) == ["bundle"]
    assert export(config, out, "--random", "1", "--force") == 0


# Python itself may be in a folder of root's.
UNPRIVILEGED = """
import os, sys
from sllm_export import cli
if os.geteuid() == 0:
    os.setgroups([])
    os.setgid(65534)
    os.setuid(65534)
sys.exit(cli.main())
"""


@pytest.mark.skipif(os.name != "posix", reason="needs users of Unix")
def test_without_permission_nothing_is_replaced(config):
    # Folders above pytest's are its user's alone.
    with tempfile.TemporaryDirectory() as name:
        folder, files = Path(name) / "folder", Path(name) / "files"
        out = folder / "bundle"
        assert export(config, out, "--variant", "portable") == 0
        before = (out / "sllm.json").read_bytes()
        files.mkdir()
        for file in (config, TOKENIZER):
            shutil.copy(file, files)
        Path(name).chmod(0o755)
        folder.chmod(0o555)
        command = [sys.executable, "-c", UNPRIVILEGED, "bundle", "--random", "1", "--force"]
        command += ["--config", str(files / config.name)]
        command += ["--tokenizer", str(files / TOKENIZER.name)]
        for target in (out, folder / "new", folder / "a" / "b"):
            result = subprocess.run(
                [*command, "--out", str(target)],
                env={**os.environ, "PYTHONPATH": str(EXPORT)},
                capture_output=True,
                text=True,
                check=False,
            )
            assert result.returncode == 1
            assert result.stderr.startswith("sllm_export: error: ")
            assert result.stderr.count("\n") == 1
            assert "is read-only" in result.stderr or "cannot be written" in result.stderr
        assert (out / "sllm.json").read_bytes() == before
        assert left_over(folder) == ["bundle"]
        folder.chmod(0o755)
