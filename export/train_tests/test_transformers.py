"""Bundles of kind opt against Hugging Face's OPT: `save_pretrained`, export, logits, greedy ids."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
import torch
from helpers import TOKENIZER, golden, golden_checkpoint, run_opt
from transformers import OPTConfig, OPTForCausalLM

from sllm_export import cli
from sllm_export.checkpoint import open_checkpoint
from sllm_export.checkpoint.expected import check_tensors, expected_shapes
from sllm_export.opt_directory import find_opt_weights, open_opt
from sllm_export.verify.runner import GraphRunner

NEW_TOKENS = 12
SHAPES = {
    # As OPT-125M and OPT-1.3B, and as OPT-350M, which has no final norm; and what neither has.
    "pre-norm": {"do_layer_norm_before": True, "word_embed_proj_dim": 32},
    "post-norm with projections": {"do_layer_norm_before": False, "word_embed_proj_dim": 16},
    "pre-norm with projections": {"do_layer_norm_before": True, "word_embed_proj_dim": 16},
}


def opt_config(**shape):
    return OPTConfig(
        vocab_size=64,
        hidden_size=32,
        num_hidden_layers=3,
        num_attention_heads=4,
        ffn_dim=48,
        max_position_embeddings=40,
        bos_token_id=2,
        eos_token_id=2,
        pad_token_id=1,
        **shape,
    )


def random_opt(config):
    """A model whose biases and norms are not those of a fresh one."""
    torch.manual_seed(0)
    model = OPTForCausalLM(config).eval().requires_grad_(False)
    for parameter in model.parameters():
        parameter += torch.randn_like(parameter) * 0.3
    return model


def our_config(config, **changes):
    """The configuration of ours that says the same."""
    raw = {
        "name": "random-opt",
        "kind": "opt",
        "vocab_size": config.vocab_size,
        "hidden_size": config.hidden_size,
        "tokens": {"bos": 2, "eos": 2, "pad": 1},
        "backbone": {
            "layers": config.num_hidden_layers,
            "heads": config.num_attention_heads,
            "ffn_size": config.ffn_dim,
            "norm_first": config.do_layer_norm_before,
            "max_positions": config.max_position_embeddings,
            "word_embed_size": config.word_embed_proj_dim,
        },
    }
    raw["backbone"] |= changes
    return raw


def save(model, folder, layout):
    """Saves the model as Hugging Face does, or did; returns its directory."""
    if layout == "safetensors":
        model.save_pretrained(folder)
    elif layout == "shards":
        model.save_pretrained(folder, max_shard_size="20KB")
        assert len(list(folder.glob("*.safetensors"))) > 1
    else:
        # Older versions saved with torch.save, the bare decoder without the first prefix.
        model.config.save_pretrained(folder)
        state = dict(model.state_dict())
        if layout == "bare .bin":
            state = {name.removeprefix("model."): tensor for name, tensor in state.items()}
        assert state["lm_head.weight"].data_ptr() == model.get_input_embeddings().weight.data_ptr()
        torch.save(state, folder / "pytorch_model.bin")
    shutil.copy(TOKENIZER, folder)
    return folder


def export(model, folder, **changes):
    """Exports the directory; returns the exit status and the bundle."""
    config = folder / "ours.json"
    config.write_text(json.dumps(our_config(model.config, **changes)))
    out = folder / "bundle"
    command = ["bundle", "--config", config, "--opt", folder, "--out", out]
    return cli.main([str(part) for part in command]), out


def greedy(model, prompt, count=NEW_TOKENS):
    """Hugging Face's greedy ids after the prompt [1, T]."""
    given = torch.tensor(prompt)
    ids = model.generate(
        given,
        attention_mask=torch.ones_like(given),
        max_new_tokens=count,
        do_sample=False,
        eos_token_id=None,
    )
    return ids[0, len(prompt[0]) :].tolist()


def assert_near(found, expected):
    """Equal to 1e-4 of the largest expected value."""
    assert found.shape == expected.shape
    assert np.abs(found - expected).max() <= 1e-4 * np.abs(expected).max()


