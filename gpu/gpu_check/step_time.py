"""`python -m gpu_check.step_time`: how long a greedy step of one graph takes, with everything on
the device, as it is run and captured as a CUDA graph.

The graph is that of `step_graphs`. Inputs, caches and outputs are bound once, and the token of the
step is copied to the device; the best tokens come back.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from pathlib import Path

import numpy as np
import onnxruntime as ort

from gpu_check.sessions import CUDA, Subject, arguments, error_of, providers
from gpu_check.steps import Result

_WARMUP = 5
_FETCHED = ("candidate_ids", "candidate_logits", "hidden", "stop_logits")


def main() -> int:
    """Time the steps of `--graph` for each of `--batch`; a failure is part of the result."""
    parser = argparse.ArgumentParser(prog="gpu_check.step_time")
    parser.add_argument("--graph", required=True)
    parser.add_argument("--batch", type=int, action="append", required=True)
    parser.add_argument("--capacity", type=int, required=True)
    parser.add_argument("--runs", type=int, required=True)
    subject, given = arguments(parser)
    path = subject.step_path(given.graph)
    result: Result = {}
    for batch in given.batch:
        sizes = (batch, given.capacity, given.runs)
        row: Result = {}
        try:
            row["plain"], best = time_steps(subject, path, sizes, False)
        except Exception as failure:
            row["plain"], best = error_of(failure), None
        try:
            row["cuda_graph"], captured = time_steps(subject, path, sizes, True)
            if best is not None:
                row["cuda_graph"]["same_outputs"] = bool(np.array_equal(best, captured))
        except Exception as failure:
            row["cuda_graph"] = error_of(failure)
        result[str(batch)] = row
    print(json.dumps({"graph": given.graph, "batch": result}))
    return 0


def time_steps(
    subject: Subject, path: Path, sizes: tuple[int, int, int], capture: bool
) -> tuple[Result, np.ndarray]:
    """Milliseconds of a step, and the outputs of the last one."""
    batch, capacity, runs = sizes
    if capture and subject.provider != "cuda":
        raise ValueError(f"provider {subject.provider} has no CUDA graphs")
    session = start(subject, path, capture)
    binding = session.io_binding()
    values = {value.name: tensor(value, subject, batch, capacity) for value in session.get_inputs()}
    kept = []
    for name, array in values.items():
        # The whole capacity is the operator's total, which it reads on the processor.
        device = "cpu" if name == "total_sequence_length" else subject.device
        value = ort.OrtValue.ortvalue_from_numpy(array, device, 0)
        kept.append(value)
        binding.bind_ortvalue_input(name, value)
        if name.startswith("past_key_values."):
            binding.bind_ortvalue_output(name.replace("past_key_values", "present"), value)
    inputs = dict(zip(values, kept, strict=True))
    fetched = {}
    for output in session.get_outputs():
        if output.name.startswith("present."):
            continue
        shape = [batch if size == "batch" else size for size in output.shape]
        element = np.int64 if "int64" in output.type else np.float32
        fetched[output.name] = ort.OrtValue.ortvalue_from_numpy(
            np.zeros(shape, element), subject.device, 0
        )
        binding.bind_ortvalue_output(output.name, fetched[output.name])
    stepped = "inputs_embeds" if "inputs_embeds" in inputs else "input_ids"
    times, last = [], np.empty(0)
    for run in range(_WARMUP + runs):
        position = run % capacity
        started = time.perf_counter()
        inputs[stepped].update_inplace(values[stepped])
        inputs["position_ids"].update_inplace(np.full((batch, 1), position, np.int64))
        inputs["seqlens_k"].update_inplace(np.full(batch, position, np.int32))
        session.run_with_iobinding(binding)
        outputs = {name: fetched[name].numpy() for name in _FETCHED if name in fetched}
        times.append((time.perf_counter() - started) * 1e3)
        last = next(iter(outputs.values()))
    times = sorted(times[_WARMUP:])
    middle = statistics.median(times)
    result: Result = {
        "ms": middle,
        "ms_lowest": times[0],
        "ms_highest": times[-1],
        "rows_per_second": batch / middle * 1e3,
        "runs": runs,
    }
    return result, last


def start(subject: Subject, path: Path, capture: bool) -> ort.InferenceSession:
    """A session of the graph on the provider."""
    options = ort.SessionOptions()
    options.log_severity_level = 3
    graphs = {"enable_cuda_graph": "1"} if capture else {}
    session = ort.InferenceSession(
        path, sess_options=options, providers=providers(subject.provider, **graphs)
    )
    if subject.provider == "cuda" and CUDA not in session.get_providers():
        raise RuntimeError(f"the session has no CUDA: {session.get_providers()}")
    return session


def tensor(value: ort.NodeArg, subject: Subject, batch: int, capacity: int) -> np.ndarray:
    """An input of fixed size: random vectors, any token, empty caches."""
    if value.name == "total_sequence_length":
        return np.array(capacity, np.int32)
    sizes = {"batch": batch, "capacity": capacity}
    shape = [sizes.get(size, size) for size in value.shape]
    if value.name in ("inputs_embeds", "sentence_embedding"):
        return np.random.default_rng(0).standard_normal(shape, dtype=np.float32)
    if value.name == "input_ids":
        return np.full(shape, subject.config.vocab_size // 2, np.int64)
    element = {"tensor(int64)": np.int64, "tensor(int32)": np.int32, "tensor(float16)": np.float16}
    return np.zeros(shape, element.get(value.type, np.float32))


if __name__ == "__main__":
    sys.exit(main())
