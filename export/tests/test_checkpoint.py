"""Checkpoints: key tables, element types, and errors that list everything."""

import json

import numpy as np
import pytest
from helpers import (
    DATA,
    GOLDEN,
    MemoryStateDict,
    array,
    golden,
    golden_checkpoint,
    random_weights,
    tiny,
)
from safetensors.numpy import save_file

from sllm_export.checkpoint import open_checkpoint
from sllm_export.checkpoint.expected import check_finite, check_tensors, expected_shapes
from sllm_export.config import parse_config
from sllm_export.errors import CheckpointError


@pytest.mark.parametrize("path", sorted(GOLDEN.glob("tiny-*")), ids=lambda path: path.name)
def test_expected_tensors_are_those_pytorch_writes(path):
    config, _ = golden(path.name)
    state_dict = open_checkpoint(golden_checkpoint(path.name))
    assert dict(state_dict.shapes) == expected_shapes(config)


def test_every_missing_surplus_and_misshapen_tensor_is_listed():
    config, weights = random_weights(tiny())
    tensors = {name: np.zeros(shape) for name, shape in weights.shapes.items()}
    del tensors["fc.bias"], tensors["svae.encoder.lnorm.weight"]
    tensors["svae.decoder.linear.weight"] = np.zeros((64, 31))
    tensors["ema.step"] = np.zeros(())
    with pytest.raises(CheckpointError) as caught:
        check_tensors(MemoryStateDict(tensors, "x.pth"), expected_shapes(config))
    assert str(caught.value).startswith("x.pth: ")
    assert sorted(caught.value.problems) == [
        "missing fc.bias (expected shape [2])",
        "missing svae.encoder.lnorm.weight (expected shape [32])",
        "surplus ema.step (found shape [])",
        "svae.decoder.linear.weight has shape [64, 31] (expected [64, 32])",
    ]


def test_a_long_list_of_problems_is_counted():
    problems = [f"missing {number}." for number in range(12)]
    assert str(CheckpointError("x.pth", problems)).endswith("missing 9.; and 2 more")
    assert str(CheckpointError("x.pth", problems[:10])).endswith("; missing 9.")


@pytest.mark.parametrize(
    ("changes", "present", "absent"),
    [
        ({}, "svae.encoder.embed_token.weight", "svae.encoder.project_in.weight"),
        ({"svae.word_embed_size": 8}, "svae.decoder.project_in.weight", "svae.encoder.la.bias"),
        ({"svae.learnable_add": True}, "svae.encoder.la.weight", "svae.decoder.la.weight"),
        ({"kind": "svae", "backbone": None}, "encoder.lnorm.bias", "llm_pe.weight"),
    ],
)
def test_optional_tensors(changes, present, absent):
    shapes = expected_shapes(parse_config(tiny(**changes)))
    assert present in shapes
    assert absent not in shapes


def test_position_table_has_two_more_rows():
    assert expected_shapes(parse_config(tiny()))["llm_pe.weight"] == (10, 32)


def test_safetensors_element_types(tmp_path):
    values = np.array([[1.0, -2.5], [0.15625, 3e4]])
    path = tmp_path / "x.safetensors"
    tensors = {"f64": values, "f32": values.astype("f4"), "f16": values.astype("f2")}
    save_file({**tensors, "i64": np.arange(3), "scalar": np.array(2, "f4")}, path)
    state_dict = open_checkpoint(path)
    for name in tensors:
        loaded = state_dict.load(name)
        assert loaded.dtype == np.float32
        np.testing.assert_array_equal(loaded, values.astype("f4"))
    assert state_dict.load("scalar") == 2
    with pytest.raises(CheckpointError, match="i64 has element type I64"):
        state_dict.load("i64")


