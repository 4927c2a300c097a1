"""Numbers and ids from PyTorch: the golden bundles must give them, and so must a new export."""

import json

import numpy as np
import pytest
from helpers import (
    GOLDEN,
    TOKENIZER,
    array,
    choosing,
    golden,
    golden_checkpoint,
    run_cli,
    run_opt,
)

from sllm_export import variants
from sllm_export.checkpoint import open_checkpoint
from sllm_export.checkpoint.expected import decoder_weights, encoder_weights
from sllm_export.checkpoint.state_dict import Weights
from sllm_export.verify import reference
from sllm_export.verify.runner import GraphRunner

BUNDLES = {
    "tiny-causal": GOLDEN / "bundle",
    "tiny-slots": GOLDEN / "bundle-slots",
    "tiny-context-bias": GOLDEN / "bundle-context-bias",
    "tiny-original": GOLDEN / "bundle-original",
    "tiny-125m": GOLDEN / "bundle-125m",
    "tiny-125m-add": GOLDEN / "bundle-125m-add",
    "tiny-350m": GOLDEN / "bundle-350m",
    "tiny-svae": GOLDEN / "bundle-svae",
    "tiny-opt": GOLDEN / "bundle-opt",
    "tiny-opt-post": GOLDEN / "bundle-opt-post",
}
OPT_MODELS = ["tiny-opt", "tiny-opt-post"]
KEPT_TAILS = ["tiny-causal", "tiny-slots", "tiny-context-bias", *OPT_MODELS]
CODERS = [name for name in BUNDLES if name not in OPT_MODELS]
SENTENCE_MODELS = [name for name in CODERS if name != "tiny-svae"]
VARIANTS = ["portable", "cpu-int8"]
TOLERANCES = {"portable": 1e-5, "cpu-int8": 0.03}
CAPACITY = 48


def runner(name, variant, graph):
    return GraphRunner(BUNDLES[name] / variant / f"{graph}.onnx", CAPACITY)


def assert_near(found, expected, tolerance, what=""):
    """Relative root mean square error at most `tolerance`."""
    assert found.shape == expected.shape, what
    error = np.sqrt(np.mean((found - expected) ** 2) / np.mean(expected**2))
    assert error <= tolerance, f"{what}: {error:.2e}"


@pytest.mark.parametrize("name", CODERS)
def test_numpy_coder_matches_pytorch(name):
    config, expected = golden(name)
    weights = open_checkpoint(golden_checkpoint(name))
    case = expected["encoder"]
    ids, mask = array(case["input_ids"]), array(case["attention_mask"])
    vectors = reference.encode(config, encoder_weights(config, weights), ids, mask)
    assert_near(vectors, array(case["sentence_embedding"]), 1e-5)
    case = expected["decoder"]
    sentence = array(case["sentence_embedding"])
    coder = decoder_weights(config, weights)
    context = array(case["context_tokens"]) if "context_tokens" in case else None
    logits = reference.decode(config, coder, array(case["input_ids"]), sentence, context)
    assert_near(logits, array(case["logits"]), 1e-5)


