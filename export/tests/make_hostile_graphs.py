"""Write tests/hostile/graphs: graphs with a right signature whose outputs are wrong when they run.

Each has the inputs, outputs and metadata of a golden graph, and computes nothing: an output is a
tensor of one value, in the right shape but for one output, whose shape or value is wrong.
Run from export/: python -m tests.make_hostile_graphs
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

ROOT = Path(__file__).resolve().parents[2]
OUT = ROOT / "tests/hostile/graphs"
GOLDEN = {
    "encoder": "bundle/portable/encoder.onnx",
    "backbone": "bundle/portable/backbone.onnx",
    "decoder": "bundle/portable/decoder.onnx",
    "opt": "bundle-opt/portable/opt.onnx",
}
# What is added to each axis of the wrong output, or the value that it is filled with.
SHAPES = {
    "empty": (-1, 0, 0, 0),
    "short": (0, 0, 0, -1),
    "long": (0, 0, 0, 1),
    "rows": (1, 0, 0, 0),
}
VALUES = {"nan": float("nan"), "infinite": float("inf")}


def shape_of(name: str, output: onnx.ValueInfoProto) -> list[str | int]:
    """The right shape: "batch", "new", "total" or a number for each axis."""
    if name.startswith("present."):
        dims = [dim.dim_value for dim in output.type.tensor_type.shape.dim]
        return ["batch", dims[1], "total", dims[3]]
    last = output.type.tensor_type.shape.dim[-1].dim_value
    rank = len(output.type.tensor_type.shape.dim)
    return ["batch", last] if rank == 2 else ["batch", "new", last]


def hostile(golden: onnx.ModelProto, wrong: str, delta: tuple[int, ...], value: float) -> bytes:
    """The graph with one wrong output."""
    graph = golden.graph
    first = next(i for i in graph.input if i.name in ("input_ids", "inputs_embeds"))
    nodes = [helper.make_node("Shape", [first.name], ["shape"])]
    constants: dict[str, np.ndarray] = {}

    def constant(number: int) -> str:
        name = f"number_{number}".replace("-", "minus_")
        constants[name] = np.array([number], np.int64)
        return name

    def gather(source: str, axis: int, name: str) -> None:
        nodes.append(helper.make_node("Gather", [source, constant(axis)], [name], axis=0))

    gather("shape", 0, "batch")
    gather("shape", 1, "new")
    # No shape inference sees that this is 0.
    nodes.append(helper.make_node("Sub", ["batch", "batch"], ["nothing"]))
    past = [i.name for i in graph.input if i.name.startswith("past_key_values.0.key")]
    if past:
        nodes.append(helper.make_node("Shape", past, ["past_shape"]))
        gather("past_shape", 2, "past")
        nodes.append(helper.make_node("Add", ["past", "new"], ["total"]))
    for output in graph.output:
        shape = shape_of(output.name, output)
        axes = []
        for axis, size in enumerate(shape):
            change = 0
            if output.name == wrong:
                # The first axis of the change is the first, the last one the last.
                change = delta[0] if axis == 0 else delta[3] if axis == len(shape) - 1 else 0
            name = f"{output.name}.{axis}"
            size_name = size if isinstance(size, str) else constant(size)
            nodes.append(helper.make_node("Add", [size_name, "nothing"], [f"{name}.right"]))
            nodes.append(helper.make_node("Add", [f"{name}.right", constant(change)], [name]))
            axes.append(name)
        nodes.append(helper.make_node("Concat", axes, [f"{output.name}.shape"], axis=0))
        filled = value if output.name == wrong else 0.25
        nodes.append(
            helper.make_node(
                "ConstantOfShape",
                [f"{output.name}.shape"],
                [output.name],
                value=helper.make_tensor("value", TensorProto.FLOAT, [1], [filled]),
            )
        )
    initializers = [numpy_helper.from_array(array, name) for name, array in constants.items()]
    made = helper.make_graph(nodes, "hostile", list(graph.input), list(graph.output), initializers)
    model = helper.make_model(made, opset_imports=list(golden.opset_import))
    model.ir_version = golden.ir_version
    helper.set_model_props(model, {entry.key: entry.value for entry in golden.metadata_props})
    return bytes(model.SerializeToString())


def main() -> None:
    """Write all of them."""
    OUT.mkdir(parents=True, exist_ok=True)
    for role, path in GOLDEN.items():
        golden = onnx.load(ROOT / "tests/golden" / path)
        names = [output.name for output in golden.graph.output]
        for name in names:
            if name.startswith("present.") and name != "present.1.value":
                continue
            cases = {case: (delta, 0.25) for case, delta in SHAPES.items()}
            if not name.startswith("present."):
                cases |= {case: ((0, 0, 0, 0), value) for case, value in VALUES.items()}
            for case, (delta, value) in cases.items():
                graph = hostile(golden, name, delta, value)
                (OUT / f"{role}-{name.replace('.', '_')}-{case}.onnx").write_bytes(graph)


if __name__ == "__main__":
    main()
