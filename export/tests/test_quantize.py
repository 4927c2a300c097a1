"""Weights of 8 and 4 bits, and graphs whose products are all of 4 bits."""

from dataclasses import replace

import numpy as np
import onnx
import pytest
from graph_files import ALL_INT4_HALF, INT4, INT8, write
from helpers import tiny, tiny_opt
from onnx import helper, numpy_helper

from sllm_export.graph import builder
from sllm_export.graph.precision import Quantized, eight_bit_block
from sllm_export.graph.quantize import dequantize, quantize
from sllm_export.variants import build_graph
from sllm_export.verify.cases import make_cases
from sllm_export.verify.outputs import check_graph, run_case
from sllm_export.verify.runner import GraphRunner
from sllm_export.verify.weights import check_weights


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
