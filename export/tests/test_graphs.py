"""Graphs in ONNX Runtime against the numpy evaluation of the same random weights."""

from dataclasses import replace

import numpy as np
import onnx
import pytest
from helpers import MemoryStateDict, choosing, random_weights, tiny, tiny_opt
from onnx import helper, numpy_helper

from sllm_export.checkpoint.state_dict import Weights
from sllm_export.graph import builder
from sllm_export.graph.precision import Int4Half, Quantized, eight_bit_block
from sllm_export.graph.quantize import dequantize, quantize
from sllm_export.variants import (
    GRAPHS,
    VARIANTS,
    build_graph,
    build_step_graph,
    select_variants,
)
from sllm_export.verify import reference
from sllm_export.verify.cases import make_cases
from sllm_export.verify.outputs import check_graph, run_case
from sllm_export.verify.runner import Arrays, GraphRunner
from sllm_export.verify.weights import check_weights

CONFIGS = {
    "pre-norm": tiny(),
    "post-norm": tiny(**{"backbone.norm_first": False}),
    "project-in": tiny(**{"svae.word_embed_size": 24}),
    "learnable-add": tiny(**{"svae.learnable_add": True}),
    "bidirectional": tiny(**{"backbone.prefill_attention": "bidirectional"}),
    "350m-like": tiny(
        **{
            "backbone.norm_first": False,
            "backbone.prefill_attention": "bidirectional",
            "svae.word_embed_size": 16,
            "reencode_bos": False,
        }
    ),
    "svae": tiny(kind="svae", backbone=None),
    "large-blocks": tiny(kind="svae", backbone=None, **{"svae.ffn_size": 768}),
    "opt pre-norm": tiny_opt(),
    "opt post-norm": tiny_opt(**{"backbone.norm_first": False, "backbone.word_embed_size": 16}),
}
TOLERANCES = {
    "portable": 1e-5,
    "cpu-int8": 0.03,
    "cpu-int4": 0.03,
    "cuda-fp16": 0.005,
    "cuda-int4": 0.005,
    "portable-fp16": 0.005,
}
STEP_TOLERANCES = {"cuda-fp16": 0.02, "cuda-int4": 0.02, "portable-fp16": 0.02}
"""Of values about 1: in float16 the order of the sums is seen."""
PORTABLE = next(variant for variant in VARIANTS if variant.name == "portable")
INT8 = next(variant for variant in VARIANTS if variant.name == "cpu-int8")
INT4 = next(variant for variant in VARIANTS if variant.name == "cpu-int4")
HALF = next(variant for variant in VARIANTS if variant.name == "cuda-fp16")
INT4_HALF = next(variant for variant in VARIANTS if variant.name == "cuda-int4")
PORTABLE_HALF = next(variant for variant in VARIANTS if variant.name == "portable-fp16")
ALL_INT4_HALF = replace(INT4_HALF, precision=Int4Half(small=0, coarse_from=0, candidates=8))


def write(raw, variant, folder):
    """Writes a variant's graphs of a model with random weights; returns their paths by name."""
    config, weights = random_weights(raw)
    paths = {}
    for graph in GRAPHS[config.kind]:
        paths[graph] = folder / f"{graph}.onnx"
        build_graph(config, weights, variant, graph).save(paths[graph])
    return config, weights, paths


@pytest.mark.parametrize("variant", VARIANTS, ids=lambda variant: variant.name)
@pytest.mark.parametrize("name", CONFIGS)
def test_graphs_match_numpy(name, variant, tmp_path):
    """Padding in the encoder; prefill and two cached steps elsewhere."""
    config, weights, paths = write(CONFIGS[name], variant, tmp_path)
    for case in make_cases(config, weights):
        check_graph(paths[case.graph], case, TOLERANCES[variant.name])


@pytest.mark.parametrize("raw", [tiny(), CONFIGS["350m-like"]], ids=["causal", "bidirectional"])
@pytest.mark.parametrize("variant", VARIANTS, ids=lambda variant: variant.name)
def test_attention_masks_matter(raw, variant, tmp_path):
    """The check would notice a causal prefill in place of a bidirectional one, and vice versa."""
    config, weights, paths = write(raw, variant, tmp_path)
    other = {"causal": "bidirectional", "bidirectional": "causal"}
    changed = tiny(**{"backbone.norm_first": raw["backbone"]["norm_first"]})
    prefill = other[raw["backbone"]["prefill_attention"]]
    changed["backbone"]["prefill_attention"] = prefill
    changed["svae"] = raw["svae"]
    wrong = next(
        c for c in make_cases(random_weights(changed)[0], weights) if c.graph == "backbone"
    )
    right = next(c for c in make_cases(config, weights) if c.graph == "backbone")
    difference = np.abs(wrong.expected["hidden"] - right.expected["hidden"])[:, : right.prompt]
    assert difference.max() > 0.1
    check_graph(paths["backbone"], right, TOLERANCES[variant.name])


