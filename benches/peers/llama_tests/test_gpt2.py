"""That llama.cpp computes what GPT-2 computes, on the weights of a bundle, one text or many."""

import math
from dataclasses import replace
from pathlib import Path

import gguf
import numpy as np
import pytest

from peers import llama_gpt2
from peers.gpt2_gguf import write_gguf
from peers.llama_gpt2 import LlamaQ4, LlamaQ8, tensor_types, write_quantized
from peers.random_model import RandomModel, Task
from peers.system import PeerError
from peers.workload import Workload
from sllm_export.checkpoint.expected import opt_weights
from sllm_export.config import load_config, parse_config
from sllm_export.verify import reference

GOLDEN = Path(__file__).resolve().parents[3] / "tests" / "golden"
WORKLOAD = Workload(prompt_tokens=12, sentence_tokens=4, sentences=3, threads=1)
# Blocks of Q6_K are of 256 weights.
HIDDEN, FFN, VOCAB, POSITIONS, LAYERS = 256, 512, 300, 48, 2


def tiny_opt(**backbone):
    """A model of GPT-2's layout."""
    raw = load_config(GOLDEN / "tiny-opt" / "config.json").raw
    raw |= {"hidden_size": HIDDEN, "vocab_size": VOCAB}
    sizes = {"ffn_size": FFN, "word_embed_size": HIDDEN}
    raw["backbone"] = raw["backbone"] | sizes | backbone
    return RandomModel(parse_config(raw), 0)


def gelu_ffn(weights, names, x):
    inner = reference._linear(weights, names[0], x)
    inner = inner * 0.5 * (1 + np.tanh(math.sqrt(2 / math.pi) * (inner + 0.044715 * inner**3)))
    return reference._linear(weights, names[1], inner)


def write_fp32(model, folder, precision, threads):
    path = folder / "full.gguf"
    write_gguf(model, path)
    return path


def test_tensors_have_the_names_and_shapes_of_gpt2(tmp_path):
    path = tmp_path / "model.gguf"
    write_gguf(tiny_opt(), path)
    found = {
        tensor.name: tuple(map(int, reversed(tensor.shape)))
        for tensor in gguf.GGUFReader(path).tensors
    }
    layer = {
        "attn_norm": (HIDDEN,),
        "attn_qkv": (3 * HIDDEN, HIDDEN),
        "attn_output": (HIDDEN, HIDDEN),
        "ffn_norm": (HIDDEN,),
        "ffn_up": (FFN, HIDDEN),
        "ffn_down": (HIDDEN, FFN),
    }
    expected = {
        "token_embd.weight": (VOCAB, HIDDEN),
        "position_embd.weight": (POSITIONS, HIDDEN),
        "output_norm.weight": (HIDDEN,),
        "output_norm.bias": (HIDDEN,),
    }
    for number in range(LAYERS):
        for name, shape in layer.items():
            expected[f"blk.{number}.{name}.weight"] = shape
            expected[f"blk.{number}.{name}.bias"] = shape[:1]
    assert found == expected


@pytest.mark.parametrize(
    ("backbone", "word"), [({"norm_first": False}, "tiny-opt"), ({"word_embed_size": 8}, "GPT-2")]
)
def test_models_of_another_layout_are_refused(tmp_path, backbone, word):
    with pytest.raises(PeerError, match=word):
        write_gguf(tiny_opt(**backbone), tmp_path / "model.gguf")


@pytest.mark.parametrize(
    ("precision", "types"), [("Q8_0", "19 F32, 9 Q8_0"), ("Q4_0", "19 F32, 8 Q4_0, 1 Q6_K")]
)
def test_types_are_those_of_the_quantizer(tmp_path, precision, types):
    path = write_quantized(tiny_opt(), tmp_path, precision, threads=1)
    assert tensor_types(path) == types
    by_name = {tensor.name: tensor.tensor_type.name for tensor in gguf.GGUFReader(path).tensors}
    # It is the output projection, too.
    assert by_name["token_embd.weight"] == ("Q6_K" if precision == "Q4_0" else "Q8_0")
    assert by_name["position_embd.weight"] == "F32"
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["f32.gguf", path.name]
    written = path.stat().st_mtime_ns
    assert write_quantized(tiny_opt(), tmp_path, precision, threads=1) == path
    assert path.stat().st_mtime_ns == written


@pytest.mark.parametrize("batch", [1, 3])
def test_logits_and_ids_are_those_of_gpt2(tmp_path, monkeypatch, batch):
    monkeypatch.setattr(llama_gpt2, "write_quantized", write_fp32)
    monkeypatch.setattr(reference, "_ffn", gelu_ffn)
    model, eos = tiny_opt(), tiny_opt().config.tokens.eos
    weights = opt_weights(model.weights())
    peer = LlamaQ8(Task(model, replace(WORKLOAD, batch=batch), tmp_path / "llama"))
    ids = WORKLOAD.token_prompt(VOCAB, model.config.tokens)
    chosen = peer.prefill()
    for _ in range(4):
        expected = reference.run_opt(model.config, weights, np.array([ids]))[0, -1]
        expected[eos] = -np.inf
        np.testing.assert_allclose(peer.logits, [expected] * batch, rtol=0.01, atol=0.01)
        assert chosen.tolist() == [int(expected.argmax())] * batch
        chosen = peer.step(chosen, len(ids))
        ids.append(int(expected.argmax()))


def test_sequences_are_apart(tmp_path):
    peer = LlamaQ8(Task(tiny_opt(), replace(WORKLOAD, batch=2), tmp_path / "llama"))
    peer.prefill()
    peer.step(np.array([7, 8]), WORKLOAD.prompt_tokens + 1)
    first = peer.logits.copy()
    peer.round()
    peer.prefill()
    peer.step(np.array([8, 7]), WORKLOAD.prompt_tokens + 1)
    assert not np.allclose(first[0], first[1])
    np.testing.assert_allclose(peer.logits, first[::-1], rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("kind", [LlamaQ8, LlamaQ4])
@pytest.mark.parametrize("batch", [1, 8])
def test_rounds_are_timed(tmp_path, kind, batch):
    peer = kind(Task(tiny_opt(), replace(WORKLOAD, batch=batch), tmp_path / "llama"))
    for _ in range(2):
        seconds = peer.round()
        assert seconds.prompt > 0
        assert seconds.generation > 0
    assert peer.details["llama-cpp-python"].startswith("0.")
    assert "CPU" in peer.details["llama.cpp"]
