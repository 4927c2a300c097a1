"""Compares the outputs of a written graph with those of the numpy reference."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from sllm_export.errors import VerificationError
from sllm_export.verify.cases import Case
from sllm_export.verify.runner import Arrays, GraphRunner

_MIN_CANDIDATES = 0.5
"""Share of the chosen tokens that are the best ones: coarse ranking may take others at the end."""


def check_graph(path: Path, case: Case, tolerance: float) -> float:
    """Run the graph on the case and return the largest relative error of its outputs.

    The error of an output is the root mean square of the difference over that of the expected
    values. Of a graph that returns only the best tokens, the logits of these count: the others
    are coarse on purpose. Raises VerificationError if an error is above `tolerance`, or NaN.
    """
    where = f"{path.parent.name}/{path.name}"
    try:
        found = run_case(GraphRunner(path), case)
    except Exception as error:  # ONNX Runtime's errors have no common base
        raise VerificationError(f"{where}: ONNX Runtime refuses the graph: {error}") from error
    pairs = [(name, found[name], expected) for name, expected in case.expected.items()]
    if "candidate_ids" in found:
        _check_candidates(where, case.expected["logits"], found["candidate_ids"])
        chosen = np.take_along_axis(case.expected["logits"], found["candidate_ids"], axis=-1)
        pairs.append(("candidate_logits", found["candidate_logits"], chosen))
    worst = 0.0
    for name, values, expected in pairs:
        difference = np.sqrt(np.mean((values - expected) ** 2, dtype=np.float64))
        relative = float(difference / np.sqrt(np.mean(expected**2, dtype=np.float64)))
        if not relative <= tolerance:
            raise VerificationError(
                f"{where}: {name} differs from the checkpoint's by "
                f"{relative:.2e} relative (expected at most {tolerance:.0e})"
            )
        if not (name == "logits" and "candidate_ids" in found):
            worst = max(worst, relative)
    return worst


def _check_candidates(where: str, expected: np.ndarray, ids: np.ndarray) -> None:
    """Check that most of the chosen tokens `ids` [B, T, k] are among the k best of the expected
    logits [B, T, V], best first."""
    count = ids.shape[-1]
    best = np.argpartition(-expected, count - 1, axis=-1)[..., :count]
    pairs = zip(best.reshape(-1, count), ids.reshape(-1, count), strict=True)
    shares = [len(np.intersect1d(wanted, given)) / count for wanted, given in pairs]
    if np.mean(shares) < _MIN_CANDIDATES:
        raise VerificationError(
            f"{where}: only {np.mean(shares):.0%} of the tokens that it chooses are the "
            f"checkpoint's best (expected at least {_MIN_CANDIDATES:.0%})"
        )
    first = np.take_along_axis(expected, ids[..., :1], axis=-1)
    last = np.take_along_axis(expected, ids[..., -1:], axis=-1)
    if count > 1 and not np.mean(first > last) > _MIN_CANDIDATES:
        raise VerificationError(f"{where}: the tokens that it chooses are not the best first")


def run_case(runner: GraphRunner, case: Case) -> Arrays:
    """The outputs of a graph for a case, those of the prefill and the steps concatenated."""
    if not case.prompt:
        return runner.run(case.feeds)
    # Inputs with a position dimension are fed in steps; what a sentence has is fed in every step.
    stepped = case.feeds.keys() - {"sentence_embedding", "context_tokens"}
    count = case.feeds[next(iter(stepped))].shape[1]
    steps: list[Arrays] = []
    for start, end in [(0, case.prompt), *((i, i + 1) for i in range(case.prompt, count))]:
        feeds = {
            name: array[:, start:end] if name in stepped else array
            for name, array in case.feeds.items()
        }
        bidirectional = case.bidirectional and start == 0
        steps.append(runner.run(feeds, end - start, bidirectional))
    return {name: np.concatenate([s[name] for s in steps], axis=1) for name in steps[0]}
