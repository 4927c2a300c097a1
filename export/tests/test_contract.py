"""Names, types and shapes of every graph's inputs and outputs: what the Rust side relies on."""

import pytest
from helpers import random_weights, tiny, tiny_opt

from sllm_export.variants import GRAPHS, VARIANTS, build_graph
from sllm_export.verify.runner import GraphRunner

I32, I64, F32, BOOL = "tensor(int32)", "tensor(int64)", "tensor(float)", "tensor(bool)"
F16 = "tensor(float16)"
SENTENCE_GRAPHS = ("encoder", "backbone", "decoder")
TOKENS = (I64, ["batch", "tokens"])
LENGTHS = {"seqlens_k": (I32, ["batch"]), "total_sequence_length": (I32, [])}


def caches(variant: str, heads: int, size: int):
    """The cache inputs and outputs of two layers."""
    past, present = axes(variant)
    element = F32 if variant in ("portable", "cpu-int8", "cpu-int4") else F16
    names = [f"{layer}.{part}" for layer in range(2) for part in ("key", "value")]
    inputs = {f"past_key_values.{n}": (element, ["batch", heads, past, size]) for n in names}
    outputs = {f"present.{n}": (element, ["batch", heads, present, size]) for n in names}
    return inputs, outputs


def axes(variant):
    """The dimensions of a cache that vary."""
    return ("cached", "total") if concatenates(variant) else ("capacity", "capacity")


def concatenates(variant):
    """Whether its graphs have standard operators only, and so return longer caches."""
    return variant.startswith("portable")


def scores(variant, positions):
    """Inputs and outputs by which tokens are chosen, of a vocabulary of 64."""
    if not variant.startswith("cuda"):
        return {}, {"logits": (F32, ["batch", positions, 64])}
    chosen = ["batch", positions, 64]
    return {"all_logits": (BOOL, [])}, {
        "candidate_ids": (I64, chosen),
        "candidate_logits": (F32, chosen),
        "logits": (F32, ["batch", positions, "scored"]),
    }


def encoder(variant):
    return {"input_ids": TOKENS, "attention_mask": TOKENS}, {
        "sentence_embedding": (F32, ["batch", 32])
    }


def backbone(variant, bidirectional):
    inputs = {
        "inputs_embeds": (F32, ["batch", "sentences", 32]),
        "position_ids": (I64, ["batch", "sentences"]),
    }
    if concatenates(variant):
        inputs["attention_mask"] = (BOOL, ["batch", "sentences", "total"])
    else:
        inputs |= LENGTHS
        if bidirectional:
            inputs["bidirectional"] = (BOOL, [])
    outputs = {
        "hidden": (F32, ["batch", "sentences", 32]),
        "stop_logits": (F32, ["batch", "sentences", 2]),
    }
    past, present = caches(variant, 2, 16)
    return inputs | past, outputs | present


def decoder(variant):
    inputs = {
        "input_ids": TOKENS,
        "position_ids": TOKENS,
        "sentence_embedding": (F32, ["batch", 32]),
    }
    if not concatenates(variant):
        inputs |= LENGTHS
    past, present = caches(variant, 4, 8)
    asked, found = scores(variant, "tokens")
    return inputs | past | asked, found | present


def opt(variant):
    inputs = {"input_ids": TOKENS, "position_ids": TOKENS, "logits_to_keep": (I64, [])}
    if concatenates(variant):
        inputs["attention_mask"] = (BOOL, ["batch", "tokens", "total"])
    else:
        inputs |= LENGTHS
    past, present = caches(variant, 2, 16)
    asked, found = scores(variant, "kept")
    return inputs | past | asked, found | present


@pytest.mark.parametrize("variant", VARIANTS, ids=lambda variant: variant.name)
@pytest.mark.parametrize("prefill", ["causal", "bidirectional", "opt"])
def test_contract(variant, prefill, tmp_path):
    name = variant.name
    expected = {
        "encoder": encoder(name),
        "backbone": backbone(name, prefill == "bidirectional"),
        "decoder": decoder(name),
        "opt": opt(name),
    }
    raw = tiny_opt() if prefill == "opt" else tiny(**{"backbone.prefill_attention": prefill})
    config, weights = random_weights(raw)
    assert GRAPHS[config.kind] == (("opt",) if prefill == "opt" else SENTENCE_GRAPHS)
    for graph in GRAPHS[config.kind]:
        path = tmp_path / f"{graph}.onnx"
        build_graph(config, weights, variant, graph).save(path)
        runner = GraphRunner(path)
        values = (runner.session.get_inputs(), runner.session.get_outputs())
        found = tuple({v.name: (v.type, v.shape) for v in side} for side in values)
        assert found == expected[graph], graph
        assert runner.metadata == {
            "sllm.contract_version": "1",
            "sllm.model": "tiny",
            "sllm.graph": graph,
        }
