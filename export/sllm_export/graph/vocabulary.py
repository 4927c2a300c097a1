"""The output projection: hidden vectors to logits of the whole vocabulary, or of its best tokens.

With a large vocabulary it reads more bytes than all that is before it. Coarse to fine, the whole
vocabulary is ranked with 4-bit weights or in float16, and the best tokens get their exact logits.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from sllm_export.graph.builder import BOOL, FLOAT, INT64, MICROSOFT, GraphBuilder
from sllm_export.graph.quantize import INT8_ACCURACY, quantize

_COARSE_BITS, _COARSE_BLOCK = 4, 128


@dataclass(frozen=True)
class OutputLayer:
    """The weight [vocab, K] and bias [vocab] that make logits, and how they are called.

    `rows` names the table in which the weight's rows are looked up: the token embedding, where that
    is the output projection too. `tokens` is the outputs' second dimension. `context_bias` is a
    value [batch, tokens, vocab] that is added to the logits.
    """

    name: str
    weight: np.ndarray
    bias: np.ndarray | None
    rows: str
    tokens: str | int
    context_bias: str | None = None


def all_logits(b: GraphBuilder, logits: str, layer: OutputLayer) -> None:
    """Output `logits` f32 [batch, tokens, vocab]."""
    logits = with_context_bias(b, logits, layer)
    b.output("logits", FLOAT, ["batch", layer.tokens, len(layer.weight)], first=True)
    b.op("Identity", [logits], "logits")


def coarse_logits(b: GraphBuilder, x: str, layer: OutputLayer) -> str:
    """x [..., K] -> logits [..., vocab] with weights of 4 bits."""
    form = (_COARSE_BITS, _COARSE_BLOCK)
    return quantized_product(b, x, layer.name, (layer.weight, layer.bias), form)


def whole_product(b: GraphBuilder, x: str, rows: str, layer: OutputLayer) -> str:
    """x [batch, tokens, K] -> logits [batch, tokens, vocab]; `rows` is the weight, kept once."""
    vocab, columns = layer.weight.shape
    inputs = [b.op("Reshape", [x, b.constant([-1, columns], np.int64)]), rows]
    if layer.bias is not None:
        inputs.append(b.weight(f"{layer.name}.bias", layer.bias))
    flat = b.op("Gemm", inputs, transB=1)
    sizes = [b.op("Shape", [x], start=0, end=2), b.constant([vocab], np.int64)]
    return b.op("Reshape", [flat, b.op("Concat", sizes, axis=0)])


def best_logits(
    b: GraphBuilder, x: str, layer: OutputLayer, rows: str, coarse: str, candidates: int
) -> None:
    """Coarse to fine: `coarse` is x [batch, tokens, K] times the weight, `rows` the weight itself,
    whose rows are in float16.

    Outputs `candidate_ids` i64 and `candidate_logits` f32 [batch, tokens, candidates], best first,
    and `logits` f32 [batch, tokens, vocab], where the candidates' are exact and the others coarse,
    if the input `all_logits` (bool scalar) is true; else its last dimension is 0.
    """
    wanted = b.input("all_logits", BOOL, [])
    coarse = with_context_bias(b, coarse, layer)
    ids, exact = _choose(b, x, layer, rows, coarse, candidates)
    shape = ["batch", layer.tokens, "scored"]
    b.output("logits", FLOAT, shape, cast=False)

    then = b.branch("all_tokens")
    scattered = then.op("ScatterElements", [in_float32(then, coarse), ids, exact], axis=-1)
    then.output(scattered, FLOAT, shape)
    other = b.branch("no_tokens")
    nothing = b.constant([0], np.int64)
    none = other.op("Slice", [coarse, nothing, nothing, b.constant([-1], np.int64)])
    other.output(in_float32(other, none), FLOAT, shape)
    b.ops("If", [wanted], ["logits"], then_branch=then.body(), else_branch=other.body())


def only_best_logits(
    b: GraphBuilder, x: str, layer: OutputLayer, rows: str, coarse: str, candidates: int
) -> None:
    """`best_logits` without the input `all_logits` and the output `logits`: there is no branch, and
    no output's shape depends on an input's values."""
    _choose(b, x, layer, rows, with_context_bias(b, coarse, layer), candidates)


def _choose(
    b: GraphBuilder, x: str, layer: OutputLayer, rows: str, coarse: str, candidates: int
) -> tuple[str, str]:
    """The outputs of the candidates, from coarse logits with the context bias. Returns their ids
    and exact logits, in no order."""
    count = min(candidates, len(layer.weight))
    for name, element in (("candidate_ids", INT64), ("candidate_logits", FLOAT)):
        b.output(name, element, ["batch", layer.tokens, count], cast=False)
    best = b.constant([count], np.int64)
    _, ids = b.ops("TopK", [coarse, best], [None, None], axis=-1, sorted=0)
    last = b.constant([-1], np.int64)
    best_rows = b.op("Cast", [b.op("Gather", [rows, ids], axis=0)], to=FLOAT)
    x = in_float32(b, x)
    exact = b.op("Squeeze", [b.op("MatMul", [best_rows, b.op("Unsqueeze", [x, last])]), last])
    if layer.bias is not None:
        bias = b.op("Gather", [f"{layer.name}.bias", ids], axis=0)
        exact = b.op("Add", [exact, in_float32(b, bias)])
    if layer.context_bias is not None:
        bias = b.op("GatherElements", [layer.context_bias, ids], axis=-1)
        exact = b.op("Add", [exact, in_float32(b, bias)])
    _, order = b.ops("TopK", [exact, best], ["candidate_logits", None], axis=-1)
    b.op("GatherElements", [ids, order], "candidate_ids", axis=-1)
    return ids, exact


def with_context_bias(b: GraphBuilder, logits: str, layer: OutputLayer) -> str:
    """The logits with the layer's context bias, if it has one."""
    return logits if layer.context_bias is None else b.op("Add", [logits, layer.context_bias])


def in_float32(b: GraphBuilder, x: str) -> str:
    """The builder's floats as float32."""
    return b.op("Cast", [x], to=FLOAT) if b.half else x


def quantized_product(
    b: GraphBuilder,
    x: str,
    name: str,
    layer: tuple[np.ndarray, np.ndarray | None],
    form: tuple[int, int],
) -> str:
    """x [..., K] times a layer's weight [N, K] plus its bias [N], [..., N].

    `form` is the bits of a weight and the size of its blocks; see `quantize`. In a graph of float16
    activations are not rounded further, and the bias is added apart: CUDA's fast kernels take none.
    """
    (weight, bias), (bits, block) = layer, form
    rows, columns = weight.shape
    codes, scales = quantize(weight, bits, block, b.half)
    inputs = [x, *b.quantized_weight(name, weight, codes, scales)]
    if bias is not None and not b.half:
        inputs += ["", "", b.weight(f"{name}.bias", bias)]
    accuracy: dict[str, Any] = {} if b.half else {"accuracy_level": INT8_ACCURACY}
    product = b.op(
        "MatMulNBits",
        inputs,
        domain=MICROSOFT,
        K=columns,
        N=rows,
        bits=bits,
        block_size=block,
        **accuracy,
    )
    if bias is None or not b.half:
        return product
    return b.op("Add", [product, b.weight(f"{name}.bias", bias)])
