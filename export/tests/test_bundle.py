"""Bundles through the real command line: what they hold."""

import hashlib
import json
import shutil

import pytest
from bundle_command import export, left_over
from helpers import GOLDEN, TOKENIZER, random_weights, run_cli, tiny, tiny_opt
from safetensors.numpy import save_file

from sllm_export import __version__, cli
from sllm_export.digest import sha256


def test_manifest_and_files(config, tmp_path):
    out = tmp_path / "made" / "bundle"
    arguments = ("--config", config, "--random", "7", "--tokenizer", TOKENIZER, "--out", out)
    result = run_cli("bundle", *arguments, "--data", "none")
    assert (result.returncode, result.stdout) == (0, ""), result.stderr
    manifest = json.loads((out / "sllm.json").read_text())
    assert list(manifest) == [
        "format_version",
        "model",
        "segmentation",
        "tokenizer",
        "variants",
        "provenance",
    ]
    assert manifest["format_version"] == 1
    assert manifest["model"] == tiny()
    assert manifest["segmentation"] == {"tail": "keep", "long_sentence": "split"}
    assert manifest["provenance"] == {
        "checkpoint": {"random_seed": 7},
        "data": "none",
        "exporter_version": __version__,
    }
    assert [(v["name"], v["precision"]) for v in manifest["variants"]] == [
        ("cpu-int8", "int8"),
        ("portable", "fp32"),
    ]
    files = [manifest["tokenizer"]]
    for variant in manifest["variants"]:
        assert list(variant["graphs"]) == ["encoder", "backbone", "decoder"]
        files += variant["graphs"].values()
    for file in files:
        assert file["sha256"] == hashlib.sha256((out / file["file"]).read_bytes()).hexdigest()
    assert "The weights are random" in (out / "MODEL_CARD.md").read_text()
    assert left_over(out.parent) == ["bundle"]


@pytest.mark.parametrize(
    ("raw", "graphs"),
    [(tiny(kind="svae", backbone=None), ["encoder", "decoder"]), (tiny_opt(), ["opt"])],
    ids=["svae", "opt"],
)
def test_other_kinds(config, tmp_path, raw, graphs):
    config.write_text(json.dumps(raw))
    out = tmp_path / "bundle"
    assert export(config, out, "--variant", "portable") == 0
    manifest = json.loads((out / "sllm.json").read_text())
    assert [list(v["graphs"]) for v in manifest["variants"]] == [graphs]


def test_opt_directory_gives_weights_and_tokenizer(config, tmp_path):
    config.write_text(json.dumps(tiny_opt()))
    opt = tmp_path / "opt"
    opt.mkdir()
    shutil.copy(TOKENIZER, opt)
    _, weights = random_weights(tiny_opt())
    save_file({name: weights.load(name) for name in weights.shapes}, opt / "model.safetensors")
    out = tmp_path / "bundle"
    arguments = ["bundle", "--config", str(config), "--opt", str(opt), "--out", str(out)]
    assert cli.main(arguments) == 0
    provenance = json.loads((out / "sllm.json").read_text())["provenance"]
    assert provenance["checkpoint"]["file"] == "model.safetensors"


def test_external_data_is_listed(config, tmp_path, monkeypatch):
    monkeypatch.setattr("sllm_export.graph.builder.MAX_EMBEDDED_BYTES", 1000)
    out = tmp_path / "bundle"
    assert export(config, out, "--variant", "portable") == 0
    manifest = json.loads((out / "sllm.json").read_text())
    for graph in manifest["variants"][0]["graphs"].values():
        (data,) = graph["external_data"]
        assert data["file"] == graph["file"] + ".data"
        assert data["sha256"] == sha256(out / data["file"])


def test_model_card_can_be_given(config, tmp_path):
    card = tmp_path / "card.md"
    card.write_text("# Mine\n")
    out = tmp_path / "bundle"
    assert export(config, out, "--model-card", card, "--segmentation", "drop-truncate") == 0
    assert (out / "MODEL_CARD.md").read_text() == "# Mine\n"
    segmentation = json.loads((out / "sllm.json").read_text())["segmentation"]
    assert segmentation == {"tail": "drop", "long_sentence": "truncate"}


def test_an_empty_model_card_stays_empty(config, tmp_path):
    card, out = tmp_path / "card.md", tmp_path / "bundle"
    card.touch()
    assert export(config, out, "--model-card", card, "--variant", "portable") == 0
    assert (out / "MODEL_CARD.md").read_bytes() == b""


def test_golden_bundles_are_small():
    size = sum(path.stat().st_size for path in GOLDEN.rglob("*") if path.is_file())
    assert size < 3_000_000