@pytest.mark.parametrize("variant", VARIANTS, ids=lambda variant: variant.name)
def test_steps_equal_full_recompute(variant, tmp_path):
    _, _, paths = write(tiny(), variant, tmp_path)
    generator = np.random.default_rng(3)
    ids = generator.integers(0, 64, (1, 7))
    feeds = {"sentence_embedding": generator.standard_normal((1, 32), dtype=np.float32)}
    vectors = generator.standard_normal((1, 7, 32), dtype=np.float32)
    whole = GraphRunner(paths["decoder"]).run({"input_ids": ids, **feeds}, 7)["logits"]
    steps = GraphRunner(paths["decoder"])
    sentences = GraphRunner(paths["backbone"])
    hidden = GraphRunner(paths["backbone"]).run({"inputs_embeds": vectors}, 7)["hidden"]
    atol = STEP_TOLERANCES.get(variant.name, 2e-5)
    for start, end in ((0, 1), (1, 4), (4, 5), (5, 7)):
        count = end - start
        logits = steps.run({"input_ids": ids[:, start:end], **feeds}, count)["logits"]
        np.testing.assert_allclose(logits, whole[:, start:end], atol=atol)
        out = sentences.run({"inputs_embeds": vectors[:, start:end]}, count)["hidden"]
        np.testing.assert_allclose(out, hidden[:, start:end], atol=atol)


@pytest.mark.parametrize("variant", VARIANTS, ids=lambda variant: variant.name)
def test_only_the_wanted_logits_are_computed(variant, tmp_path):
    _, _, paths = write(tiny_opt(), variant, tmp_path)
    ids = np.array([[2, 9, 10, 5, 6], [2, 4, 11, 7, 8]])
    whole = GraphRunner(paths["opt"]).run({"input_ids": ids}, 5)["logits"]
    for count, kept in ((1, 1), (3, 3), (5, 5), (9, 5)):
        feeds = {"input_ids": ids, "logits_to_keep": np.array(count)}
        logits = GraphRunner(paths["opt"]).run(feeds, 5)["logits"]
        atol = STEP_TOLERANCES.get(variant.name, 2e-5)
        np.testing.assert_allclose(logits, whole[:, 5 - kept :], atol=atol)


def test_padding_does_not_change_a_sentence(tmp_path):
    _, _, paths = write(CONFIGS["learnable-add"], PORTABLE, tmp_path)
    encoder = GraphRunner(paths["encoder"])
    ids = np.array([[2, 9, 10, 1, 1, 1], [2, 9, 10, 63, 4, 7], [1, 1, 1, 1, 1, 1]])
    mask = np.array([[1, 1, 1, 0, 0, 0], [1, 1, 1, 0, 0, 0], [0, 0, 0, 0, 0, 0]])
    padded = encoder.run({"input_ids": ids, "attention_mask": mask})["sentence_embedding"]
    alone = encoder.run({"input_ids": ids[:1, :3], "attention_mask": mask[:1, :3]})
    for row in padded[:2]:
        np.testing.assert_allclose(row, alone["sentence_embedding"][0], atol=1e-6)
    assert np.isfinite(padded).all()


def test_more_tokens_than_positions_is_an_error(tmp_path):
    _, _, paths = write(tiny(), PORTABLE, tmp_path)
    ids = np.ones((1, 13), dtype=np.int64)
    with pytest.raises(Exception, match="Add"):
        GraphRunner(paths["encoder"]).run({"input_ids": ids, "attention_mask": ids})


