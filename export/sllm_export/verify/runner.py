"""Runs exported graphs in ONNX Runtime step by step, with concatenated or in-place KV caches.

Only the exporter's checks and tests use it; the runtime is the Rust library.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort

Arrays = dict[str, np.ndarray]
Provider = str | tuple[str, dict[str, Any]]
CPU = "CPUExecutionProvider"
_ERROR_LEVEL = 3
_THREADS = 2


class GraphRunner:
    """One graph with its KV cache, for batches whose rows have the same length.

    `run` takes token ids or vectors and fills in masks, positions, lengths and caches. Caches in
    place are on `device`, `cpu` or `cuda`.
    """

    def __init__(
        self,
        path: Path,
        capacity: int = 16,
        providers: Sequence[Provider] = (CPU,),
        device: str = "cpu",
    ) -> None:
        options = ort.SessionOptions()
        options.log_severity_level = _ERROR_LEVEL
        options.intra_op_num_threads = _THREADS
        self.session = ort.InferenceSession(path, sess_options=options, providers=list(providers))
        self.inputs = {value.name: value for value in self.session.get_inputs()}
        self.outputs = [value.name for value in self.session.get_outputs()]
        self.in_place = "seqlens_k" in self.inputs
        self.capacity = capacity
        self.device = device
        self.constant_total: int | None = None
        """`total_sequence_length` in every run, if not the length after it."""
        self.length = 0
        self._arrays: Arrays = {}
        self._buffers: dict[str, ort.OrtValue] = {}

    @property
    def metadata(self) -> dict[str, str]:
        """The graph's ONNX metadata."""
        return dict(self.session.get_modelmeta().custom_metadata_map)

    def run(self, feeds: Arrays, steps: int = 0, bidirectional: bool = False) -> Arrays:
        """Run `steps` new positions after the cached ones (0 for a graph without a cache)."""
        batch = len(next(iter(feeds.values())))
        total = self.length + steps
        feeds = dict(feeds)
        if "position_ids" in self.inputs:
            feeds["position_ids"] = np.tile(np.arange(self.length, total), (batch, 1))
        if "logits_to_keep" in self.inputs:
            feeds.setdefault("logits_to_keep", np.array(steps))
        if steps and "attention_mask" in self.inputs:
            allowed = np.tri(steps, total, self.length, dtype=bool)
            feeds["attention_mask"] = np.tile(allowed | bidirectional, (batch, 1, 1))
        if "all_logits" in self.inputs:
            feeds.setdefault("all_logits", np.array(True))
        if "bidirectional" in self.inputs:
            feeds["bidirectional"] = np.array(bidirectional)
        result = (
            self._run_in_place(feeds, batch, total)
            if self.in_place
            else self._run_concatenated(feeds, batch)
        )
        self.length = total
        return result

    def _past_names(self) -> list[str]:
        return [name for name in self.inputs if name.startswith("past_key_values.")]

    def _past_shape(self, name: str, batch: int, length: int) -> tuple[int, int, int, int]:
        _, heads, _, size = self.inputs[name].shape
        return batch, heads, length, size

    def _element(self, name: str) -> np.dtype[np.float16] | np.dtype[np.float32]:
        """The element type of a cache: float32 or float16."""
        half = self.inputs[name].type == "tensor(float16)"
        return np.dtype(np.float16) if half else np.dtype(np.float32)

    def _run_concatenated(self, feeds: Arrays, batch: int) -> Arrays:
        for name in self._past_names():
            empty = np.zeros(self._past_shape(name, batch, 0), dtype=self._element(name))
            feeds[name] = self._arrays.get(name, empty)
        values = dict(zip(self.outputs, self.session.run(None, feeds), strict=True))
        for name in self._past_names():
            present = name.replace("past_key_values", "present")
            self._arrays[name] = values.pop(present)
        return values

    def _run_in_place(self, feeds: Arrays, batch: int, total: int) -> Arrays:
        feeds["seqlens_k"] = np.full(batch, total - 1, dtype=np.int32)
        feeds["total_sequence_length"] = np.array(self.constant_total or total, dtype=np.int32)
        binding = self.session.io_binding()
        bound: list[str] = []
        for name, array in feeds.items():
            binding.bind_cpu_input(name, np.asarray(array, order="C"))
        for name in self._past_names():
            if name not in self._buffers:
                # The OrtValue may point into the array: both stay alive with the runner.
                shape = self._past_shape(name, batch, self.capacity)
                self._arrays[name] = np.zeros(shape, dtype=self._element(name))
                self._buffers[name] = ort.OrtValue.ortvalue_from_numpy(
                    self._arrays[name], self.device, 0
                )
            binding.bind_ortvalue_input(name, self._buffers[name])
            present = name.replace("past_key_values", "present")
            binding.bind_ortvalue_output(present, self._buffers[name])
            bound.append(present)
        wanted = [name for name in self.outputs if name not in bound]
        for name in wanted:
            binding.bind_output(name)
        self.session.run_with_iobinding(binding)
        values = dict(zip(bound + wanted, binding.get_outputs(), strict=True))
        return {name: values[name].numpy() for name in wanted}
