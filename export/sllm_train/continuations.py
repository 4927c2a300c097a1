"""Greedy continuations of validation texts, and how many of them degenerate."""

from __future__ import annotations

from collections import Counter

import numpy as np
import torch
from tokenizers import Tokenizer
from torch import Tensor

from sllm_export.config import ModelConfig

from .batches import Window
from .context_tokens import ContextTokens
from .model import Sllm
from .rollout import decode_greedily

PROMPT_SENTENCES = 2
NEW_SENTENCES = 12
MIN_REPEATED_WORDS = 3
MAX_REPEATS = 2


def is_degenerate(sentences: list[str]) -> bool:
    """Nothing is said, fewer than half of the characters are letters or digits, or a sentence of
    three or more words comes three times."""
    text = "".join(sentences).strip()
    if not text or 2 * sum(c.isalnum() for c in text) < len(text):
        return True
    said = Counter(" ".join(sentence.lower().split()) for sentence in sentences)
    return any(
        count > MAX_REPEATS and len(sentence.split()) >= MIN_REPEATED_WORDS
        for sentence, count in said.items()
    )


@torch.no_grad()
def continue_greedily(
    model: Sllm, config: ModelConfig, prompts: list[list[np.ndarray]]
) -> list[list[list[int]]]:
    """The ids, without bos and eos, of up to `NEW_SENTENCES` sentences after each prompt."""
    device, tokens = model.fc.weight.device, config.tokens
    contexts = [_encode(model, config, prompt) for prompt in prompts]
    generated: list[list[list[int]]] = [[] for _ in prompts]
    active = list(range(len(prompts)))
    for _ in range(min(NEW_SENTENCES, config.max_sentences - PROMPT_SENTENCES)):
        longest = max(len(contexts[row]) for row in active)
        padded = torch.zeros(len(active), longest, config.hidden_size, device=device)
        last = torch.tensor([len(contexts[row]) - 1 for row in active], device=device)
        for place, row in enumerate(active):
            padded[place, : len(contexts[row])] = contexts[row]
        hidden = model.predict(padded)[torch.arange(len(active), device=device), last]
        goes_on = model.fc(hidden).argmax(-1) == 1
        limit = config.max_sentence_tokens - 1
        said = [[*prompts[row], *map(np.asarray, generated[row])] for row in active]
        ends = torch.tensor([len(sentences) for sentences in said]).cumsum(0) - 1
        seen = ContextTokens.of(said).seen_up_to(ends, config.vocab_size).to(device)
        ids, lengths = decode_greedily(model.svae.decoder, hidden, seen, tokens, limit)
        still = []
        for place, row in enumerate(active):
            # A sentence that reaches its limit has no end.
            length = lengths[place] or limit
            sentence = ids[place, 1 : length + 1].cpu().numpy()
            if not goes_on[place] or sentence[0] == tokens.eos:
                continue
            generated[row].append(sentence.tolist())
            vector = _encode(model, config, [sentence])
            contexts[row] = torch.cat([contexts[row], vector])
            still.append(row)
        active = still
        if not active:
            break
    return generated


def _encode(model: Sllm, config: ModelConfig, sentences: list[np.ndarray]) -> Tensor:
    width = max(map(len, sentences)) + 1
    ids = torch.full((len(sentences), width), config.tokens.pad)
    for row, sentence in enumerate(sentences):
        ids[row, 0] = config.tokens.bos
        ids[row, 1 : len(sentence) + 1] = torch.from_numpy(np.asarray(sentence, np.int64))
    lengths = torch.tensor([len(s) for s in sentences])
    mask = torch.arange(width)[None] <= lengths[:, None]
    device = model.fc.weight.device
    vectors: Tensor = model.svae.encoder(ids.to(device), mask.to(device))
    return vectors.float()


def degenerate_share(
    model: Sllm, config: ModelConfig, windows: list[Window], tokenizer: Tokenizer
) -> float | None:
    """Of the greedy continuations of the windows' first sentences; None without a window that is
    long enough."""
    prompts = [w.sentences[:PROMPT_SENTENCES] for w in windows]
    prompts = [prompt for prompt in prompts if len(prompt) == PROMPT_SENTENCES]
    if not prompts:
        return None
    model.eval()
    found = [
        is_degenerate([tokenizer.decode(ids) for ids in sentences])
        for sentences in continue_greedily(model, config, prompts)
    ]
    model.train()
    return sum(found) / len(found)
