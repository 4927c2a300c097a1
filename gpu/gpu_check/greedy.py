"""`python -m gpu_check.greedy`: greedy ids of many sentences, on the provider and the processor.

The weights are random, so that near ties are common: `largest_gap` tells how far apart, in the
processor's logits, the two choices of a first difference were.
"""

from __future__ import annotations

import argparse
import json
import sys

import numpy as np
from sllm_export.verify.runner import Arrays, GraphRunner

from gpu_check.sessions import arguments, check_provider
from gpu_check.steps import Result

_ROWS = 50
_SEED = 1


def main() -> int:
    """Compare the ids of `--sentences` sentences of `--tokens` tokens each."""
    parser = argparse.ArgumentParser(prog="gpu_check.greedy")
    parser.add_argument("--sentences", type=int, required=True)
    parser.add_argument("--tokens", type=int, required=True)
    subject, given = arguments(parser)
    graph = "opt" if subject.config.kind == "opt" else "decoder"
    generator = np.random.default_rng(_SEED)
    shape = (given.sentences, subject.config.hidden_size)
    vectors = generator.standard_normal(shape, dtype=np.float32)
    first = generator.integers(0, subject.config.vocab_size, (given.sentences, 1))
    differ, tokens, gap = 0, 0, 0.0
    for start in range(0, given.sentences, _ROWS):
        rows = slice(start, start + _ROWS)
        feeds: Arrays = {"sentence_embedding": vectors[rows]} if graph == "decoder" else {}
        runner = subject.runner(graph, given.tokens)
        check_provider(runner, subject.provider)
        found, _ = decode(runner, feeds, first[rows], given.tokens)
        expected, logits = decode(
            subject.reference(graph, given.tokens), feeds, first[rows], given.tokens
        )
        for row in np.flatnonzero((found != expected).any(axis=1)):
            place = int(np.flatnonzero(found[row] != expected[row])[0])
            pair = logits[row, place, [expected[row, place], found[row, place]]]
            gap = max(gap, float(pair[0] - pair[1]))
            differ += 1
        tokens += int((found != expected).sum())
    result: Result = {
        "sentences": given.sentences,
        "tokens_each": given.tokens,
        "sentences_that_differ": differ,
        "tokens_that_differ": tokens,
        "largest_gap": gap,
    }
    print(json.dumps(result))
    return 0


def decode(
    runner: GraphRunner, feeds: Arrays, first: np.ndarray, count: int
) -> tuple[np.ndarray, np.ndarray]:
    """The best ids [rows, count] after `first` [rows, 1], and the logits [rows, count, vocab]."""
    last, ids, logits = first, [], []
    for _ in range(count):
        out = runner.run({"input_ids": last, **feeds}, 1)
        if "candidate_ids" in out:
            last = out["candidate_ids"][:, :, 0]
        else:
            last = out["logits"].argmax(axis=-1)
        ids.append(last)
        logits.append(out["logits"])
    return np.concatenate(ids, axis=1), np.concatenate(logits, axis=1)


if __name__ == "__main__":
    sys.exit(main())
