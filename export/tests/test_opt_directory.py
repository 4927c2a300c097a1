"""OPT directories: names, tied head, one file or several, and what config.json says."""

import json
import shutil

import numpy as np
import pytest
from helpers import TOKENIZER, random_weights, tiny_opt
from safetensors.numpy import save_file

from sllm_export import cli
from sllm_export.checkpoint.expected import check_tensors, expected_shapes
from sllm_export.config import parse_config
from sllm_export.errors import CheckpointError
from sllm_export.opt_config import check_opt_config
from sllm_export.opt_directory import find_opt_weights, open_opt

EMBEDDING = "model.decoder.embed_tokens.weight"
INDEX = "model.safetensors.index.json"


def tensors():
    config, weights = random_weights(tiny_opt())
    return config, {name: weights.load(name) for name in weights.shapes}


def write_shards(folder, stored):
    """Two files and their index, as `save_pretrained` writes them."""
    names = sorted(stored)
    weight_map: dict[str, str] = {}
    for number, part in enumerate((names[::2], names[1::2]), 1):
        file = f"model-{number:05}-of-00002.safetensors"
        save_file({name: stored[name] for name in part}, folder / file)
        weight_map |= dict.fromkeys(part, file)
    (folder / INDEX).write_text(json.dumps({"metadata": {}, "weight_map": weight_map}))


@pytest.mark.parametrize("head", ["lm_head.weight", "decoder.output_projection.weight"])
def test_either_prefix_tied_head_and_version(tmp_path, head):
    config, stored = tensors()
    expected = expected_shapes(config)
    short = {name.removeprefix("model."): tensor for name, tensor in stored.items()}
    short |= {head: stored[EMBEDDING], "decoder.version": np.array([3.0], "f4")}
    save_file(short, tmp_path / "model.safetensors")
    state_dict, ignored = open_opt(find_opt_weights(tmp_path))
    check_tensors(state_dict, expected, ignored)
    name = "model.decoder.layers.1.fc1.weight"
    np.testing.assert_array_equal(state_dict.load(name), stored[name])


def test_output_projection_of_its_own_is_refused(tmp_path):
    _, stored = tensors()
    for head in (stored[EMBEDDING] + 1, stored[EMBEDDING][:3]):
        save_file({**stored, "lm_head.weight": head}, tmp_path / "model.safetensors")
        with pytest.raises(CheckpointError, match=r"lm_head\.weight is not the token embedding"):
            open_opt(find_opt_weights(tmp_path))


def test_directory_without_weights(tmp_path):
    with pytest.raises(CheckpointError, match="holds no weights"):
        find_opt_weights(tmp_path)


def test_several_files_are_one_checkpoint(tmp_path):
    config, stored = tensors()
    write_shards(tmp_path, stored)
    shutil.copy(TOKENIZER, tmp_path)
    state_dict, ignored = open_opt(find_opt_weights(tmp_path))
    check_tensors(state_dict, expected_shapes(config), ignored)
    for name, tensor in stored.items():
        np.testing.assert_array_equal(state_dict.load(name), tensor)
    (tmp_path / "given.json").write_text(json.dumps(tiny_opt()))
    arguments = ["--config", tmp_path / "given.json", "--opt", tmp_path, "--out", tmp_path / "out"]
    assert cli.main(["bundle", *map(str, arguments), "--variant", "portable"]) == 0
    manifest = json.loads((tmp_path / "out" / "sllm.json").read_text())
    checkpoint = manifest["provenance"]["checkpoint"]
    assert checkpoint["file"] == INDEX
    assert [len(shard["sha256"]) for shard in checkpoint["shards"]] == [64, 64]


HOSTILE_INDEXES = [
    ("not json", "cannot be read"),
    ("[]", "holds no weight_map"),
    ('{"weight_map": {}}', "holds no weight_map"),
    ('{"weight_map": {"a": "../secret.safetensors"}}', "no file beside it"),
    ('{"weight_map": {"a": "/etc/passwd"}}', "no file beside it"),
    ('{"weight_map": {"a": ".."}}', "no file beside it"),
    ('{"weight_map": {"a": 3}}', "what is no file name"),
    (f'{{"weight_map": {{"a": "{INDEX}"}}}}', "an index"),
    ('{"weight_map": {"a": "gone.safetensors"}}', "no such file"),
    ("[" * 100_000, "cannot be read"),
]


@pytest.mark.parametrize(("content", "message"), HOSTILE_INDEXES)
def test_hostile_index(tmp_path, content, message):
    (tmp_path / INDEX).write_text(content)
    with pytest.raises(CheckpointError, match=message):
        open_opt(find_opt_weights(tmp_path))


def test_tensor_in_two_files(tmp_path):
    _, stored = tensors()
    write_shards(tmp_path, stored)
    save_file({EMBEDDING: stored[EMBEDDING]}, tmp_path / "model-00001-of-00002.safetensors")
    save_file({EMBEDDING: stored[EMBEDDING]}, tmp_path / "model-00002-of-00002.safetensors")
    with pytest.raises(CheckpointError, match=r"embed_tokens\.weight is in another file too"):
        open_opt(find_opt_weights(tmp_path))


def test_every_difference_from_its_config_is_listed(tmp_path):
    config = parse_config(tiny_opt())
    check_opt_config(tmp_path, config)
    backbone = config.require_backbone()
    good = {
        "model_type": "opt",
        "num_attention_heads": backbone.heads,
        "num_hidden_layers": backbone.layers,
        "do_layer_norm_before": True,
        "_remove_final_layer_norm": False,
        "dropout": 0.1,
    }
    path = tmp_path / "config.json"
    path.write_text(json.dumps(good))
    check_opt_config(tmp_path, config)
    wrong = {"num_attention_heads": 4, "activation_function": "gelu", "bos_token_id": 0}
    path.write_text(json.dumps({**good, **wrong, "_remove_final_layer_norm": True}))
    with pytest.raises(CheckpointError) as caught:
        check_opt_config(tmp_path, config)
    assert sorted(caught.value.problems) == [
        "_remove_final_layer_norm is true (expected false)",
        'activation_function is "gelu" (expected "relu")',
        "bos_token_id is 0 (expected 2)",
        "num_attention_heads is 4 (expected 2)",
    ]
    for content in ("{", "3"):
        path.write_text(content)
        with pytest.raises(CheckpointError, match=r"config\.json"):
            check_opt_config(tmp_path, config)
