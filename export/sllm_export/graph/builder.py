"""A small builder of ONNX graphs: operators in, a file out, weights streamed to disk."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper

from sllm_export.errors import ExportError

OPSET = 21
IR_VERSION = 10
CONTRACT_VERSION = "1"
MICROSOFT = "com.microsoft"
MAX_EMBEDDED_BYTES = 2**25
"""Graphs with more weight bytes than this keep them in a file beside, which is mapped, not copied
(and protobuf ends at 2 GiB)."""
_MIN_EXTERNAL_BYTES = 1024
_DATA_ALIGNMENT = 4096

FLOAT = TensorProto.FLOAT
FLOAT16 = TensorProto.FLOAT16
INT64 = TensorProto.INT64
INT32 = TensorProto.INT32
BOOL = TensorProto.BOOL

Dims = Sequence[int | str]


class GraphBuilder:
    """Collects nodes, weights, inputs and outputs of one graph. Values are named by strings.

    With `half` the floats inside are float16: float32 weights and constants are rounded, and inputs
    and outputs that are declared as float32 are cast where they enter and leave.
    """

    def __init__(self, graph: str, model: str, half: bool = False) -> None:
        self.graph = graph
        self.model = model
        self.half = half
        self.float = FLOAT16 if half else FLOAT
        self._cast_outputs: set[str] = set()
        self._nodes: list[onnx.NodeProto] = []
        self._inputs: list[onnx.ValueInfoProto] = []
        self._outputs: list[onnx.ValueInfoProto] = []
        self._weights: dict[str, np.ndarray] = {}
        self.sources: dict[str, np.ndarray] = {}
        """What each quantised weight was made from, by its name without `.codes`."""
        self._constants: dict[tuple[str, tuple[int, ...], bytes], str] = {}
        self._count = 0

    def input(self, name: str, element: int, dims: Dims) -> str:
        """Declares a graph input; a dimension is a number or a symbol."""
        self._inputs.append(helper.make_tensor_value_info(name, element, list(dims)))
        return self.op("Cast", [name], to=FLOAT16) if self.half and element == FLOAT else name

    def output(
        self, name: str, element: int, dims: Dims, first: bool = False, cast: bool = True
    ) -> str:
        """Declares a graph output, the value of the same name, before or after the others; without
        `cast` that value has the type of the output in a graph of float16 too."""
        place = 0 if first else len(self._outputs)
        self._outputs.insert(place, helper.make_tensor_value_info(name, element, list(dims)))
        if cast and self.half and element == FLOAT:
            self._cast_outputs.add(name)
        return name

    def weight(self, name: str, values: np.ndarray) -> str:
        """Adds a weight. It is kept as given (a view may stay on disk) until `save`."""
        if name in self._weights:
            raise ValueError(f"weight {name} is added twice")
        if self.half and values.dtype == np.float32:
            values = _rounded_to_half(name, values)
        self._weights[name] = values
        return name

    def quantized_weight(
        self, name: str, source: np.ndarray, codes: np.ndarray, scales: np.ndarray
    ) -> list[str]:
        """Adds a quantised weight, with the weight that it stands for; returns both names."""
        self.sources[name] = source
        return [self.weight(f"{name}.codes", codes), self.weight(f"{name}.scales", scales)]

    def has_weight(self, name: str) -> bool:
        """Whether a weight of this name was added."""
        return name in self._weights

    def constant(self, values: Any, dtype: type) -> str:
        """Adds a small constant; equal constants are shared."""
        array: np.ndarray = np.asarray(values, dtype=dtype)
        key = (array.dtype.str, array.shape, array.tobytes())
        if key not in self._constants:
            self._constants[key] = self.weight(f"constant_{len(self._constants)}", array)
        return self._constants[key]

    def op(
        self,
        kind: str,
        inputs: Sequence[str],
        out: str | None = None,
        domain: str = "",
        **attributes: Any,
    ) -> str:
        """Adds a node with one output and returns the output's name."""
        return self.ops(kind, inputs, [out], domain, **attributes)[0]

    def ops(
        self,
        kind: str,
        inputs: Sequence[str],
        outs: Sequence[str | None],
        domain: str = "",
        **attributes: Any,
    ) -> list[str]:
        """Adds a node with several outputs; an output given as None gets a fresh name."""
        self._count += 1
        label = f"{kind}_{self._count}"
        names = [out or f"{label}_{index}" for index, out in enumerate(outs)]
        made = [f"{name}_half" if name in self._cast_outputs else name for name in names]
        node = helper.make_node(kind, list(inputs), made, name=label, domain=domain, **attributes)
        self._nodes.append(node)
        for inside, name in zip(made, names, strict=True):
            if inside != name:
                self._nodes.append(helper.make_node("Cast", [inside], [name], name=name, to=FLOAT))
        return names

    def branch(self, name: str) -> Branch:
        """Starts the body of an If; it sees every value made so far."""
        return Branch(self, name)

    def save(self, path: Path) -> Path | None:
        """Writes the graph; returns the file beside it that holds the weights, if there is one."""
        total = sum(array.nbytes for array in self._weights.values())
        data_path = path.with_name(path.name + ".data") if total > MAX_EMBEDDED_BYTES else None
        proto = helper.make_model(
            helper.make_graph(self._nodes, self.graph, self._inputs, self._outputs),
            opset_imports=[helper.make_opsetid("", OPSET)],
            ir_version=IR_VERSION,
            producer_name="sllm_export",
        )
        if any(node.domain == MICROSOFT for node in self._nodes):
            proto.opset_import.append(helper.make_opsetid(MICROSOFT, 1))
        metadata = {
            "sllm.contract_version": CONTRACT_VERSION,
            "sllm.model": self.model,
            "sllm.graph": self.graph,
        }
        for key, value in metadata.items():
            proto.metadata_props.add(key=key, value=value)
        # Straight into the model: helper would copy all weights, and twice.
        if data_path is None:
            for name, array in self._weights.items():
                _embed(proto.graph.initializer.add(), name, array)
        else:
            _write_external(proto.graph, self._weights, data_path)
        path.write_bytes(proto.SerializeToString(deterministic=True))
        return data_path


