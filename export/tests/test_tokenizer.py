"""The tokenizer of a bundle: made, or refused."""

import json

import pytest
from bundle_command import export
from helpers import TOKENIZER, run_cli, tiny

from sllm_export.tokenizer import find_tokenizer


def test_tokenizer_made_from_vocabulary_and_merges(tmp_path):
    model = json.loads(TOKENIZER.read_text())["model"]
    (tmp_path / "vocab.json").write_text(json.dumps(model["vocab"]))
    merges = "".join(f"{left} {right}\n" for left, right in model["merges"])
    (tmp_path / "merges.txt").write_text(f"#version: 0.2\n{merges}")
    made = json.loads(find_tokenizer(None, tmp_path))
    known = json.loads(TOKENIZER.read_text())
    assert made["model"]["vocab"] == known["model"]["vocab"]
    assert made["model"]["merges"] == known["model"]["merges"]
    assert made["post_processor"] == known["post_processor"]


@pytest.mark.parametrize("charsmap", ["/////w==", "AAAA", "not base64"])
def test_a_tokenizer_that_makes_the_library_panic_is_one_line(config, tmp_path, charsmap):
    content = json.loads(TOKENIZER.read_text())
    content["normalizer"] = {"type": "Precompiled", "precompiled_charsmap": charsmap}
    tokenizer = tmp_path / "tokenizer.json"
    tokenizer.write_text(json.dumps(content))
    arguments = ["--config", config, "--random", "0", "--tokenizer", tokenizer]
    result = run_cli("bundle", *map(str, arguments), "--out", str(tmp_path / "out"))
    assert result.returncode == 1
    assert result.stderr.startswith("sllm_export: error: the tokenizer cannot be loaded: ")
    assert result.stderr.count("\n") == 1


def test_tokenizer_must_fit_the_configuration(config, tmp_path, capsys):
    config.write_text(json.dumps(tiny(vocab_size=60)))
    assert export(config, tmp_path / "a") == 1
    assert "the tokenizer has ids up to 60 (expected below vocab_size" in capsys.readouterr().err
    config.write_text(json.dumps(tiny(**{"tokens.pad": 63})))
    assert export(config, tmp_path / "b") == 1
    assert "no token with tokens.pad, which is 63" in capsys.readouterr().err
