"""The trained model against nn.TransformerEncoder, nn.TransformerDecoder and OPT's layers."""

import golden_model
import pytest
import torch
from helpers import tiny
from tiny_training import randomize, windows

from sllm_export.checkpoint.expected import expected_shapes
from sllm_export.config import parse_config
from sllm_train.batches import collate
from sllm_train.model import Sllm
from sllm_train.objective import encode, run_backbone

CONFIGS = {
    "pre-norm": tiny(),
    "post-norm": tiny(**{"backbone.norm_first": False}),
    "project-in": tiny(**{"svae.word_embed_size": 24}),
    "learnable-add": tiny(**{"svae.learnable_add": True}),
    "slots": tiny(**{"svae.slots": 4, "svae.decoder_layers": 1}),
    "context-bias": tiny(**{"svae.context_bias_size": 6}),
}


def both(name):
    """The trained model and the reference, with the same random weights."""
    config = parse_config(CONFIGS[name])
    model, reference = randomize(Sllm(config)), golden_model.Sllm(config)
    reference.load_state_dict(model.state_dict())
    return config, model, reference.eval()


@pytest.mark.parametrize("name", CONFIGS)
def test_names_and_shapes_are_those_of_a_checkpoint(name):
    config = parse_config(CONFIGS[name])
    found = {key: tuple(value.shape) for key, value in Sllm(config).state_dict().items()}
    assert found == dict(expected_shapes(config))


@pytest.mark.parametrize("name", CONFIGS)
def test_encoder_and_decoder(name):
    config, model, reference = both(name)
    for group in collate(windows(config), config.tokens, group_tokens=40).groups:
        mask = group.targets != -100
        vectors = model.svae.encoder(group.ids, mask)
        expected = reference.svae.encoder(group.ids, mask.long())
        torch.testing.assert_close(vectors, expected, atol=1e-5, rtol=1e-5)
        for seen in (torch.rand(len(vectors), config.vocab_size) < 0.3, None):
            logits = model.svae.decoder(group.ids, vectors, seen)
            expected = reference.svae.decoder(group.ids, vectors, seen)
            torch.testing.assert_close(logits[mask], expected[mask], atol=1e-4, rtol=1e-5)


@pytest.mark.parametrize("name", CONFIGS)
def test_backbone(name):
    """Records of different lengths, padded in the batch, alone in the reference."""
    config, model, reference = both(name)
    records = windows(config)
    batch = collate(records, config.tokens, group_tokens=40)
    vectors = encode(model, batch)
    hidden = run_backbone(model, batch, vectors)
    counts = sorted(len(record.sentences) for record in records)
    for given, found in zip(vectors.split(counts), hidden.split(counts), strict=True):
        expected, stop = reference.run_backbone(given[None], prompt=1)
        torch.testing.assert_close(found, expected[0], atol=1e-4, rtol=1e-5)
        torch.testing.assert_close(model.fc(found), stop[0], atol=1e-4, rtol=1e-5)


def test_a_sentence_does_not_see_later_ones():
    config, model, _ = both("pre-norm")
    vectors = torch.randn(1, 6, config.hidden_size)
    changed = vectors.clone()
    changed[:, 4:] += 1
    difference = (model.predict(vectors) - model.predict(changed)).abs().amax(-1)[0]
    assert difference[:4].max() == 0
    assert difference[4:].min() > 0.01