@pytest.mark.parametrize("prefill", ["causal", "bidirectional"])
def test_prompts_of_different_lengths_in_one_batch(prefill, tmp_path):
    """The mask, or the lengths, hide what lies past the end of the shorter prompt."""
    raw = tiny(**{"backbone.prefill_attention": prefill})
    config, weights, paths = write(raw, PORTABLE, tmp_path)
    vectors = np.random.default_rng(5).standard_normal((2, 4, 32), dtype=np.float32)
    lengths = (2, 4)
    expected = [
        reference.run_backbone(
            config,
            Weights(weights),
            vectors[row : row + 1, :length],
            reference.sentence_mask(config, length, length)[None],
        )[0][0]
        for row, length in enumerate(lengths)
    ]
    allowed = np.tile(reference.sentence_mask(config, 4, 4), (2, 1, 1))
    allowed &= np.array([[np.arange(4) < length] for length in lengths])
    past = np.zeros((2, 2, 0, 16), dtype=np.float32)
    feeds: Arrays
    feeds = {f"past_key_values.{i}.{part}": past for i in (0, 1) for part in ("key", "value")}
    feeds["position_ids"] = np.tile(np.arange(4), (2, 1))
    portable = GraphRunner(paths["backbone"]).session
    found = portable.run(["hidden"], {**feeds, "inputs_embeds": vectors, "attention_mask": allowed})
    for row, length in enumerate(lengths):
        np.testing.assert_allclose(found[0][row, :length], expected[row], atol=1e-5)

    _, _, paths = write(raw, INT8, tmp_path)
    past = np.zeros((2, 2, 8, 16), dtype=np.float32)
    feeds = {name: past for name in feeds if name.startswith("past")}
    feeds["position_ids"] = np.tile(np.arange(4), (2, 1))
    feeds["seqlens_k"] = np.array(lengths, dtype=np.int32) - 1
    feeds["total_sequence_length"] = np.array(4, dtype=np.int32)
    if prefill == "bidirectional":
        feeds["bidirectional"] = np.array(True)
    in_place = GraphRunner(paths["backbone"]).session
    found = in_place.run(["hidden"], {**feeds, "inputs_embeds": vectors})
    for row, length in enumerate(lengths):
        difference = found[0][row, :length] - expected[row]
        assert np.sqrt(np.mean(difference**2)) < 0.03 * np.sqrt(np.mean(expected[row] ** 2))


@pytest.mark.parametrize("variant", [PORTABLE, PORTABLE_HALF], ids=lambda variant: variant.name)
def test_portable_graphs_hold_standard_operators_only(variant, tmp_path):
    for raw in (CONFIGS["350m-like"], tiny_opt()):
        for path in write(raw, variant, tmp_path)[2].values():
            model = onnx.load(path)
            onnx.checker.check_model(model, full_check=True)
            assert [(o.domain, o.version) for o in model.opset_import] == [("", builder.OPSET)]
            assert all(node.domain == "" for node in model.graph.node)
            assert model.ir_version <= 10


def test_external_data(tmp_path, monkeypatch):
    monkeypatch.setattr(builder, "MAX_EMBEDDED_BYTES", 1000)
    config, weights, paths = write(tiny(), PORTABLE, tmp_path)
    for case in make_cases(config, weights):
        path = paths[case.graph]
        data = path.with_name(path.name + ".data")
        assert data.stat().st_size > path.stat().st_size > 0
        check_graph(path, case, TOLERANCES["portable"])


