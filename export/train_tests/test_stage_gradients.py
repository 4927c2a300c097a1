"""Gradients of the original's two stages against its losses as they are written down."""

import golden_model
import pytest
import torch
from helpers import tiny
from test_focal import focal_loss
from tiny_training import randomize, windows

from sllm_export.config import parse_config
from sllm_train.batches import collate
from sllm_train.model import Sllm
from sllm_train.objective import encode, run_backbone
from sllm_train.options import Options
from sllm_train.stages import STAGES


@pytest.mark.parametrize("norm_first", [True, False])
def test_bidirectional_backbone(norm_first):
    """Records of different lengths, padded in the batch, as prompts alone in the reference."""
    changes = {"backbone.prefill_attention": "bidirectional", "backbone.norm_first": norm_first}
    config = parse_config(tiny(**changes))
    model, reference = randomize(Sllm(config)), golden_model.Sllm(config)
    reference.load_state_dict(model.state_dict())
    records = windows(config)
    batch = collate(records, config.tokens, group_tokens=40)
    vectors = encode(model, batch)
    hidden = run_backbone(model, batch, vectors)
    counts = sorted(len(record.sentences) for record in records)
    for given, found in zip(vectors.split(counts), hidden.split(counts), strict=True):
        expected, _ = reference.run_backbone(given[None], prompt=len(given))
        torch.testing.assert_close(found, expected[0], atol=1e-4, rtol=1e-5)


def plain_loss(model, record, tokens):
    """Focal losses of next sentences and of the stop head of one record, nothing padded."""
    ids = [torch.from_numpy(sentence) for sentence in record.sentences]
    bos, eos = torch.tensor([tokens.bos]), torch.tensor([tokens.eos])
    inputs = [torch.cat([bos, sentence])[None] for sentence in ids]
    mask = [torch.ones_like(sentence, dtype=torch.bool) for sentence in inputs]
    vectors = [model.svae.encoder(*pair) for pair in zip(inputs, mask, strict=True)]
    hidden = model.predict(torch.stack(vectors, 1))[0]
    tokens_loss = torch.zeros(())
    for i in range(1, len(ids)):
        if i not in record.inserted:
            logits = model.svae.decoder(inputs[i], hidden[None, i - 1])[0]
            tokens_loss = tokens_loss + focal_loss(logits, torch.cat([ids[i], eos]), 2.0).sum()
    continues = torch.ones(len(ids), dtype=torch.long)
    continues[-1] = 0 if record.ends else 1
    return tokens_loss, focal_loss(model.fc(hidden), continues, 2.0).sum()


@pytest.mark.parametrize("prefill", ["causal", "bidirectional"])
@pytest.mark.parametrize("frozen", [False, True])
def test_gradients_of_stage_sllm(prefill, frozen):
    """Next sentence and stop head count alike, records of a batch do not see each other."""
    config = parse_config(tiny(**{"backbone.prefill_attention": prefill, "backbone.layers": 3}))
    layers = 1 if frozen else None
    options = Options(steps=1, stage="sllm", loss="focal", freeze_svae=frozen, outer_layers=layers)
    options.precision = "fp32"
    stage = STAGES["sllm"](options)
    model, records = randomize(stage.build(config)), windows(config)
    batch = collate(records, config.tokens, group_tokens=40)
    scale = stage.expected(batch)
    parts = zip(*(plain_loss(model, record, config.tokens) for record in records), strict=True)
    following, stop = (torch.stack(part).sum() for part in parts)
    (following / scale.following_tokens + stop / scale.sentences).backward()
    expected = {name: p.grad for name, p in model.named_parameters()}
    model.zero_grad()
    sums = stage.train(model, batch, scale)
    assert sums.following_tokens == scale.following_tokens
    assert sums.reconstruction_tokens == 0
    for name, parameter in model.named_parameters():
        is_frozen = frozen and name.startswith(("svae.", "llm_layers.1."))
        assert parameter.requires_grad != is_frozen
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


def test_gradients_of_stage_svae():
    """Every sentence counts, short ones too, joined neighbours as well."""
    config = parse_config(tiny(kind="svae", backbone=None))
    stage = STAGES["svae"](Options(steps=1, stage="svae", loss="focal", precision="fp32"))
    model, records = randomize(stage.build(config)), windows(config)
    sentences = [sentence for record in records for sentence in record.sentences]
    extra = sentences[:2]
    batch = collate(records, config.tokens, 40, extra)
    scale = stage.expected(batch)
    total = torch.zeros(())
    for sentence in [*sentences, *extra]:
        ids = torch.from_numpy(sentence)
        inputs = torch.cat([torch.tensor([config.tokens.bos]), ids])[None]
        targets = torch.cat([ids, torch.tensor([config.tokens.eos])])
        vector = model.encoder(inputs, torch.ones_like(inputs, dtype=torch.bool))
        total = total + focal_loss(model.decoder(inputs, vector)[0], targets, 2.0).sum()
    count = sum(len(sentence) + 1 for sentence in [*sentences, *extra])
    assert scale.reconstruction_tokens == count
    (total / count).backward()
    expected = {name: p.grad for name, p in model.named_parameters()}
    model.zero_grad()
    assert stage.train(model, batch, scale).reconstruction_tokens == count
    for name, parameter in model.named_parameters():
        torch.testing.assert_close(parameter.grad, expected[name], atol=2e-5, rtol=1e-4)
