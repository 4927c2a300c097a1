"""Greedy continuations and when they count as degenerate."""

import numpy as np
import pytest
import torch
from tiny_training import tiny_trained

from sllm_export.config import parse_config
from sllm_train import continuations
from sllm_train.continuations import continue_greedily, is_degenerate
from sllm_train.model import Sllm
from sllm_train.rollout import decode_greedily

CASES = [
    ([], True),
    ([" \n"], True),
    ([". ", ". "], True),
    (["a..."], True),
    (["ab."], False),
    (["He ran home. "] * 2, False),
    (["He ran home. "] * 3, True),
    (["He ran. "] * 9, False),
    (["He ran home. ", "HE RAN HOME.\n", "It sat. ", "he  ran home."], True),
]


@pytest.mark.parametrize(("sentences", "expected"), CASES)
def test_degenerate(sentences, expected):
    """The table of src/eval/degenerate.rs."""
    assert is_degenerate(sentences) == expected


@pytest.mark.parametrize(("slots", "context_bias"), [(1, 0), (4, 0), (4, 8)])
def test_continuations_are_those_without_batches_and_caches(slots, context_bias, monkeypatch):
    monkeypatch.setattr(continuations, "NEW_SENTENCES", 3)
    svae = {"svae.norm_first": True, "svae.slots": slots, "svae.decoder_layers": 2}
    svae["svae.context_bias_size"] = context_bias
    config = parse_config(tiny_trained(**svae, max_sentence_tokens=12))
    torch.manual_seed(3)
    model = Sllm(config).eval()
    with torch.no_grad():
        model.fc.bias[1] += 9
        if (bias := model.svae.decoder.context_bias) is not None:
            torch.nn.init.normal_(bias.constant, std=2.0)
        model.svae.decoder.linear.bias[config.tokens.eos] += 0.5
    draw = np.random.default_rng(0)
    prompts = [[draw.integers(3, 259, n) for n in lengths] for lengths in ([3, 5], [9, 2], [1, 1])]
    found = continue_greedily(model, config, prompts)
    for prompt, sentences in zip(prompts, found, strict=True):
        assert sentences == alone(model, config, prompt)


def alone(model, config, prompt):
    """One token at a time, everything computed anew."""
    bos, eos = config.tokens.bos, config.tokens.eos
    context = [list(map(int, s)) for s in prompt]
    sentences: list[list[int]] = []
    with torch.no_grad():
        while len(sentences) < 3:
            vectors = []
            for sentence in context:
                ids = torch.tensor([[bos, *sentence]])
                vectors.append(model.svae.encoder(ids, torch.ones_like(ids, dtype=torch.bool)))
            hidden = model.predict(torch.cat(vectors)[None])[0, -1:]
            if model.fc(hidden).argmax() == 0:
                break
            chosen: list[int] = []
            while len(chosen) < config.max_sentence_tokens - 1:
                prefix = torch.tensor([[bos, *chosen]])
                seen = torch.zeros(1, config.vocab_size)
                seen[0, np.concatenate(context)] = 1
                best = int(model.svae.decoder(prefix, hidden, seen)[0, -1].argmax())
                if best == eos:
                    break
                chosen.append(best)
            if not chosen:
                break
            context.append(chosen)
            sentences.append(chosen)
    return sentences


def test_rows_leave_when_they_end():
    config = parse_config(tiny_trained())
    torch.manual_seed(0)
    model = Sllm(config).eval()
    with torch.no_grad():
        model.svae.decoder.linear.bias[config.tokens.eos] += 1.0
        hidden = torch.randn(9, config.hidden_size)
        seen = torch.randn(9, config.vocab_size).sign().clamp(min=0)
        decoder = model.svae.decoder
        ids, lengths = decode_greedily(decoder, hidden, seen, config.tokens)
        for row in range(9):
            alone = slice(row, row + 1)
            one, length = decode_greedily(decoder, hidden[alone], seen[alone], config.tokens)
            assert lengths[row] == length[0]
            assert torch.equal(ids[row, : length[0] + 1], one[0, : length[0] + 1])