class Branch(GraphBuilder):
    """The body of an If: nodes and outputs are its own, weights and constants its parent's."""

    def __init__(self, parent: GraphBuilder, name: str) -> None:
        super().__init__(name, parent.model, parent.half)
        self._parent = parent

    def weight(self, name: str, values: np.ndarray) -> str:
        return self._parent.weight(name, values)

    def constant(self, values: Any, dtype: type) -> str:
        return self._parent.constant(values, dtype)

    def ops(
        self,
        kind: str,
        inputs: Sequence[str],
        outs: Sequence[str | None],
        domain: str = "",
        **attributes: Any,
    ) -> list[str]:
        named = [out or f"{self.graph}_{self._count + 1}_{i}" for i, out in enumerate(outs)]
        return super().ops(kind, inputs, named, domain, **attributes)

    def body(self) -> onnx.GraphProto:
        """The finished graph, for the attributes `then_branch` and `else_branch`."""
        return helper.make_graph(self._nodes, self.graph, [], self._outputs)


def _rounded_to_half(name: str, values: np.ndarray) -> np.ndarray:
    largest = float(np.abs(values).max(initial=0.0))
    if largest > float(np.finfo(np.float16).max):
        raise ExportError(f"{name} holds {largest:.3g}, too much for float16: take another variant")
    return values.astype(np.float16)


def _describe(tensor: onnx.TensorProto, name: str, array: np.ndarray) -> None:
    tensor.name = name
    tensor.data_type = helper.np_dtype_to_tensor_dtype(array.dtype)
    tensor.dims.extend(array.shape)


def _embed(tensor: onnx.TensorProto, name: str, array: np.ndarray) -> None:
    _describe(tensor, name, array)
    tensor.raw_data = array.tobytes()


def _write_external(graph: onnx.GraphProto, weights: dict[str, np.ndarray], path: Path) -> None:
    """Streams the large weights to `path`, page-aligned so that ONNX Runtime can map them."""
    with path.open("wb") as file:
        for name, array in weights.items():
            tensor = graph.initializer.add()
            if array.nbytes < _MIN_EXTERNAL_BYTES:
                _embed(tensor, name, array)
                continue
            file.write(b"\0" * (-file.tell() % _DATA_ALIGNMENT))
            _describe(tensor, name, array)
            tensor.data_location = TensorProto.EXTERNAL
            place = {"location": path.name, "offset": file.tell(), "length": array.nbytes}
            for key, value in place.items():
                tensor.external_data.add(key=key, value=str(value))
            file.write(np.ascontiguousarray(array).data)
