"""Compares every written graph with the numpy evaluation of the same checkpoint."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from sllm_export import reference
from sllm_export.checkpoint.expected import decoder_weights, encoder_weights, opt_weights
from sllm_export.checkpoint.state_dict import StateDict, Weights
from sllm_export.config import ModelConfig
from sllm_export.errors import VerificationError
from sllm_export.runner import Arrays, GraphRunner

_PROMPT = 3
_STEPS = 2
_LENGTHS = (5, 3)
_SEED = 20240800
_MIN_CANDIDATES = 0.5
"""Share of the chosen tokens that are the best ones: coarse ranking may take others at the end."""


@dataclass(frozen=True)
class Case:
    """Inputs of one graph and the numpy results, computed once and used for every variant.

    Expected outputs cover the prompt and then each cached step, along the second dimension.
    """

    graph: str
    feeds: Arrays
    expected: Arrays
    prompt: int = 0
    bidirectional: bool = False


def make_cases(config: ModelConfig, state_dict: StateDict) -> list[Case]:
    """Random sentences (one padded), a prompt with two further steps, in numpy."""
    generator = np.random.default_rng(_SEED)
    if config.kind == "opt":
        return [_opt_case(config, state_dict, generator)]
    cases = [_encoder_case(config, state_dict, generator)]
    if config.kind == "sllm":
        cases.append(_backbone_case(config, state_dict, generator))
    cases.append(_decoder_case(config, state_dict, generator))
    return cases


def check_graph(path: Path, case: Case, tolerance: float) -> float:
    """Runs the graph on the case; returns the largest error of its outputs, where it chooses the
    best tokens that of their logits: the others are coarse on purpose.

    The error of an output is the root mean square of the difference over that of the expected
    values. Raises VerificationError if it is above `tolerance`, or not a number.
    """
    where = f"{path.parent.name}/{path.name}"
    try:
        found = _run(GraphRunner(path), case)
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
    """The best tokens that a graph chooses are the best of the expected logits [B, T, V], most of
    them, and in falling order of what they are worth."""
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


def _run(runner: GraphRunner, case: Case) -> Arrays:
    if not case.prompt:
        return runner.run(case.feeds)
    # What runs along the positions is fed piece by piece; sentence vectors go in each time.
    stepped = {name for name in case.feeds if name != "sentence_embedding"}
    count = case.feeds[next(iter(stepped))].shape[1]
    pieces: list[Arrays] = []
    for start, end in [(0, case.prompt), *((i, i + 1) for i in range(case.prompt, count))]:
        feeds = {
            name: array[:, start:end] if name in stepped else array
            for name, array in case.feeds.items()
        }
        bidirectional = case.bidirectional and start == 0
        pieces.append(runner.run(feeds, end - start, bidirectional))
    return {name: np.concatenate([p[name] for p in pieces], axis=1) for name in pieces[0]}


def _encoder_case(
    config: ModelConfig, state_dict: StateDict, generator: np.random.Generator
) -> Case:
    longest = min(max(_LENGTHS), config.max_sentence_tokens)
    mask = np.array([np.arange(longest) < length for length in _LENGTHS], dtype=np.int64)
    ids = _random_ids(config, generator, mask.shape)
    ids[mask == 0] = config.tokens.pad
    weights = encoder_weights(config, state_dict)
    vectors = reference.encode(config, weights, ids, mask)
    feeds = {"input_ids": ids, "attention_mask": mask}
    return Case("encoder", feeds, {"sentence_embedding": vectors})


def _backbone_case(
    config: ModelConfig, state_dict: StateDict, generator: np.random.Generator
) -> Case:
    backbone = config.require_backbone()
    total = min(_PROMPT + _STEPS, backbone.max_positions)
    prompt = max(1, total - _STEPS)
    vectors = _random_vectors(generator, (2, total, config.hidden_size))
    mask = reference.sentence_mask(config, prompt, total)
    allowed = np.broadcast_to(mask, (2, total, total))
    hidden, stop = reference.run_backbone(config, Weights(state_dict), vectors, allowed)
    return Case(
        "backbone",
        {"inputs_embeds": vectors},
        {"hidden": hidden, "stop_logits": stop},
        prompt,
        backbone.prefill_attention == "bidirectional",
    )


def _decoder_case(
    config: ModelConfig, state_dict: StateDict, generator: np.random.Generator
) -> Case:
    total = min(_PROMPT + _STEPS, config.max_sentence_tokens)
    ids = _random_ids(config, generator, (2, total))
    sentence = _random_vectors(generator, (2, config.hidden_size))
    weights = decoder_weights(config, state_dict)
    logits = reference.decode(config, weights, ids, sentence)
    feeds = {"input_ids": ids, "sentence_embedding": sentence}
    return Case("decoder", feeds, {"logits": logits}, max(1, total - _STEPS))


def _opt_case(config: ModelConfig, state_dict: StateDict, generator: np.random.Generator) -> Case:
    total = min(_PROMPT + _STEPS, config.require_backbone().max_positions)
    ids = _random_ids(config, generator, (2, total))
    logits = reference.run_opt(config, opt_weights(state_dict), ids)
    return Case("opt", {"input_ids": ids}, {"logits": logits}, max(1, total - _STEPS))


def _random_ids(
    config: ModelConfig, generator: np.random.Generator, shape: tuple[int, ...]
) -> np.ndarray:
    ids = generator.integers(0, config.vocab_size, shape)
    ids[:, 0] = config.tokens.bos
    return ids


def _random_vectors(generator: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    return generator.standard_normal(shape, dtype=np.float32)
