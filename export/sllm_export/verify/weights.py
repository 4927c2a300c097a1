"""Compares the quantised weights of a written graph with the weights of the checkpoint."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import onnx
from onnx import helper, numpy_helper

from sllm_export.errors import VerificationError
from sllm_export.graph.quantize import dequantize

_SLACK = 1.001
"""Largest error of a block, relative to that of rounding to nearest."""
_SLACK_HALF = 1.01
"""The same with scales that are rounded to float16."""
_ROWS_AT_ONCE = 4096


def check_weights(path: Path, sources: Mapping[str, np.ndarray]) -> None:
    """Read every MatMulNBits weight back from the file and compare it with its source [N, K].

    The error of a block may not exceed that of rounding to nearest, with the block's largest
    weight as the largest code. Raises VerificationError that names the weight.
    """
    model = onnx.load(path, load_external_data=False)
    stored = {tensor.name: tensor for tensor in model.graph.initializer}
    nodes = [node for node in model.graph.node if node.op_type == "MatMulNBits"]
    checked = set()
    for node in nodes:
        form = {a.name: helper.get_attribute_value(a) for a in node.attribute}
        name = node.input[1].removesuffix(".codes")
        if name not in sources:
            raise VerificationError(f"{path.parent.name}/{path.name}: {name} has no source")
        codes = _read(path, stored[node.input[1]])
        scales = _read(path, stored[node.input[2]])
        weight, bits, block = sources[name], int(form["bits"]), int(form["block_size"])
        for start in range(0, len(weight), _ROWS_AT_ONCE):
            rows = slice(start, start + _ROWS_AT_ONCE)
            part = np.asarray(weight[rows], np.float32)
            found = dequantize(codes[rows], scales[rows], part.shape[1], bits)
            excess = _excess(found, part, bits, block)
            slack = _SLACK_HALF if scales.dtype == np.float16 else _SLACK
            if not excess <= slack:
                raise VerificationError(
                    f"{path.parent.name}/{path.name}: {name} is not the checkpoint's in {bits} "
                    f"bits: a block differs {excess:.3g} times as much as by rounding"
                )
        checked.add(name)
    if missing := sorted(set(sources) - checked):
        raise VerificationError(f"{path.parent.name}/{path.name}: lacks the weight {missing[0]}")


def _read(path: Path, tensor: onnx.TensorProto) -> np.ndarray:
    """The values of a tensor; those in a file beside the graph are mapped."""
    if not tensor.external_data:
        return numpy_helper.to_array(tensor)
    place = {entry.key: entry.value for entry in tensor.external_data}
    dtype = helper.tensor_dtype_to_np_dtype(tensor.data_type)
    return np.memmap(
        path.with_name(place["location"]),
        dtype,
        "r",
        offset=int(place["offset"]),
        shape=tuple(tensor.dims),
    )


def _excess(found: np.ndarray, weight: np.ndarray, bits: int, block: int) -> float:
    """The largest ratio, over the blocks, of the error to that of plain rounding."""
    largest_code = (1 << (bits - 1)) - 1
    columns = weight.shape[1]
    padding = ((0, 0), (0, -columns % block))
    weight, found = (
        np.pad(x, padding).reshape(len(x), -1, block).astype(np.float64) for x in (weight, found)
    )
    scale = np.abs(weight).max(-1, keepdims=True) / largest_code
    scale[scale == 0] = 1
    plain = np.square(np.rint(weight / scale) * scale - weight).sum(-1)
    error = np.square(found - weight).sum(-1)
    # Float32 scales and values round too.
    tiny = 1e-12 * np.square(weight).sum(-1) + 1e-30
    return float(np.sqrt((error / (plain * _SLACK + tiny)).max(initial=0.0)))
