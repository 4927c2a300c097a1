"""The model's own sentences in the context."""

import numpy as np
import torch
from tiny_training import tiny_trained, windows

from sllm_export.config import parse_config
from sllm_train import rollout
from sllm_train.batches import collate
from sllm_train.model import Sllm
from sllm_train.objective import Weights, choose_negatives

SEED = 5


def tiny_model():
    """A model whose greedy sentences end: eos becomes likely after a few tokens."""
    torch.manual_seed(SEED)
    config = parse_config(tiny_trained())
    model = Sllm(config, dropout=0.3)
    with torch.no_grad():
        model.svae.decoder.linear.bias[config.tokens.eos] += 0.9
    return config, model


def greedy(config, model, sentences):
    """The sentence after `sentences`, without eos, one token at a time; None without an end."""
    with torch.no_grad():
        vectors = []
        for ids in sentences:
            ids = torch.tensor([[config.tokens.bos, *ids]])
            vectors.append(model.svae.encoder(ids, torch.ones_like(ids, dtype=torch.bool)))
        hidden = model.predict(torch.cat(vectors)[None])[0, -1:]
        ids = []
        while len(ids) < rollout.MAX_TOKENS:
            prefix = torch.tensor([[config.tokens.bos, *ids]])
            chosen = int(model.svae.decoder(prefix, hidden)[0, -1].argmax())
            if chosen == config.tokens.eos:
                return ids
            ids.append(chosen)
    return None


def test_replaced_sentences_are_what_the_model_says():
    config, model = tiny_model()
    texts = windows(config) * 4
    model.train()
    rolled_out = rollout.roll_out(model, texts, 1.0, config.tokens, np.random.default_rng(SEED))
    assert model.training
    model.eval()
    assert sorted(len(w.sentences) for w in rolled_out) == sorted(len(w.sentences) for w in texts)
    replaced = 0
    for window in rolled_out:
        for place, sentence in enumerate(window.sentences):
            own = all(
                place >= len(w.sentences) or not np.array_equal(w.sentences[place], sentence)
                for w in texts
            )
            if own:
                assert place in window.inserted
                assert list(sentence) == greedy(config, model, window.sentences[:place])
                replaced += 1
    assert replaced > 0


def test_without_a_share_nothing_changes():
    config, model = tiny_model()
    texts = windows(config)
    rolled_out = rollout.roll_out(model, texts, 0.0, config.tokens, np.random.default_rng(SEED))
    assert rolled_out == texts


def test_a_sentence_without_an_end_is_not_taken():
    config, model = tiny_model()
    with torch.no_grad():
        model.svae.decoder.linear.bias[config.tokens.eos] = -100.0
    texts = windows(config)
    rolled_out = rollout.roll_out(model, texts, 1.0, config.tokens, np.random.default_rng(SEED))
    key = len
    before = sorted((w.sentences for w in texts), key=key)
    after = sorted((w.sentences for w in rolled_out), key=key)
    for old, new in zip(before, after, strict=True):
        assert all(np.array_equal(a, b) for a, b in zip(old, new, strict=True))


def test_all_that_was_put_in_is_unwanted():
    config, _ = tiny_model()
    batch = collate(windows(config), config.tokens, 10_000)
    group = batch.groups[0]
    inserted = batch.inserted[group.index]
    rows = choose_negatives(group, inserted, Weights(unlikelihood=1.0))
    wanted = inserted & (group.lengths >= 4)
    assert wanted.sum() == 1
    assert set(wanted.nonzero()[:, 0].tolist()) <= set(rows.tolist())
    assert len(choose_negatives(group, inserted, Weights())) == 0
