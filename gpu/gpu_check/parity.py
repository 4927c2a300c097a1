"""`python -m gpu_check.parity`: each graph on the provider against the processor.

Prints one JSON object: for each graph the largest relative error of its outputs against the
processor's and against the exporter's numpy reference.
"""

from __future__ import annotations

import argparse
import json
import sys

import numpy as np
from sllm_export.verify.cases import Case, make_cases
from sllm_export.verify.outputs import run_case

from gpu_check.sessions import Subject, arguments, check_provider, error_of
from gpu_check.steps import Result

_CAPACITY = 16
_BETWEEN = 2.0
"""Both sides may be off by the variant's tolerance."""


def main() -> int:
    """Compare all graphs; status 1 if one fails or differs too much."""
    subject, _ = arguments(argparse.ArgumentParser(prog="gpu_check.parity"))
    graphs: Result = {}
    for case in make_cases(subject.config, subject.weights()):
        try:
            graphs[case.graph] = compare(subject, case)
        except Exception as failure:  # the other graphs are to be compared too
            graphs[case.graph] = error_of(failure) | {"ok": False}
    ok = all(found["ok"] for found in graphs.values())
    print(json.dumps({"ok": ok, "graphs": graphs}))
    return 0


def compare(subject: Subject, case: Case) -> Result:
    """Errors of one graph."""
    runner = subject.runner(case.graph, _CAPACITY)
    check_provider(runner, subject.provider)
    found = run_case(runner, case)
    on_processor = run_case(subject.reference(case.graph, _CAPACITY), case)
    between = {
        name: relative_error(found[name], on_processor[name])
        for name in found
        if name not in ("candidate_ids", "candidate_logits")
    }
    against = {name: relative_error(found[name], case.expected[name]) for name in case.expected}
    tolerance = subject.variant.tolerance
    result: Result = {
        "against_cpu": between,
        "against_reference": against,
        "tolerance": tolerance,
        "ok": max(between.values()) <= _BETWEEN * tolerance,
    }
    if "candidate_ids" in found:
        pairs = (found["candidate_ids"], on_processor["candidate_ids"])
        result["same_best_token"] = float(np.mean(pairs[0][..., 0] == pairs[1][..., 0]))
    else:
        # Of a graph that ranks, the other logits are coarse on purpose.
        result["ok"] &= max(against.values()) <= tolerance
    return result


def relative_error(found: np.ndarray, expected: np.ndarray) -> float:
    """Root mean square of the difference over that of the expected values."""
    difference = np.sqrt(np.mean((found - expected) ** 2, dtype=np.float64))
    error = float(difference / np.sqrt(np.mean(expected**2, dtype=np.float64)))
    return error if np.isfinite(error) else 1e9


if __name__ == "__main__":
    sys.exit(main())