@pytest.mark.parametrize(("bits", "block"), [(8, 16), (8, 128), (4, 32), (4, 128)])
@pytest.mark.parametrize("columns", [16, 32, 33, 100, 768, 770])
def test_quantisation(columns, bits, block):
    weight = np.random.default_rng(0).standard_normal((5, columns), dtype=np.float32)
    weight[1] = 0
    weight[2, : min(columns, 32)] = -3
    codes, scales = quantize(weight, bits, block)
    blocks = -(-columns // block)
    assert codes.shape == (5, blocks, block * bits // 8)
    assert scales.shape == (5, blocks)
    found = dequantize(codes, scales, columns, bits)
    np.testing.assert_array_equal(found[1], 0)
    step = np.repeat(scales, block, axis=1)[:, :columns]
    top = (1 << (bits - 1)) - 1
    # What is larger than the largest code is clipped; all else is rounded.
    error = np.abs(found - np.clip(weight, step * (-top - 1), step * top))
    assert (error <= step * 0.5001).all()
    # Clipping must pay: no block is worse than without it.
    padded = np.zeros((5, blocks * block), dtype=np.float32)
    padded[:, :columns] = weight
    grouped = padded.reshape(5, blocks, block)
    whole = np.maximum(np.abs(grouped).max(axis=-1, keepdims=True) / top, 1e-9)
    unclipped = np.square(np.rint(grouped / whole) * whole - grouped).sum(axis=-1)
    padded[:, :columns] = found - weight
    assert (np.square(grouped).sum(axis=-1) <= unclipped * 1.001 + 1e-9).all()


def test_block_sizes():
    sizes = {32: 16, 512: 16, 768: 128, 800: 16, 1024: 128, 8192: 128}
    assert {columns: eight_bit_block(columns) for columns in sizes} == sizes


@pytest.mark.parametrize("raw", [tiny(), tiny_opt()], ids=["decoder", "opt"])
@pytest.mark.parametrize("variant", [INT8, HALF, INT4_HALF], ids=lambda variant: variant.name)
def test_candidates_are_the_best_tokens(raw, variant, tmp_path):
    """Exact logits, best first; the others, where asked for, are coarse."""
    config, weights, paths = write(raw, choosing(variant), tmp_path)
    case = make_cases(config, weights)[-1]
    check_graph(paths[case.graph], case, 0.2)
    steps = case.expected["logits"].shape[1]
    found = GraphRunner(paths[case.graph]).run(case.feeds, steps)
    ids, logits = found["candidate_ids"], found["candidate_logits"]
    assert ids.shape == logits.shape == (2, steps, 8)
    assert (np.diff(logits) <= 0).all()
    exact = np.take_along_axis(case.expected["logits"], ids, axis=-1)
    scale = np.sqrt(np.mean(case.expected["logits"] ** 2))
    np.testing.assert_allclose(logits, exact, atol=0.05 * scale)
    np.testing.assert_array_equal(np.take_along_axis(found["logits"], ids, axis=-1), logits)
    best = case.expected["logits"].argmax(axis=-1)
    assert (best[..., None] == ids).any(axis=-1).all()
    unasked = {**case.feeds, "all_logits": np.array(False)}
    assert GraphRunner(paths[case.graph]).run(unasked, steps)["logits"].shape == (2, steps, 0)


def test_four_bits(tmp_path):
    """Half of the bytes of eight bits, and an error that is bounded."""
    precision = Quantized(4, small=0)
    raw = tiny(**{"hidden_size": 64, "svae.word_embed_size": 64, "backbone.ffn_size": 256})
    config, weights, paths = write(raw, replace(INT4, precision=precision), tmp_path)
    for case in make_cases(config, weights):
        check_graph(paths[case.graph], case, 0.5)
    (tmp_path / "int8").mkdir()
    eight = write(raw, INT8, tmp_path / "int8")[2]["backbone"].stat().st_size
    assert paths["backbone"].stat().st_size < 0.75 * eight


def as_float32(path):
    """Writes the graph with each 4-bit product as a float32 one of the weight it stands for."""
    model = onnx.load(path)
    values = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    nodes = []
    for node in model.graph.node:
        if node.op_type != "MatMulNBits":
            nodes.append(node)
            continue
        form = {a.name: helper.get_attribute_value(a) for a in node.attribute}
        assert (form["bits"], form["block_size"]) == (4, 32)
        assert len(node.input) == 3, "a bias, which CUDA's fast kernels do not take"
        x, codes, scales = node.input
        assert values[scales].dtype == np.float16
        weight = dequantize(values[codes], values[scales], form["K"], 4).T
        name = codes.replace(".codes", ".float32")
        model.graph.initializer.append(numpy_helper.from_array(np.ascontiguousarray(weight), name))
        wide, product, out = f"{name}.x", f"{name}.product", node.output[0]
        nodes += [
            helper.make_node("Cast", [x], [wide], to=builder.FLOAT),
            helper.make_node("MatMul", [wide, name], [product]),
            helper.make_node("Cast", [product], [out], to=builder.FLOAT16),
        ]
    assert len(nodes) > len(model.graph.node), "no 4-bit product"
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    changed = path.with_name(f"float32-{path.name}")
    onnx.save(model, changed)
    return changed


@pytest.mark.parametrize("kind", ["sllm", "opt"])
def test_four_bits_with_half_activations(kind, tmp_path):
    """The products are those of the 4-bit weights, and these are the checkpoint's, rounded."""
    sizes = {"hidden_size": 64, "backbone.ffn_size": 256, "backbone.word_embed_size": 64}
    raw = tiny_opt(**sizes)
    if kind == "sllm":
        del sizes["backbone.word_embed_size"]
        raw = tiny(**{**sizes, "svae.word_embed_size": 64})
    config, weights, paths = write(raw, ALL_INT4_HALF, tmp_path)
    for case in make_cases(config, weights):
        path = paths[case.graph]
        check_graph(path, case, 0.5)
        if case.graph == "encoder":
            continue  # All of its layers are those of a sentence vector.
        check_weights(path, build_graph(config, weights, ALL_INT4_HALF, case.graph).sources)
        found = run_case(GraphRunner(path), case)
        expected = run_case(GraphRunner(as_float32(path)), case)
        for name in case.expected:
            scale = np.sqrt(np.mean(expected[name] ** 2))
            np.testing.assert_allclose(found[name], expected[name], atol=0.02 * scale)


@pytest.mark.parametrize("raw", [tiny(), CONFIGS["350m-like"], tiny_opt()], ids=["", "350m", "opt"])
@pytest.mark.parametrize("variant", [choosing(HALF), ALL_INT4_HALF], ids=["cuda-fp16", "cuda-int4"])
def test_step_graphs(variant, raw, tmp_path):
    """Steps of the graph for them are those of the whole graph, and can be captured."""
    config, weights, paths = write(raw, variant, tmp_path)
    generator = np.random.default_rng(7)
    for graph in GRAPHS[config.kind]:
        if graph == "encoder":
            continue
        path = tmp_path / f"step-{graph}.onnx"
        build_step_graph(config, weights, variant, graph).save(path)
        model = onnx.load(path)
        assert not any(node.op_type in ("If", "Loop", "Scan") for node in model.graph.node)
        for output in model.graph.output:
            symbols = {d.dim_param for d in output.type.tensor_type.shape.dim if d.dim_param}
            assert symbols <= {"batch", "capacity"}, output.name
        whole, steps = GraphRunner(paths[graph], 8), GraphRunner(path, 8)
        # As a captured graph is to be told: the last position is told by the lengths.
        steps.constant_total = 8
        for _ in range(5):
            ids = generator.integers(0, 64, (2, 1))
            feeds: Arrays = {
                "input_ids": ids,
                "inputs_embeds": generator.standard_normal((2, 1, 32), dtype=np.float32),
                "sentence_embedding": np.ones((2, 32), dtype=np.float32),
            }
            feeds = {name: values for name, values in feeds.items() if name in whole.inputs}
            expected, found = whole.run(feeds, 1), steps.run(feeds, 1)
            for name in found:
                np.testing.assert_allclose(found[name], expected[name], atol=1e-3, err_msg=name)
            assert ("logits" in expected) == ("candidate_ids" in found)
            assert "logits" not in found


def test_only_half_variants_have_step_graphs():
    config, weights = random_weights(tiny())
    for variant, graph in ((PORTABLE, "decoder"), (INT8, "decoder"), (HALF, "encoder")):
        with pytest.raises(Exception, match=f"{variant.name} has no {graph} graph for greedy"):
            build_step_graph(config, weights, variant, graph)


@pytest.mark.parametrize("variant", [HALF, PORTABLE_HALF], ids=lambda variant: variant.name)
def test_half_precision_is_half_throughout(variant, tmp_path):
    """No weight is float32, and only what enters, leaves or decides between tokens is."""
    for raw in (CONFIGS["learnable-add"], CONFIGS["350m-like"], tiny_opt()):
        for graph, path in write(raw, variant, tmp_path)[2].items():
            model = onnx.load(path)
            kinds = {weight.data_type for weight in model.graph.initializer}
            assert builder.FLOAT16 in kinds
            assert builder.FLOAT not in kinds
            casts = [n for n in model.graph.node if n.op_type == "Cast"]
            wide = [n for n in casts if n.attribute[0].i == builder.FLOAT]
            outputs = {"encoder": 1, "backbone": 2}
            # Of a decoder: rows, hidden and bias of the best tokens.
            assert len(wide) <= outputs.get(graph, 3), graph


def test_weights_too_large_for_half_precision():
    config, weights = random_weights(tiny())
    tensors = {name: weights.load(name).copy() for name in weights.shapes}
    tensors["fc.weight"][0, 0] = 1e5
    changed = MemoryStateDict(tensors, "changed")
    with pytest.raises(Exception, match=r"fc\.weight holds 1e\+05, too much for float16"):
        build_graph(config, changed, HALF, "backbone")


def test_heads_that_have_no_in_place_cache():
    config = random_weights(tiny(**{"svae.heads": 8}))[0]
    assert [variant.name for variant in select_variants([], config)] == ["portable"]
    with pytest.raises(Exception, match="heads of 4 channels have no in-place cache"):
        select_variants(["cpu-int8"], config)
