"""Inputs of each graph with the outputs that the numpy reference computes for them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sllm_export.checkpoint.expected import decoder_weights, encoder_weights, opt_weights
from sllm_export.checkpoint.state_dict import StateDict, Weights
from sllm_export.config import ModelConfig
from sllm_export.verify import reference
from sllm_export.verify.runner import Arrays

_PROMPT = 3
_STEPS = 2
_LENGTHS = (5, 3)
_SEEN_SHARE = 0.3
_SEED = 20240800


@dataclass(frozen=True)
class Case:
    """Inputs of one graph and the outputs of the reference, the same for every variant.

    `prompt` is the number of positions of the prefill; each later position is a step of its own,
    with the cache. It is 0 for a graph without a cache.
    """

    graph: str
    feeds: Arrays
    expected: Arrays
    prompt: int = 0
    bidirectional: bool = False


def make_cases(config: ModelConfig, state_dict: StateDict) -> list[Case]:
    """Make a case for each graph of the model from random inputs."""
    generator = np.random.default_rng(_SEED)
    if config.kind == "opt":
        return [_opt_case(config, state_dict, generator)]
    cases = [_encoder_case(config, state_dict, generator)]
    if config.kind == "sllm":
        cases.append(_backbone_case(config, state_dict, generator))
    cases.append(_decoder_case(config, state_dict, generator))
    return cases


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
    feeds = {"input_ids": ids, "sentence_embedding": sentence}
    seen = None
    if config.require_svae().context_bias_size:
        seen = (generator.random((2, config.vocab_size)) < _SEEN_SHARE).astype(np.float32)
        feeds["context_tokens"] = seen
    logits = reference.decode(config, weights, ids, sentence, seen)
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
