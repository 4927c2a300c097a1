"""What is said of a checkpoint and a configuration that do not belong together."""

import json
import shutil

import numpy as np
import pytest
from helpers import GOLDEN, ROOT, TOKENIZER, tiny
from safetensors.numpy import save_file

from sllm_export import cli
from sllm_export.checkpoint.expected import expected_shapes
from sllm_export.config import load_config, parse_config
from sllm_export.fitting import sizes_of


def export_error(config, checkpoint, tmp_path, capsys):
    command = ["bundle", "--config", config, "--checkpoint", checkpoint, "--out", tmp_path / "out"]
    command += ["--tokenizer", TOKENIZER]
    assert cli.main([str(argument) for argument in command]) == 1
    error = capsys.readouterr().err
    lines = [line for line in error.splitlines() if not line.startswith("sllm_export: note: ")]
    assert len(lines) == 1, error
    return lines[0]


def checkpoint_of(config, path, left_out=""):
    shapes = expected_shapes(config).items()
    save_file({n.removeprefix(left_out): np.zeros(s, np.float32) for n, s in shapes}, path)
    return path


def value(raw, key):
    for part in key.split("."):
        raw = raw[part]
    return raw


@pytest.mark.parametrize("path", sorted((ROOT / "configs").glob("*.json")), ids=lambda p: p.stem)
def test_every_size_is_read_from_the_tensors(path):
    config = load_config(path)
    found = sizes_of(expected_shapes(config))
    defaults = {"svae.norm_first": False, "svae.slots": 1}
    for key, size in found.items():
        if key == "svae.decoder_layers":
            assert size == config.require_svae().decoder_layers
            continue
        try:
            expected = value(config.raw, key)
        except KeyError:
            expected = defaults[key]
        assert size == expected, key
    assert len(found) >= 7


CHANGES = [
    ({"hidden_size": 64}, "hidden_size is 64 in the checkpoint, 32 in "),
    ({"vocab_size": 90}, "vocab_size is 90 in the checkpoint, 64 in "),
    ({"svae.layers": 3}, "svae.layers is 3 in the checkpoint, 2 in "),
    ({"svae.decoder_layers": 1}, "svae.decoder_layers is 1 in the checkpoint, 2 in "),
    ({"svae.learnable_add": True}, "svae.learnable_add is true in the checkpoint, false in "),
    ({"svae.slots": 4}, "svae.slots is 4 in the checkpoint, 1 in "),
    ({"backbone.layers": 5}, "backbone.layers is 5 in the checkpoint, 2 in "),
    ({"backbone.ffn_size": 64}, "backbone.ffn_size is 64 in the checkpoint, 40 in "),
    ({"backbone.max_positions": 99}, "backbone.max_positions is 99 in the checkpoint, 8 in "),
]


@pytest.mark.parametrize(("changes", "message"), CHANGES, ids=[str(row[0]) for row in CHANGES])
def test_what_differs_comes_first_and_the_right_file_is_named(changes, message, tmp_path, capsys):
    given, right = tmp_path / "given.json", tmp_path / "right.json"
    given.write_text(json.dumps(tiny()))
    right.write_text(json.dumps(tiny(**changes)))
    (tmp_path / "broken.json").write_text("{")
    checkpoint = checkpoint_of(load_config(right), tmp_path / "a.safetensors")
    error = export_error(given, checkpoint, tmp_path, capsys)
    assert f"a.safetensors: {message}{given}" in error
    assert f"--config {right} fits it" in error
    right.unlink()
    assert "fits it" not in export_error(given, checkpoint, tmp_path, capsys)


@pytest.mark.parametrize(
    ("of", "given"),
    [("tiny-svae", "tiny-causal"), ("tiny-causal", "tiny-svae"), ("tiny-opt", "tiny-125m")],
)
def test_another_kind_is_named(of, given, tmp_path, capsys):
    for name in (of, given):
        shutil.copy(GOLDEN / name / "config.json", tmp_path / f"{name}.json")
    right = load_config(tmp_path / f"{of}.json")
    given_file = tmp_path / f"{given}.json"
    # Some of OPT's checkpoints have names without the first part.
    prefixes = ["", "model."] if right.kind == "opt" else [""]
    for prefix in prefixes:
        checkpoint = checkpoint_of(right, tmp_path / "a.safetensors", prefix)
        error = export_error(given_file, checkpoint, tmp_path, capsys)
        kind = load_config(given_file).kind
        assert f"kind is {right.kind} in the checkpoint, {kind} in " in error
        assert f"--config {tmp_path / of}.json fits it" in error


def test_foreign_tensors_have_no_sizes():
    assert sizes_of({"wte.weight": (5, 6)}) == {}
    assert sizes_of({}) == {}
    assert "hidden_size" not in sizes_of({"encoder.lnorm.weight": ()})


OTHER_FILES = [
    (GOLDEN / "bundle" / "sllm.json", "is a bundle's manifest"),
    (TOKENIZER, "is a tokenizer (expected a configuration; --tokenizer takes this file)"),
    ({"model_type": "opt", "hidden_size": 768}, 'is a configuration of transformers, model_type "'),
    ({"weight_map": {}, "metadata": {}}, "is the index of a checkpoint"),
]


@pytest.mark.parametrize(("file", "message"), OTHER_FILES, ids=[row[1] for row in OTHER_FILES])
def test_a_file_that_is_no_configuration(file, message, tmp_path, capsys):
    path = tmp_path / "config.json"
    path.write_text(json.dumps(file) if isinstance(file, dict) else file.read_text())
    error = export_error(path, "x.pth", tmp_path, capsys)
    assert error.startswith(f"sllm_export: error: {path}: {message}"), error


def test_a_key_that_only_looks_like_another_file_is_no_excuse():
    assert parse_config(tiny()).name == "tiny"
