"""Graphs of one step, which a GPU can capture."""

import numpy as np
import onnx
import pytest
from graph_files import ALL_INT4_HALF, CONFIGS, HALF, INT8, PORTABLE, write
from helpers import choosing, random_weights, tiny, tiny_opt

from sllm_export.variants import GRAPHS, build_step_graph
from sllm_export.verify.runner import Arrays, GraphRunner


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
