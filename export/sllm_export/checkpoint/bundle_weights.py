"""The weights of a bundle as a checkpoint: what the exporter folded is unfolded again.

The tensors need not be those that the bundle was made from, but they compute the same.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from google.protobuf.message import DecodeError
from numpy.typing import NDArray
from onnx import numpy_helper
from onnx.checker import ValidationError

from sllm_export.checkpoint.expected import (
    CONTEXT_BIAS,
    OPT_PREFIX,
    POSITION_OFFSET,
    expected_shapes,
)
from sllm_export.checkpoint.state_dict import Floats, Shape, StateDict
from sllm_export.config import ModelConfig, parse_config
from sllm_export.digest import sha256
from sllm_export.errors import CheckpointError

MANIFEST = "sllm.json"
VARIANT = "portable"
# What reading raises where a value has another type, or a graph other tensors.
_MALFORMED = (
    ValueError,
    LookupError,
    TypeError,
    AttributeError,
    RecursionError,
    DecodeError,
    ValidationError,
)
Doubles = NDArray[np.float64]


class BundleWeights(StateDict):
    """The tensors of the variant `portable`, in the names of a checkpoint."""

    def __init__(self, folder: Path) -> None:
        """Reads all graphs. Raises CheckpointError, also where a file of these, or the tokenizer,
        is not the one that the manifest tells of; ConfigError."""
        self.source = str(folder)
        try:
            manifest = json.loads((folder / MANIFEST).read_bytes())
            self.config = parse_config(manifest["model"], f"{folder / MANIFEST}, model")
            variants = {variant["name"]: variant["graphs"] for variant in manifest["variants"]}
            graphs = list(variants[VARIANT].values())
            for graph in graphs:
                _check_digests(folder, [graph, *graph.get("external_data", [])])
            if "tokenizer" in manifest:
                _check_digests(folder, [manifest["tokenizer"]])
            files = [folder / graph["file"] for graph in graphs]
            self._tensors = _unfold(self.config, _initializers(files))
        except OSError as error:
            name, problem = error.filename, error.strerror
            raise CheckpointError(self.source, [f"{name}: {problem or error}"]) from error
        except _MALFORMED as error:
            problem = f"is no bundle with the variant {VARIANT} of this exporter: {error}"
            raise CheckpointError(self.source, [problem]) from error

    @property
    def shapes(self) -> Mapping[str, Shape]:
        return {name: values.shape for name, values in self._tensors.items()}

    def load(self, name: str) -> Floats:
        return self._tensors[name]


def _check_digests(folder: Path, entries: list[Mapping[str, Any]]) -> None:
    """Raises CheckpointError for a file whose SHA-256 is not that of its entry in the manifest, if
    there is one."""
    for entry in entries:
        path = folder / entry["file"]
        if "sha256" in entry and sha256(path) != entry["sha256"]:
            raise CheckpointError(str(path), [f"is damaged: its SHA-256 is not that in {MANIFEST}"])


def _initializers(files: list[Path]) -> dict[str, Floats]:
    """The weights of graphs, float32. Their names begin with the part of the model."""
    return {
        tensor.name: numpy_helper.to_array(tensor).astype(np.float32)
        for file in files
        for tensor in onnx.load(file).graph.initializer
        if not tensor.name.startswith("constant_")
    }


def _unfold(config: ModelConfig, graph: Mapping[str, Floats]) -> dict[str, Floats]:
    tensors: dict[str, Floats] = {}
    if config.kind != "opt":
        prefix = "" if config.kind == "svae" else "svae."
        if config.require_svae().slots > 1:
            tensors |= _pooling(graph, f"{prefix}encoder.pool.", config.require_svae().slots)
            tensors |= _slot_attention(config, graph, f"{prefix}decoder.")
        else:
            for layer in range(config.require_svae().decoder_layers):
                name = f"{prefix}decoder.decoder.layers.{layer}.multihead_attn."
                tensors |= _constant_attention(graph, name)
    for name, shape in expected_shapes(config).items():
        if name not in tensors:
            tensors[name] = _plain(graph, name, shape)
    return tensors


def _plain(graph: Mapping[str, Floats], name: str, shape: Shape) -> Floats:
    """A tensor that the graph holds as it is, transposed, or as a part of another."""
    if name == "llm_pe.weight" or name.endswith("embed_positions.weight"):
        # The rows before position 0 are not exported.
        table = graph["positions.weight"]
        return np.pad(table, ((POSITION_OFFSET, 0), (0, 0)))
    if name.endswith(f"{CONTEXT_BIAS}key"):
        return graph[f"{name}.weight"].T
    if name.endswith(f"{CONTEXT_BIAS}constant"):
        return graph[name.removesuffix("constant") + "key.bias"]
    if "embed_token" in name:
        return graph[name.removeprefix(OPT_PREFIX)]
    if "encoder.la." in name:
        return graph[name[name.index("la.") :]].T
    for number, part in enumerate("qkv"):
        if f".{part}_proj." in name:
            packed = graph[name.replace(f".{part}_proj.", ".qkv_proj.")]
            return np.split(packed, 3, axis=-1)[number].T
    stored = graph[name.replace(".in_proj_", ".in_proj.")]
    return stored.T if len(shape) == 2 else stored


def _constant_attention(graph: Mapping[str, Floats], name: str) -> dict[str, Floats]:
    """Attention to one vector, which is a linear map: the values are its result. Queries and keys
    have no effect."""
    value = graph[f"{name}folded.weight"].T
    size = len(value)
    nothing = np.zeros((2 * size, size), np.float32)
    return {
        f"{name}in_proj_weight": np.concatenate([nothing, value]),
        f"{name}in_proj_bias": np.zeros(3 * size, np.float32),
        f"{name}out_proj.weight": np.eye(size, dtype=np.float32),
        f"{name}out_proj.bias": graph[f"{name}folded.bias"],
    }


def _pooling(graph: Mapping[str, Floats], name: str, slots: int) -> dict[str, Floats]:
    """A query of ones with keys that give the folded scores."""
    scores, bias = graph[f"{name}folded.weight"].T, graph[f"{name}folded.bias"]
    value = graph[f"{name}value.weight"].T
    channels = len(value) // slots
    # The scores are the sum over the channels, divided by the root of their number.
    keys = np.repeat(scores, channels, axis=0) / channels**0.5
    key_bias = np.repeat(bias, channels) / channels**0.5
    return {
        f"{name}query": np.ones(len(value), np.float32),
        f"{name}in_proj_weight": np.concatenate([keys, value]).astype(np.float32),
        f"{name}in_proj_bias": np.concatenate([key_bias, graph[f"{name}value.bias"]]).astype(
            np.float32
        ),
        f"{name}position_bias": graph[f"{name}position_bias"],
    }


def _slot_attention(
    config: ModelConfig, graph: Mapping[str, Floats], decoder: str
) -> dict[str, Floats]:
    """The memory entries' projections and each layer's keys and values, of which the graph holds
    the products: `keys_values @ [whole | linear | embedding]` for all layers. A product of two
    matrices with D columns and rows between has rank D, so that the singular value decomposition
    gives two such matrices."""
    size, layers = config.hidden_size, config.require_svae().decoder_layers
    channels = size // config.require_svae().slots
    names = [f"{decoder}decoder.layers.{layer}.multihead_attn." for layer in range(layers)]

    def stacked(part: str) -> Doubles:
        return np.concatenate([graph[f"{name}{part}"].T for name in names]).astype(np.float64)

    bias = stacked("folded.bias")
    common = bias.mean(1, keepdims=True)
    products = [stacked("folded_whole.weight"), stacked("folded_part.weight"), bias - common]
    left, scales, right = np.linalg.svd(np.concatenate(products, axis=1), full_matrices=False)
    roots = np.sqrt(scales[:size])
    keys_values = (left[:, :size] * roots).astype(np.float32)
    whole, linear, embedding = np.split(
        (roots[:, None] * right[:size]).astype(np.float32), [size, size + channels], axis=1
    )
    tensors = {
        f"{decoder}memory.whole.weight": whole,
        f"{decoder}memory.linear.weight": linear,
        f"{decoder}memory.embedding": embedding.T,
    }
    for layer, name in enumerate(names):
        rows = slice(2 * size * layer, 2 * size * (layer + 1))
        query, query_bias = graph[f"{name}query.weight"].T, graph[f"{name}query.bias"]
        tensors[f"{name}in_proj_weight"] = np.concatenate([query, keys_values[rows]])
        packed = np.concatenate([query_bias, common[rows, 0]])
        tensors[f"{name}in_proj_bias"] = packed.astype(np.float32)
        tensors[f"{name}position_bias"] = graph[f"{name}position_bias"]
    return tensors
