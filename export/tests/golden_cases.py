"""The golden models: their training, and what PyTorch computes for them.

The numbers come from `golden_model.py` and never from the exporter. The models are trained for a
few seconds on one short text, so that sentences end by themselves and no greedy choice is so close
that rounding could turn it. Needs PyTorch.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from golden_model import Decoder, Opt, Sllm, Svae
from golden_text import BOS, EOS, PAD, PROMPT, STORY, tiny_tokenizer
from torch import Tensor
from torch.nn.functional import cross_entropy

from sllm_export.config import ModelConfig

TOLERANCE = 1e-4
MIN_MARGIN = 0.5
MIN_FLOAT_MARGIN = 0.1
"""Enough for fp32, not for int8."""
SEED = 0
SVAE_STEPS = 300
SLLM_STEPS = 400
OPT_STEPS = {"tiny-opt": 200, "tiny-opt-post": 400}
PREFILL = 3
NEW_SENTENCES = {"tiny-original": 2}
DEFAULT_NEW_SENTENCES = 6
FIRST_MODELS = ("tiny-causal", "tiny-original")
"""Made before the whole text was a prompt too; they stay as they are."""
UNMASKED = ("tiny-125m", "tiny-350m")
"""Whose sentences end even if no new sentence can be told from another."""


def numbers(values: Tensor) -> Any:
    """Nested lists with six significant digits, which is below the tolerance."""
    flat = [float(f"{value:.6g}") for value in values.detach().flatten().tolist()]
    return np.array(flat).reshape(values.shape).tolist()


def choose(logits: Tensor, margin: float = MIN_MARGIN) -> int:
    """The best of the logits [V], which no rounding can turn: the second best must be far."""
    best = logits.topk(2).values
    if best[0] - best[1] < margin:
        raise SystemExit(f"a choice with margin {best[0] - best[1]:.3f}: train longer")
    return int(logits.argmax())


def padded(rows: list[list[int]]) -> tuple[Tensor, Tensor]:
    """Ids and mask [B, longest row]."""
    longest = max(map(len, rows))
    ids = torch.tensor([row + [PAD] * (longest - len(row)) for row in rows])
    mask = torch.tensor([[1] * len(row) + [0] * (longest - len(row)) for row in rows])
    return ids, mask


def train(model: torch.nn.Module, loss: Callable[[], Tensor], steps: int) -> None:
    """A little training, so that greedy choices are clear ones."""
    optimizer = torch.optim.Adam(model.parameters(), lr=4e-3)
    for _ in range(steps):
        optimizer.zero_grad()
        loss().backward()
        optimizer.step()
    model.requires_grad_(False)


def targets(ids: Tensor, mask: Tensor) -> Tensor:
    """What the decoder is to give after each of the ids [B, T] (with bos): the next one or eos."""
    target = torch.where(mask == 1, ids, -100)[:, 1:]
    target = torch.cat([target, torch.full((len(ids), 1), -100)], dim=1)
    target[torch.arange(len(ids)), mask.sum(dim=1) - 1] = EOS
    return target


def train_svae(model: Svae, rows: list[list[int]]) -> None:
    """Teaches to repeat each sentence."""
    ids, mask = padded(rows)
    target = targets(ids, mask)

    def loss() -> Tensor:
        return cross_entropy(model.decoder(ids, model.encoder(ids, mask)).transpose(1, 2), target)

    train(model, loss, SVAE_STEPS)


def train_sllm(model: Sllm, rows: list[list[int]], prompt: int) -> None:
    """Teaches to repeat each sentence, to give the next one, and when to stop."""
    config = model.config
    ids, mask = padded(rows)
    again = rows if model.config.reencode_bos else [*rows[:prompt], *map(raw_output, rows[prompt:])]
    read, read_mask = padded(again)
    target = targets(ids, mask)
    stop = torch.ones(len(rows), dtype=torch.long)
    stop[-1] = 0
    whole = fits(model.config, rows)

    def loss() -> Tensor:
        vectors = model.svae.encoder(ids, mask)
        context = model.svae.encoder(read, read_mask)
        hidden, stop_logits = model.run_backbone(context[None], prompt)
        first = prompt - 1
        repeated = model.svae.decoder(ids, vectors).transpose(1, 2)
        contexts = torch.stack([seen_in(config, rows[: n + 1]) for n in range(first, len(ids) - 1)])
        following = model.svae.decoder(ids[first + 1 :], hidden[0, first:-1], contexts)
        following = following.transpose(1, 2)
        total = (
            cross_entropy(repeated, target)
            + cross_entropy(following, target[first + 1 :])
            + cross_entropy(stop_logits[0, first:], stop[first:])
        )
        if whole:
            # The whole text as the prompt: nothing is to follow.
            stop_logits = model.run_backbone(vectors[None], len(rows))[1]
            total = total + cross_entropy(stop_logits[0, -1:], stop[-1:])
        return total

    train(model, loss, SLLM_STEPS)


def seen_in(config: ModelConfig, rows: list[list[int]]) -> Tensor:
    """Whether a context of these sentences (ids with bos) has each token, [V]."""
    seen = torch.zeros(config.vocab_size, dtype=torch.bool)
    for row in rows:
        seen[row[1:]] = True
    return seen


def raw_output(row: list[int]) -> list[int]:
    """What the decoder emits for a sentence: no bos, with eos."""
    return [*row[1:], EOS]


def fits(config: ModelConfig, rows: list[list[int]]) -> bool:
    """Whether the whole text is to be tried as a prompt that nothing follows."""
    return config.name not in FIRST_MODELS and len(rows) < config.max_sentences


def decode_greedily(
    decoder: Decoder,
    config: ModelConfig,
    sentence: Tensor,
    margin: float = MIN_MARGIN,
    seen: Tensor | None = None,
) -> list[int]:
    """Ids the decoder emits for a sentence vector [1, D] after a context that has the tokens `seen`
    [1, V], with the final eos."""
    ids: list[int] = []
    while EOS not in ids:
        if len(ids) == config.max_sentence_tokens:
            raise SystemExit("a sentence without end: train longer")
        logits = decoder(torch.tensor([[BOS, *ids]]), sentence, seen)
        ids.append(choose(logits[0, -1], margin))
    return ids


def generate(model: Sllm, prompt: list[list[int]], masked: bool = True) -> dict[str, Any]:
    """The whole loop on prompt sentences (ids with bos).

    Without `masked` it is what the original's code does, which encodes a new sentence without a
    mask: it then sets all positions to 0, so every new sentence has the vector `lnorm.bias`.
    """
    config, margin = model.config, MIN_MARGIN if masked else MIN_FLOAT_MARGIN
    vectors = torch.cat([model.svae.encoder(*padded([ids])) for ids in prompt])[None]
    sentences: list[dict[str, Any]] = []
    reason = "max_sentences"
    for _ in range(NEW_SENTENCES.get(config.name, DEFAULT_NEW_SENTENCES)):
        if vectors.shape[1] == config.max_sentences:
            reason = "context_full"
            break
        hidden, stop = model.run_backbone(vectors, len(prompt))
        if choose(stop[0, -1], margin) == 0:
            reason = "stop"
            break
        known = seen_in(config, [*prompt, *([BOS, *s["token_ids"][:-1]] for s in sentences)])
        ids = decode_greedily(model.svae.decoder, config, hidden[:, -1], margin, known[None])
        probability = stop[0, -1].softmax(dim=0)[0]
        sentences.append({"token_ids": ids, "stop_probability": numbers(probability)})
        again = [BOS, *ids[:-1]] if config.reencode_bos else ids
        seen = model.svae.encoder(*padded([again]))
        if not masked:
            seen = model.svae.encoder.lnorm.bias[None]
        vectors = torch.cat([vectors, seen[None]], dim=1)
    return {
        "prompt_ids": prompt,
        "max_new_sentences": NEW_SENTENCES.get(config.name, DEFAULT_NEW_SENTENCES),
        "sentences": sentences,
        "finish_reason": reason,
    }


def tokenized(config: ModelConfig) -> list[list[int]]:
    """Ids (with bos) of each sentence of the text, as long as the model has them."""
    tokenizer = tiny_tokenizer()
    return [tokenizer.encode(text).ids[: config.max_sentence_tokens] for text in STORY]


def coder_numbers(model: Svae, config: ModelConfig, prompt: list[list[int]]) -> dict[str, Any]:
    """What encoder and decoder make of the prompt's sentences."""
    ids, mask = padded(prompt)
    vectors = model.encoder(ids, mask)
    return {
        "tolerance": TOLERANCE,
        "texts": PROMPT,
        "encoder": {
            "input_ids": ids.tolist(),
            "attention_mask": mask.tolist(),
            "sentence_embedding": numbers(vectors),
        },
        "reconstruction": [
            decode_greedily(model.decoder, config, vector[None]) for vector in vectors
        ],
    }


