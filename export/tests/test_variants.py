"""Variants: the operators and types of their graphs, and models that lack one."""

import onnx
import pytest
from graph_files import CONFIGS, HALF, PORTABLE, PORTABLE_HALF, write
from helpers import MemoryStateDict, random_weights, tiny, tiny_opt

from sllm_export.graph import builder
from sllm_export.variants import build_graph, select_variants


@pytest.mark.parametrize("variant", [PORTABLE, PORTABLE_HALF], ids=lambda variant: variant.name)
def test_portable_graphs_hold_standard_operators_only(variant, tmp_path):
    for raw in (CONFIGS["350m-like"], tiny_opt()):
        for path in write(raw, variant, tmp_path)[2].values():
            model = onnx.load(path)
            onnx.checker.check_model(model, full_check=True)
            assert [(o.domain, o.version) for o in model.opset_import] == [("", builder.OPSET)]
            assert all(node.domain == "" for node in model.graph.node)
            assert model.ir_version <= 10


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