@pytest.mark.parametrize("name", SENTENCE_MODELS)
def test_numpy_backbone_matches_pytorch(name):
    config, expected = golden(name)
    weights = open_checkpoint(golden_checkpoint(name))
    backbone = expected["backbone"]
    inputs = array(backbone["inputs_embeds"])
    count = inputs.shape[1]
    allowed = reference.sentence_mask(config, backbone["prompt"], count)[None]
    hidden, stop = reference.run_backbone(config, Weights(weights), inputs, allowed)
    assert_near(hidden, array(backbone["hidden"]), 1e-5)
    assert_near(stop, array(backbone["stop_logits"]), 1e-5)


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("name", CODERS)
def test_coder_graphs_match_pytorch(name, variant):
    _, expected = golden(name)
    tolerance = TOLERANCES[variant]
    case = expected["encoder"]
    feeds = {key: array(case[key]) for key in ("input_ids", "attention_mask")}
    vectors = runner(name, variant, "encoder").run(feeds)["sentence_embedding"]
    assert_near(vectors, array(case["sentence_embedding"]), tolerance, "encoder")

    case = expected["decoder"]
    ids = array(case["input_ids"])
    feeds = {"input_ids": ids, "sentence_embedding": array(case["sentence_embedding"])}
    if "context_tokens" in case:
        feeds["context_tokens"] = array(case["context_tokens"]).astype(np.float32)
    found = runner(name, variant, "decoder").run(feeds, ids.shape[1])["logits"]
    assert_near(found, array(case["logits"]), tolerance, "decoder")

    encoder = runner(name, variant, "encoder")
    rows = zip(*(expected["encoder"][k] for k in ("input_ids", "attention_mask")), strict=True)
    sentences = [ids[: sum(mask)] for ids, mask in rows]
    decoded = [decode(name, variant, encode(encoder, ids), []) for ids in sentences]
    assert decoded == expected["reconstruction"]


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("name", SENTENCE_MODELS)
def test_backbone_graph_matches_pytorch(name, variant):
    config, expected = golden(name)
    tolerance = TOLERANCES[variant]
    case = expected["backbone"]
    vectors = array(case["inputs_embeds"])
    backbone = runner(name, variant, "backbone")
    bidirectional = config.require_backbone().prefill_attention == "bidirectional"
    prompt, count = case["prompt"], vectors.shape[1]
    pieces = [backbone.run({"inputs_embeds": vectors[:, :prompt]}, prompt, bidirectional)]
    for i in range(prompt, count):
        pieces.append(backbone.run({"inputs_embeds": vectors[:, i : i + 1]}, 1))
    for output in ("hidden", "stop_logits"):
        found = np.concatenate([piece[output] for piece in pieces], axis=1)
        assert_near(found, array(case[output]), tolerance, output)


def decode(name, variant, sentence, before):
    """Greedy ids for a sentence vector [1, D] after a context of the tokens `before`, with the
    final eos."""
    config, _ = golden(name)
    decoder = runner(name, variant, "decoder")
    context = {}
    if config.require_svae().context_bias_size:
        seen = np.isin(np.arange(config.vocab_size), before).astype(np.float32)
        context["context_tokens"] = seen[None]
    ids: list[int] = []
    token = config.tokens.bos
    while len(ids) < config.max_sentence_tokens:
        feeds = {"input_ids": np.array([[token]]), "sentence_embedding": sentence, **context}
        token = int(decoder.run(feeds, 1)["logits"][0, -1].argmax())
        ids.append(token)
        if token == config.tokens.eos:
            break
    return ids


def encode(encoder, ids):
    row = np.array([ids])
    feeds = {"input_ids": row, "attention_mask": np.ones_like(row)}
    return encoder.run(feeds)["sentence_embedding"]


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("name", SENTENCE_MODELS)
def test_generated_ids_are_pytorchs(name, variant):
    """After the prompt, and after the whole text, where the model stops at once; and with what the
    original's code has of a new sentence, the same vector for any, whose choices are closer."""
    config, expected = golden(name)
    cases = [(expected["generation"], True)]
    if "ended" in expected:
        cases.append((expected["ended"]["generation"], True))
        assert cases[-1][0]["sentences"] == []
    if "unmasked_generation" in expected and variant == "portable":
        cases.append((expected["unmasked_generation"], False))
    encoder = runner(name, variant, "encoder")
    weights = encoder_weights(config, open_checkpoint(golden_checkpoint(name)))
    for case, masked in cases:
        backbone = runner(name, variant, "backbone")
        bidirectional = config.require_backbone().prefill_attention == "bidirectional"
        prompt = np.concatenate([encode(encoder, ids) for ids in case["prompt_ids"]])
        out = backbone.run({"inputs_embeds": prompt[None]}, len(prompt), bidirectional)
        sentences: list[list[int]] = []
        reason = "max_sentences"
        for _ in range(case["max_new_sentences"]):
            if len(prompt) + len(sentences) == config.max_sentences:
                reason = "context_full"
                break
            if out["stop_logits"][0, -1].argmax() == 0:
                reason = "stop"
                break
            said = [*(ids[1:] for ids in case["prompt_ids"]), *(ids[:-1] for ids in sentences)]
            ids = decode(name, variant, out["hidden"][:, -1], np.concatenate(said))
            sentences.append(ids)
            again = [config.tokens.bos, *ids[:-1]] if config.reencode_bos else ids
            vector = encode(encoder, again) if masked else weights["lnorm.bias"][None]
            out = backbone.run({"inputs_embeds": vector[None]}, 1)
        assert sentences == [sentence["token_ids"] for sentence in case["sentences"]]
        assert reason == case["finish_reason"]


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("name", OPT_MODELS)
def test_opt_matches_pytorch(name, variant):
    config, expected = golden(name)
    case = expected["opt"]
    ids = array(case["input_ids"])
    model = runner(name, variant, "opt")
    logits = run_opt(model, ids)
    assert_near(logits, array(case["logits"]), TOLERANCES[variant])
    generated = [int(logits[0, -1].argmax())]
    while generated[-1] != config.tokens.eos:
        logits = run_opt(model, np.array([generated[-1:]]))
        generated.append(int(logits[0, -1].argmax()))
    assert generated == expected["generation"]["token_ids"]