def decoder_numbers(
    decoder: Decoder, rows: list[list[int]], vectors: Tensor, seen: Tensor | None = None
) -> dict[str, Any]:
    """Logits of two sentences, given two vectors [2, D] and the tokens of their contexts [2, V]."""
    teacher = torch.tensor([rows[0], rows[2][: len(rows[0])]])
    context = {} if seen is None else {"context_tokens": seen.int().tolist()}
    return {
        "input_ids": teacher.tolist(),
        "sentence_embedding": numbers(vectors),
        **context,
        "logits": numbers(decoder(teacher, vectors, seen)),
    }


def svae_case(config: ModelConfig) -> tuple[Svae, dict[str, Any]]:
    """A tiny SentenceVAE alone and what it computes."""
    torch.manual_seed(SEED)
    model = Svae(config)
    rows = tokenized(config)
    train_svae(model, rows)
    model.eval()
    expected = coder_numbers(model, config, rows[: len(PROMPT)])
    vectors = model.encoder(*padded(rows[:2]))
    return model, {**expected, "decoder": decoder_numbers(model.decoder, rows, vectors)}


def sllm_case(config: ModelConfig) -> tuple[Sllm, dict[str, Any]]:
    """A tiny model and what it computes."""
    torch.manual_seed(SEED)
    model = Sllm(config)
    rows = tokenized(config)
    train_sllm(model, rows, len(PROMPT))
    model.eval()
    prompt = rows[: len(PROMPT)]
    coder = coder_numbers(model.svae, config, prompt)
    vectors = model.svae.encoder(*padded(prompt))
    hidden, stop = model.run_backbone(vectors[None], PREFILL)
    seen = None
    if config.require_svae().context_bias_size:
        seen = torch.stack([seen_in(config, rows[:1]), seen_in(config, rows[:2])])
    expected = {
        "tolerance": coder["tolerance"],
        "texts": coder["texts"],
        "encoder": coder["encoder"],
        "backbone": {
            "prompt": PREFILL,
            "inputs_embeds": numbers(vectors[None]),
            "hidden": numbers(hidden),
            "stop_logits": numbers(stop),
        },
        "decoder": decoder_numbers(model.svae.decoder, rows, hidden[0, :2], seen),
        "reconstruction": coder["reconstruction"],
        "generation": generate(model, prompt),
    }
    if config.name in UNMASKED:
        expected["unmasked_generation"] = generate(model, prompt, masked=False)
    if fits(config, rows):
        expected["ended"] = {"texts": STORY, "generation": generate(model, rows)}
    return model, expected


def opt_case(config: ModelConfig) -> tuple[Opt, dict[str, Any]]:
    """A tiny OPT and what it computes."""
    torch.manual_seed(SEED)
    model = Opt(config)
    tokenizer = tiny_tokenizer()
    story = torch.tensor([tokenizer.encode("".join(STORY[:3])).ids])
    target = torch.cat([story[:, 1:], torch.tensor([[EOS]])], dim=1)
    train(
        model, lambda: cross_entropy(model(story).transpose(1, 2), target), OPT_STEPS[config.name]
    )
    model.eval()
    prompt = tokenizer.encode(STORY[0]).ids
    ids: list[int] = []
    while EOS not in ids:
        ids.append(choose(model(torch.tensor([prompt + ids]))[0, -1]))
    expected = {
        "tolerance": TOLERANCE,
        "opt": {"input_ids": [prompt], "logits": numbers(model(torch.tensor([prompt])))},
        "generation": {"prompt_ids": prompt, "token_ids": ids},
    }
    return model, expected
