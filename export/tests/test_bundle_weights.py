"""A checkpoint is recovered from a bundle."""

import json
from typing import Any

import numpy as np
import onnx
import pytest
from bundle_command import export
from helpers import tiny, tiny_opt
from onnx import numpy_helper
from safetensors.numpy import save_file

from sllm_export.checkpoint.bundle_weights import BundleWeights
from sllm_export.checkpoint.expected import check_tensors, expected_shapes
from sllm_export.config import parse_config
from sllm_export.errors import CheckpointError, ConfigError

SLOTS = {"svae.slots": 4, "svae.norm_first": True, "svae.decoder_layers": 2}
MODELS = {
    "sum": tiny(),
    "projected": tiny(**{"svae.word_embed_size": 16, "svae.learnable_add": True}),
    "slots": tiny(**SLOTS),
    "svae": tiny(kind="svae", backbone=None, **SLOTS),
    "opt": tiny_opt(**{"backbone.word_embed_size": 16}),
}


def weights_of(bundle):
    """All weights of the portable graphs, by their names."""
    return {
        f"{graph.name}: {tensor.name}": numpy_helper.to_array(tensor)
        for graph in sorted((bundle / "portable").glob("*.onnx"))
        for tensor in onnx.load(graph).graph.initializer
    }


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("half", [False, True], ids=["fp32", "fp16"])
def test_its_bundle_is_the_same(name, half, config, tmp_path):
    config.write_text(json.dumps(MODELS[name]))
    first, second, file = tmp_path / "first", tmp_path / "second", tmp_path / "model.safetensors"
    options = ["--variant", "portable", *(["--half-weights"] if half else [])]
    assert export(config, first, *options) == 0
    found = BundleWeights(first)
    check_tensors(found, expected_shapes(parse_config(MODELS[name])))
    save_file({name: np.ascontiguousarray(found.load(name)) for name in found.shapes}, file)
    # The command compares the graphs with the checkpoint by itself.
    assert export(config, second, *options, "--checkpoint", file) == 0
    before, after = weights_of(first), weights_of(second)
    assert before.keys() == after.keys()
    # What is folded is rounded to float16 before.
    error = 2e-3 if half else 2e-6
    for key, values in before.items():
        np.testing.assert_allclose(after[key], values, rtol=1e-3, atol=error, err_msg=key)


def test_what_is_no_bundle_is_refused(config, tmp_path):
    bundle = tmp_path / "bundle"
    with pytest.raises(CheckpointError, match=r"sllm\.json: No such file"):
        BundleWeights(bundle)
    assert export(config, bundle, "--variant", "cpu-int8") == 0
    with pytest.raises(CheckpointError, match="no bundle with the variant portable"):
        BundleWeights(bundle)
    assert export(config, bundle, "--variant", "portable", "--force") == 0
    graph = bundle / "portable" / "encoder.onnx"
    graph.write_bytes(b"no graph")
    manifest = json.loads((bundle / "sllm.json").read_text())
    del manifest["variants"][0]["graphs"]["encoder"]["sha256"]
    (bundle / "sllm.json").write_text(json.dumps(manifest))
    with pytest.raises(CheckpointError, match="no bundle"):
        BundleWeights(bundle)
    graph.unlink()
    with pytest.raises(CheckpointError, match=r"encoder\.onnx: No such file"):
        BundleWeights(bundle)
    manifest["model"]["hidden_size"] = -1
    (bundle / "sllm.json").write_text(json.dumps(manifest))
    with pytest.raises(ConfigError, match="hidden_size"):
        BundleWeights(bundle)


@pytest.mark.parametrize("name", ["portable/backbone.onnx", "portable/decoder.onnx.data"])
def test_damaged_files_are_refused(name, config, tmp_path, monkeypatch):
    if name.endswith(".data"):
        monkeypatch.setattr("sllm_export.graph.builder.MAX_EMBEDDED_BYTES", 1000)
    bundle = tmp_path / "bundle"
    assert export(config, bundle, "--variant", "portable") == 0
    BundleWeights(bundle)
    for file in (bundle / name, bundle / "tokenizer.json"):
        whole = file.read_bytes()
        for damaged in (whole[:-1] + bytes([whole[-1] ^ 1]), whole[:-1]):
            file.write_bytes(damaged)
            with pytest.raises(CheckpointError) as caught:
                BundleWeights(bundle)
            assert str(caught.value).startswith(f"{file}: is damaged: its SHA-256 is not that in")
        file.write_bytes(whole)
    manifest = json.loads((bundle / "sllm.json").read_text())
    del manifest["tokenizer"]
    (bundle / "sllm.json").write_text(json.dumps(manifest))
    BundleWeights(bundle)


MALFORMED: dict[str, dict[str, Any]] = {
    "graphs are a list": {"variants": [{"name": "portable", "graphs": []}]},
    "graphs are null": {"variants": [{"name": "portable", "graphs": None}]},
    "graph is a list": {"variants": [{"name": "portable", "graphs": {"encoder": []}}]},
    "graph is text": {"variants": [{"name": "portable", "graphs": {"encoder": "a"}}]},
    "variant is a list": {"variants": [[]]},
    "no variants": {"variants": []},
    "external data": {
        "variants": [{"name": "portable", "graphs": {"encoder": {"external_data": [1]}}}]
    },
    "tokenizer is a list": {"variants": [{"name": "portable", "graphs": {}}], "tokenizer": []},
    "no graphs": {"variants": [{"name": "portable", "graphs": {}}]},
}


@pytest.mark.parametrize("name", MALFORMED)
def test_malformed_manifests(name, tmp_path):
    (tmp_path / "sllm.json").write_text(json.dumps({"model": tiny(), **MALFORMED[name]}))
    with pytest.raises(CheckpointError, match="is no bundle with the variant portable"):
        BundleWeights(tmp_path)


def test_a_manifest_that_is_too_deep(tmp_path):
    (tmp_path / "sllm.json").write_text("[" * 100_000)
    with pytest.raises(CheckpointError, match="is no bundle with the variant portable"):
        BundleWeights(tmp_path)