INT8 = next(v for v in variants.VARIANTS if v.name == "cpu-int8")
HALF = next(v for v in variants.VARIANTS if v.name == "cuda-fp16")


@pytest.mark.parametrize(
    ("bundle", "name", "variant"),
    [
        ("bundle-fast", "tiny-causal", choosing(INT8)),
        ("bundle-opt-fast", "tiny-opt", choosing(INT8)),
        ("bundle-half", "tiny-causal", HALF),
        ("bundle-original-half", "tiny-original", HALF),
        ("bundle-opt-half", "tiny-opt", HALF),
    ],
)
def test_graphs_that_choose_are_those_of_today(bundle, name, variant, tmp_path):
    config, weights = golden(name)[0], open_checkpoint(golden_checkpoint(name))
    for graph in variants.GRAPHS[config.kind]:
        variants.build_graph(config, weights, variant, graph).save(tmp_path / f"{graph}.onnx")
        committed = GOLDEN / bundle / variant.name / f"{graph}.onnx"
        assert (tmp_path / f"{graph}.onnx").read_bytes() == committed.read_bytes(), graph


@pytest.mark.parametrize("variant", [choosing(INT8), choosing(HALF)], ids=["int8", "half"])
def test_a_context_bias_counts_where_the_graph_chooses(variant, tmp_path):
    config, expected = golden("tiny-context-bias")
    weights = open_checkpoint(golden_checkpoint("tiny-context-bias"))
    path = tmp_path / "decoder.onnx"
    variants.build_graph(config, weights, variant, "decoder").save(path)
    case = expected["decoder"]
    ids = array(case["input_ids"])
    feeds = {"input_ids": ids, "sentence_embedding": array(case["sentence_embedding"])}
    feeds["context_tokens"] = array(case["context_tokens"]).astype(np.float32)
    found = GraphRunner(path, CAPACITY).run(feeds, ids.shape[1])
    chosen = np.take_along_axis(array(case["logits"]), found["candidate_ids"], axis=-1)
    assert found["candidate_ids"].shape[-1] < config.vocab_size
    assert_near(found["candidate_logits"], chosen, TOLERANCES["cpu-int8"])


@pytest.mark.parametrize("name", BUNDLES)
def test_exporting_again_gives_the_same_files(name, tmp_path):
    """Also through the command line: same hashes for every graph, the same manifest."""
    out = tmp_path / "bundle"
    folder = GOLDEN / name
    segmentation = "keep-split" if name in KEPT_TAILS else "drop-truncate"
    arguments = ("--config", folder / "config.json", "--tokenizer", TOKENIZER, "--out", out)
    checkpoint = ("--checkpoint", golden_checkpoint(name))
    result = run_cli("bundle", *arguments, *checkpoint, "--segmentation", segmentation)
    assert result.returncode == 0, result.stderr
    assert result.stdout == ""
    manifests = [json.loads((d / "sllm.json").read_text()) for d in (out, BUNDLES[name])]
    assert manifests[0] == manifests[1]
