"""Losses and gradients against plain autograd."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from helpers import tiny
from tiny_training import randomize, windows
from torch.nn import functional as F

from sllm_export.config import parse_config
from sllm_train import objective
from sllm_train.batches import Window, collate
from sllm_train.model import Sllm
from sllm_train.objective import Sums, Weights, choose_lags, expected_sums, train_batch
from sllm_train.output_loss import output_loss, unlikelihood_slope

FP32 = torch.autocast("cpu", dtype=torch.bfloat16, enabled=False)
RECONSTRUCTION = 2.0
WEIGHTS = Weights(reconstruction=RECONSTRUCTION, following=0.7, stop=0.3, unlikelihood=30.0)
NONE = torch.zeros(0, dtype=torch.long)


@pytest.fixture
def keep_all(monkeypatch):
    """Every sentence is reconstructed, and is an unlikelihood negative, also the short ones."""
    every = lambda lengths, share=1.0: torch.ones_like(lengths, dtype=torch.bool)  # noqa: E731
    monkeypatch.setattr(objective, "keep_for_reconstruction", every)
    monkeypatch.setattr(objective, "MIN_NEGATIVE_TOKENS", 1)
    monkeypatch.setattr(objective, "NEGATIVE_SHARE", 2.0)
    monkeypatch.setattr(objective, "choose_lags", lags)


def lags(left):
    """A sentence later where there is one."""
    return left.clamp(max=1)


def test_output_loss_equals_cross_entropy():
    states, weight = torch.randn(9, 6), torch.randn(11, 6)
    bias, factors, targets = torch.randn(11), torch.rand(9), torch.randint(11, (9,))
    inputs = [x.requires_grad_() for x in (states, weight, bias)]
    expected = F.cross_entropy(F.linear(*inputs), targets, reduction="none")
    found = output_loss(inputs[0], (inputs[1], inputs[2]), targets, factors, NONE)
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)
    wanted = torch.autograd.grad((expected * factors).sum(), inputs)
    for gradient, right in zip(torch.autograd.grad(found.sum(), inputs), wanted, strict=True):
        torch.testing.assert_close(gradient, right, atol=1e-5, rtol=1e-5)


def test_what_is_added_to_the_logits_has_a_gradient():
    states, weight, bias = torch.randn(9, 6), torch.randn(11, 6), torch.randn(11)
    added = torch.randn(9, 11, requires_grad=True)
    factors, targets = torch.rand(9), torch.randint(11, (9,))
    expected = F.cross_entropy(F.linear(states, weight, bias) + added, targets, reduction="none")
    found = output_loss(states, (weight, bias), targets, factors, NONE, added=added)
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)
    [wanted] = torch.autograd.grad((expected * factors).sum(), [added])
    [gradient] = torch.autograd.grad(found.sum(), [added])
    torch.testing.assert_close(gradient, wanted, atol=1e-5, rtol=1e-5)


def test_unlikelihood():
    """Two negatives sentences of two and one tokens behind two wanted tokens."""
    inputs = [torch.randn(5, 6), torch.randn(7, 6), torch.randn(7)]
    inputs = [x.requires_grad_() for x in inputs]
    targets, factors = torch.randint(7, (5,)), torch.rand(5)
    factors[3] = factors[2]
    losses = F.cross_entropy(F.linear(*inputs), targets, reduction="none")
    again = torch.stack([(losses[2] + losses[3]) / 2, losses[4]])
    unlikelihood = -(1 - (-again).exp()).log() * factors[[2, 4]] * torch.tensor([2, 1])
    expected = torch.autograd.grad((losses * factors)[:2].sum() + unlikelihood.sum(), inputs)
    found = output_loss(
        inputs[0], (inputs[1], inputs[2]), targets, factors, torch.tensor([0, 0, 1])
    )
    torch.testing.assert_close(found, losses, atol=1e-5, rtol=1e-5)
    for gradient, right in zip(torch.autograd.grad(found.sum(), inputs), expected, strict=True):
        torch.testing.assert_close(gradient, right, atol=1e-5, rtol=1e-4)


def test_lags_stay_in_the_window():
    left = torch.arange(5).repeat(2000)
    found = choose_lags(left)
    assert (found <= left).all()
    assert found[left == 4].bincount().tolist() == pytest.approx([1000, 333, 333, 333], abs=120)


def test_unlikelihood_is_bounded():
    """A sentence that is certain to be repeated has a finite slope."""
    slopes = unlikelihood_slope(torch.tensor([0.0, 0.0, 50.0]), torch.tensor([0, 0, 1]))
    assert slopes.tolist() == pytest.approx([-4, -4, 0], abs=1e-4)


def plain_losses(model, record, tokens):
    """Summed losses of one record: sentence by sentence, nothing grouped, nothing padded."""
    tensors = [torch.from_numpy(sentence)[None] for sentence in record.sentences]
    inputs = [F.pad(ids, (1, 0), value=tokens.bos) for ids in tensors]
    targets = [F.pad(ids, (0, 1), value=tokens.eos)[0] for ids in tensors]
    every = [torch.ones_like(ids, dtype=torch.bool) for ids in inputs]
    vectors = [model.svae.encoder(*pair) for pair in zip(inputs, every, strict=True)]
    hidden = model.predict(torch.stack(vectors, 1))[0]

    def decode(number, condition, seen=None):
        logits = model.svae.decoder(inputs[number], condition, seen)[0]
        return F.cross_entropy(logits, targets[number], reduction="sum")

    reconstruction = sum(decode(i, vector) for i, vector in enumerate(vectors))
    predicted = [i for i in range(1, len(tensors)) if i not in record.inserted]

    def after(number, place):
        seen = torch.zeros(1, model.svae.decoder.linear.out_features)
        seen[0, np.concatenate(record.sentences[: place + 1])] = 1
        return decode(number, hidden[None, place], seen)

    following = sum(after(i, i - 1) for i in predicted)
    last = len(tensors) - 1
    again = [after(i, min(i + 1, last)) for i in range(len(tensors))]
    lengths = [len(target) for target in targets]
    repetition = sum(
        -n * (1 - (-nats / n).exp()).log() for nats, n in zip(again, lengths, strict=True)
    )
    continues = torch.ones(len(tensors), dtype=torch.long)
    continues[-1] = 0 if record.ends else 1
    stop = F.cross_entropy(model.fc(hidden), continues, reduction="sum")
    return reconstruction, following, stop, repetition


@pytest.mark.usefixtures("keep_all")
@pytest.mark.parametrize("group_tokens", [1, 40, 10_000])
@pytest.mark.parametrize("context_bias", [0, 6])
def test_gradients_equal_those_of_the_whole_loss(group_tokens, context_bias):
    config = parse_config(tiny(**{"svae.context_bias_size": context_bias}))
    model, records = randomize(Sllm(config)), windows(config)
    scale = Sums(reconstruction_tokens=50, following_tokens=40, sentences=30)
    joined = [np.concatenate(records[2].sentences[:2]), records[3].sentences[0]]
    plain = [plain_losses(model, record, config.tokens) for record in records]
    totals = [sum(column) for column in zip(*plain, strict=True)]
    for sentence in joined:
        totals[0] += plain_losses(model, Window([sentence], ends=True), config.tokens)[0]
    factors = [RECONSTRUCTION / 50, WEIGHTS.following / 40, WEIGHTS.stop / 30]
    factors.append(WEIGHTS.unlikelihood * factors[1])
    sum(f * total for f, total in zip(factors, totals, strict=True)).backward()
    expected = {name: p.grad for name, p in model.named_parameters()}
    model.zero_grad()

    batch = collate(records, config.tokens, group_tokens, joined)
    sums = train_batch(model, batch, WEIGHTS, scale, FP32)
    found = (sums.reconstruction, sums.following, sums.stop)
    assert found == pytest.approx([total.item() for total in totals[:3]], rel=1e-5)
    lengths = [len(s) + 1 for record in records for s in record.sentences]
    first = [len(record.sentences[0]) + 1 for record in records]
    echo = len(records[2].sentences[3]) + 1
    assert sums.sentences == len(lengths)
    assert sums.reconstruction_tokens == sum(lengths) + sum(len(s) + 1 for s in joined)
    assert sums.following_tokens == sum(lengths) - sum(first) - echo
    for name, parameter in model.named_parameters():
        if expected[name] is None:
            assert parameter.grad is None, name
        else:
            torch.testing.assert_close(
                parameter.grad,
                expected[name],
                atol=2e-5,
                rtol=1e-4,
                msg=lambda found: name + found,  # noqa: B023 - called at once
            )


@pytest.mark.parametrize("kept", [False, True])
def test_records_of_one_sentence(kept, monkeypatch):
    """Nothing to predict from what came before, and perhaps nothing to reconstruct."""
    rows = lambda lengths, share=1.0: torch.full(lengths.shape, kept)  # noqa: E731
    monkeypatch.setattr(objective, "keep_for_reconstruction", rows)
    config = parse_config(tiny())
    model, records = randomize(Sllm(config)), [w for w in windows(config) if w.tokens < 8]
    assert all(len(record.sentences) == 1 for record in records)
    batch = collate(records, config.tokens, 40)
    weights = replace(WEIGHTS, unlikelihood=0.0)
    sums = train_batch(model, batch, weights, expected_sums(batch, WEIGHTS), FP32)
    assert (sums.following, sums.following_tokens) == (0.0, 0)
    assert (sums.reconstruction > 0) == kept
    assert sums.stop > 0
    assert bool(model.svae.encoder.lnorm.weight.grad.abs().sum() > 0)


def test_scale_is_what_is_kept_on_average():
    config = parse_config(tiny())
    batch = collate(windows(config), config.tokens, 10_000)
    torch.manual_seed(0)
    group = batch.groups[0]
    tokens = group.lengths + 1
    kept = [objective.keep_for_reconstruction(group.lengths) for _ in range(2000)]
    average = sum(tokens[rows].sum().item() for rows in kept) / len(kept)
    scale = expected_sums(batch, WEIGHTS)
    assert scale.reconstruction_tokens == pytest.approx(average, rel=0.05)
    assert scale.sentences == 12


def test_bfloat16_gradients_are_near():
    config = parse_config(tiny())
    model = randomize(Sllm(config))
    batch = collate(windows(config), config.tokens, 40)
    gradients = []
    for enabled in (False, True):
        torch.manual_seed(0)
        amp = torch.autocast("cpu", dtype=torch.bfloat16, enabled=enabled)
        train_batch(model, batch, WEIGHTS, expected_sums(batch, WEIGHTS), amp)
        grads = [p.grad.flatten() for p in model.parameters() if p.grad is not None]
        gradients.append(torch.cat(grads))
        model.zero_grad()
    full, half = gradients
    assert F.cosine_similarity(full, half, dim=0) > 0.99


def test_a_share_of_the_conditions_is_dropped():
    torch.manual_seed(0)
    cpu = torch.device("cpu")
    assert objective.keep_conditions(3, 0.0, cpu).tolist() == [1, 1, 1]
    kept = objective.keep_conditions(4000, 0.25, cpu)
    assert set(kept.tolist()) == {0, 1}
    assert 0.22 < float((kept == 0).float().mean()) < 0.28


@pytest.mark.usefixtures("keep_all")
def test_dropped_conditions_are_zeros(monkeypatch):
    """The decoder is given zeros for the sentence and for the tokens before it."""
    config = parse_config(tiny(**{"svae.context_bias_size": 6}))
    model = randomize(Sllm(config))
    decoder, given = model.svae.decoder, {}
    states, bias = decoder.states, decoder.context_bias.forward

    def note_sentences(ids, sentences):
        given["sentences"] = sentences
        return states(ids, sentences)

    def note_seen(x, seen):
        given["seen"] = seen
        return bias(x, seen)

    monkeypatch.setattr(decoder, "states", note_sentences)
    monkeypatch.setattr(decoder.context_bias, "forward", note_seen)
    batch = collate(windows(config), config.tokens, 10_000)
    weights = Weights(reconstruction=None, condition_dropout=0.5)
    torch.manual_seed(0)
    train_batch(model, batch, weights, expected_sums(batch, weights), FP32)
    [group] = batch.groups
    lengths = group.lengths[batch.predicted[group.index]] + 1
    dropped = (given["sentences"] == 0).all(1)
    assert 0 < dropped.sum() < len(dropped)
    nothing_seen = (given["seen"] == 0).all(1)
    assert torch.equal(nothing_seen, dropped.repeat_interleave(lengths))