@pytest.mark.parametrize("layout", ["safetensors", "shards", ".bin", "bare .bin"])
@pytest.mark.parametrize("shape", SHAPES)
def test_exported_opt_is_hugging_faces(tmp_path, shape, layout):
    model = random_opt(opt_config(**SHAPES[shape]))
    has_final_norm = "model.decoder.final_layer_norm.weight" in model.state_dict()
    assert has_final_norm == SHAPES[shape]["do_layer_norm_before"]
    status, bundle = export(model, save(model, tmp_path, layout))
    assert status == 0
    runner = GraphRunner(bundle / "portable" / "opt.onnx", capacity=40)
    prompt = [[2, 17, 30, 5, 9, 41, 8]]
    logits = run_opt(runner, np.array(prompt))
    assert_near(logits, model(torch.tensor(prompt)).logits.numpy())
    ids = [int(logits[0, -1].argmax())]
    while len(ids) < NEW_TOKENS:
        ids.append(int(run_opt(runner, np.array([ids[-1:]]))[0, -1].argmax()))
    assert ids == greedy(model, prompt)
    assert len(set(ids)) > 1


def test_half_precision_files(tmp_path):
    """OPT is published in float16."""
    model = random_opt(opt_config(**SHAPES["pre-norm"])).half()
    status, bundle = export(model, save(model, tmp_path, ".bin"))
    assert status == 0
    prompt = [[2, 17, 30, 5, 9]]
    logits = run_opt(GraphRunner(bundle / "portable" / "opt.onnx"), np.array(prompt))
    assert_near(logits, model.float()(torch.tensor(prompt)).logits.numpy())


def test_configuration_that_is_not_the_directorys(tmp_path, capsys):
    """Heads cannot be told from the tensors, and a final norm that is switched off is silent."""
    config = opt_config(**SHAPES["pre-norm"])
    model = random_opt(config)
    assert export(model, save(model, tmp_path, "safetensors"), heads=2)[0] == 1
    assert "num_attention_heads is 4 (expected 2)" in capsys.readouterr().err
    config._remove_final_layer_norm = True
    model = random_opt(config)
    folder = save(model, tmp_path, "safetensors")
    capsys.readouterr()
    status, bundle = export(model, folder)
    assert status == 1
    error = capsys.readouterr().err
    assert "_remove_final_layer_norm is true (expected false)" in error
    assert error.count("\n") == 1
    assert not bundle.exists()


def test_torch_file_from_before_1_6_is_named(tmp_path, capsys):
    model = random_opt(opt_config(**SHAPES["pre-norm"]))
    save(model, tmp_path, "safetensors")
    (tmp_path / "model.safetensors").unlink()
    old = {"_use_new_zipfile_serialization": False}
    torch.save(model.state_dict(), tmp_path / "pytorch_model.bin", **old)
    assert export(model, tmp_path)[0] == 1
    assert "is in PyTorch's format from before 1.6" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["tiny-opt", "tiny-opt-post"])
def test_golden_numbers_are_hugging_faces(name, tmp_path):
    """The numbers in tests/golden come from a model of ours: here from Hugging Face's."""
    config, expected = golden(name)
    backbone = config.require_backbone()
    theirs = OPTConfig(
        vocab_size=config.vocab_size,
        hidden_size=config.hidden_size,
        word_embed_proj_dim=backbone.word_embed_size,
        num_hidden_layers=backbone.layers,
        num_attention_heads=backbone.heads,
        ffn_dim=backbone.ffn_size,
        max_position_embeddings=backbone.max_positions,
        do_layer_norm_before=backbone.norm_first,
        pad_token_id=1,
    )
    model = OPTForCausalLM(theirs).eval().requires_grad_(False)
    weights = open_checkpoint(golden_checkpoint(name))
    state = {key: torch.tensor(weights.load(key)) for key in weights.shapes}
    state["lm_head.weight"] = state["model.decoder.embed_tokens.weight"]
    model.load_state_dict(state)
    case = expected["opt"]
    assert_near(model(torch.tensor(case["input_ids"])).logits.numpy(), np.array(case["logits"]))
    case = expected["generation"]
    ids = greedy(model, [case["prompt_ids"]], len(case["token_ids"]))
    assert ids == case["token_ids"]
    model.save_pretrained(tmp_path)
    opened, ignored = open_opt(find_opt_weights(tmp_path))
    check_tensors(opened, expected_shapes(config), ignored)
