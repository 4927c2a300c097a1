"""The check after writing fails on a wrong graph."""

from dataclasses import replace

import numpy as np
import onnx
import pytest
from helpers import choosing, tiny
from onnx import numpy_helper

from sllm_export.checkpoint.expected import expected_shapes
from sllm_export.checkpoint.random_weights import RandomStateDict
from sllm_export.config import parse_config
from sllm_export.errors import VerificationError
from sllm_export.graph.precision import Quantized
from sllm_export.variants import VARIANTS, build_graph
from sllm_export.verify.cases import make_cases
from sllm_export.verify.outputs import check_graph
from sllm_export.verify.weights import check_weights

CONFIG = parse_config(tiny(hidden_size=64, vocab_size=300))
EIGHT, FOUR = (v for v in VARIANTS if v.name in ("cpu-int8", "cpu-int4"))
# Small weights have 4 bits too.
KINDS = [EIGHT, replace(FOUR, precision=Quantized(4, small=0))]


def written(folder, variant, graph):
    """A graph's file, its case and the sources of its weights."""
    state_dict = RandomStateDict(expected_shapes(CONFIG), 0)
    cases = {case.graph: case for case in make_cases(CONFIG, state_dict)}
    path = folder / "variant" / f"{graph}.onnx"
    path.parent.mkdir()
    builder = build_graph(CONFIG, state_dict, variant, graph)
    builder.save(path)
    return path, cases[graph], builder.sources


def change(path, name, edit):
    """Edits an initializer of a written graph."""
    model = onnx.load(path)
    for tensor in model.graph.initializer:
        if tensor.name.endswith(name):
            values = edit(numpy_helper.to_array(tensor).copy())
            tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))
            break
    onnx.save(model, path)


@pytest.mark.parametrize("variant", KINDS, ids=lambda variant: variant.name)
@pytest.mark.parametrize("graph", ["backbone", "decoder"])
def test_right_weights_pass(tmp_path, variant, graph):
    path, case, sources = written(tmp_path, variant, graph)
    assert sources
    check_weights(path, sources)
    check_graph(path, case, variant.tolerance)


WRONG = {
    "zero": (".codes", lambda codes: np.full_like(codes, 128)),
    "one code": (
        ".codes",
        lambda codes: np.where(np.arange(codes.size).reshape(codes.shape) == 7, codes ^ 64, codes),
    ),
    "scales of the neighbours": (
        ".scales",
        lambda scales: np.roll(scales.ravel(), 1).reshape(scales.shape),
    ),
    "rows exchanged": (".codes", lambda codes: codes[::-1].copy()),
    "a little larger": (".scales", lambda scales: scales * np.float32(1.05)),
}


@pytest.mark.parametrize("variant", KINDS, ids=lambda variant: variant.name)
@pytest.mark.parametrize("wrong", WRONG)
def test_wrong_weights_are_found(tmp_path, wrong, variant):
    path, _, sources = written(tmp_path, variant, "backbone")
    change(path, *WRONG[wrong])
    with pytest.raises(VerificationError, match=r"is not the checkpoint's in [48] bits"):
        check_weights(path, sources)


def test_a_weight_that_is_missing_is_found(tmp_path):
    path, _, sources = written(tmp_path, KINDS[0], "backbone")
    with pytest.raises(VerificationError, match="lacks the weight other"):
        check_weights(path, {**sources, "other": np.zeros((2, 2), np.float32)})
    sources.pop(next(iter(sources)))
    with pytest.raises(VerificationError, match="has no source"):
        check_weights(path, sources)


def test_the_worst_tokens_are_found(tmp_path):
    """A graph that chooses the lowest logits gives their exact values, and is wrong."""
    path, case, _ = written(tmp_path, choosing(KINDS[0]), "decoder")
    check_graph(path, case, KINDS[0].tolerance)
    model = onnx.load(path)
    for node in model.graph.node:
        if node.op_type == "TopK":
            node.attribute.append(onnx.helper.make_attribute("largest", 0))
    onnx.save(model, path)
    with pytest.raises(VerificationError, match="of the tokens that it chooses"):
        check_graph(path, case, KINDS[0].tolerance)