def test_bfloat16(tmp_path):
    values = np.array([1.0, -2.5, 3.140625], dtype=np.float32)
    halves = (values.view(np.uint32) >> 16).astype(np.uint16).tobytes()
    entry = {"dtype": "BF16", "shape": [3], "data_offsets": [0, len(halves)]}
    header = json.dumps({"x": entry}).encode()
    path = tmp_path / "x.safetensors"
    path.write_bytes(len(header).to_bytes(8, "little") + header + halves)
    np.testing.assert_array_equal(open_checkpoint(path).load("x"), values)


def test_torch_file_matches_pytorch():
    """Made by torch.save: shared, transposed and strided views, foreign objects all around."""
    state_dict = open_checkpoint(DATA / "mixed.pth")
    expected = json.loads((DATA / "mixed.json").read_text())
    assert list(state_dict.shapes) == list(expected)
    for name, values in expected.items():
        loaded = state_dict.load(name)
        assert loaded.dtype == np.float32
        assert loaded.shape == state_dict.shapes[name]
        wanted = array(values).astype(np.float32).reshape(loaded.shape)
        np.testing.assert_allclose(loaded, wanted, rtol=1e-5, err_msg=name)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("x.safetensors", b"hello", "not a safetensors file"),
        ("x.safetensors", b"\xff" * 64, "not a safetensors file"),
        ("x.pth", b"hello", "not a zip-format PyTorch file"),
        ("x.onnx", b"", "unknown checkpoint suffix"),
    ],
)
def test_not_a_checkpoint(tmp_path, name, content, message):
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=message):
        open_checkpoint(path)


def test_missing_checkpoint(tmp_path):
    with pytest.raises(CheckpointError, match="no such file"):
        open_checkpoint(tmp_path / "x.pth")


def test_torch_file_from_before_1_6(tmp_path):
    path = tmp_path / "x.pth"
    path.write_bytes(b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19.\x80\x02M\xe9\x03.")
    with pytest.raises(
        CheckpointError, match=r"PyTorch's format from before 1\.6; torch\.load and"
    ):
        open_checkpoint(path)


def test_averaged_weights_of_the_training_are_ignored():
    """mmengine's EMA hook swaps them: `state_dict` has the averages, which are to be used."""
    state_dict = open_checkpoint(golden_checkpoint("tiny-125m"))
    assert b"ema_state_dict" in golden_checkpoint("tiny-125m").read_bytes()
    assert b"mmengine.logging.history_buffer" in golden_checkpoint("tiny-125m").read_bytes()
    assert not any(name.startswith("module.") or name == "steps" for name in state_dict.shapes)


def test_prefix_of_distributed_training_is_dropped(tmp_path):
    path = tmp_path / "x.safetensors"
    save_file({"module.a": np.ones(2, "f4"), "module.module.b": np.zeros(3, "f4")}, path)
    state_dict = open_checkpoint(path)
    assert dict(state_dict.shapes) == {"a": (2,), "module.b": (3,)}
    assert state_dict.load("a").tolist() == [1, 1]
    save_file({"module.a": np.ones(2, "f4"), "b": np.zeros(3, "f4")}, path)
    assert dict(open_checkpoint(path).shapes) == {"module.a": (2,), "b": (3,)}


@pytest.mark.parametrize("prefix", ["_orig_mod.", "module._orig_mod.", "_orig_mod.module."])
def test_prefix_of_a_compiled_model_is_dropped(tmp_path, prefix):
    path = tmp_path / "x.safetensors"
    save_file({prefix + "a": np.ones(2, "f4"), prefix + "b": np.zeros(3, "f4")}, path)
    assert dict(open_checkpoint(path).shapes) == {"a": (2,), "b": (3,)}


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_value_that_is_not_finite_is_refused_wherever_it_is(value):
    config, weights = random_weights(tiny())
    tensors = {name: weights.load(name).copy() for name in weights.shapes}
    tensors["svae.encoder.embed_token.weight"][-1, -1] = value
    with pytest.raises(CheckpointError) as caught:
        check_finite(MemoryStateDict(tensors, "x.pth"), expected_shapes(config))
    assert caught.value.problems == [
        "svae.encoder.embed_token.weight holds values that are not finite"
    ]
