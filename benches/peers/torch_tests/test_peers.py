"""That the peers in PyTorch compute what the reference computes, on the weights of a bundle."""

from pathlib import Path

import numpy as np
import pytest
import torch

from peers.original_sllm import OriginalSllm
from peers.random_model import RandomModel, Task
from peers.torch_peers import PytorchSllm, TransformersOpt, fill
from peers.workload import Workload
from sllm_export.checkpoint.expected import decoder_weights, encoder_weights, opt_weights
from sllm_export.checkpoint.state_dict import Weights
from sllm_export.config import load_config, parse_config
from sllm_export.verify import reference

ROOT = Path(__file__).resolve().parents[3]
GOLDEN = ROOT / "tests" / "golden"
WORKLOAD = Workload(prompt_tokens=12, sentence_tokens=4, sentences=3, threads=1)

# The encoder's fast path for padded input is told to be a prototype.
pytestmark = pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors")


def tiny_sllm(name="tiny-125m", prefill="bidirectional"):
    """A golden configuration that generates as checkpoints of the original do."""
    raw = load_config(GOLDEN / name / "config.json").raw
    raw |= {"reencode_bos": False, "reencode_mask": False}
    raw["backbone"]["prefill_attention"] = prefill
    return RandomModel(parse_config(raw), 0)


def encode(model, ids, mask):
    """The reference's sentence vectors."""
    weights = encoder_weights(model.config, model.weights())
    return reference.encode(model.config, weights, ids, mask)


def hidden(model, vectors, prompt):
    """The reference's hidden of the last of the sentences, of which `prompt` came at once."""
    allowed = reference.sentence_mask(model.config, prompt, len(vectors))[None]
    weights = Weights(model.weights())
    return reference.run_backbone(model.config, weights, vectors[None], allowed)[0][0, -1]


def decode(model, vector, length):
    """The reference's best ids but eos, then eos."""
    config = model.config
    weights = decoder_weights(config, model.weights())
    ids = [config.tokens.bos]
    while len(ids) < length:
        logits = reference.decode(config, weights, np.array([ids]), vector[None])[0, -1]
        logits[config.tokens.eos] = -np.inf
        ids.append(int(logits.argmax()))
    return [*ids[1:], config.tokens.eos]


@torch.inference_mode()
@pytest.mark.parametrize("prefill", ["bidirectional", "causal"])
@pytest.mark.parametrize("name", ["tiny-125m", "tiny-125m-add", "tiny-350m"])
def test_sllm_generates_as_the_reference(name, prefill):
    model = tiny_sllm(name, prefill)
    original = OriginalSllm(model.config).eval()
    fill(original, model.weights())
    ids = np.pad(WORKLOAD.prompt(model.config.vocab_size, model.config.tokens), ((0, 0), (1, 0)))
    ids[:, 0] = model.config.tokens.bos
    context = original.context()
    context.append(torch.tensor(ids), torch.ones(ids.shape, dtype=torch.bool))
    vectors = encode(model, ids, np.ones_like(ids))
    seen = set()
    for _ in range(WORKLOAD.sentences):
        expected = hidden(model, vectors, prompt=len(ids))
        np.testing.assert_allclose(context.hidden[0, 0].numpy(), expected, rtol=1e-4, atol=1e-4)
        sentence = context.next_sentence(WORKLOAD.sentence_tokens)
        assert sentence == decode(model, expected, WORKLOAD.sentence_tokens)
        seen.update(sentence)
        context.append(torch.tensor([sentence]), None)
        # What it has said itself it does not see.
        own = np.array([sentence])
        vectors = np.concatenate([vectors, encode(model, own, np.zeros_like(own))])
    assert len(seen) > 2


def tiny_opt():
    return RandomModel(load_config(GOLDEN / "tiny-opt" / "config.json"), 0)


@torch.inference_mode()
def test_opt_has_the_weights_of_the_bundle(tmp_path):
    model = tiny_opt()
    peer = TransformersOpt(Task(model, WORKLOAD, tmp_path))
    expected = reference.run_opt(model.config, opt_weights(model.weights()), peer._prompt.numpy())
    found = peer._model(peer._prompt).logits.numpy()
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("peer", "model"), [(TransformersOpt, tiny_opt), (PytorchSllm, tiny_sllm)])
def test_rounds_are_timed(peer, model, tmp_path):
    loaded = peer(Task(model(), WORKLOAD, tmp_path))
    for _ in range(2):
        seconds = loaded.round()
        assert seconds.prompt > 0
        assert seconds.generation > 0
    assert loaded.details["torch"].startswith("2.")


def test_weights_of_another_model_are_refused():
    with pytest.raises(ValueError, match=r"fc\.bias"):
        fill(torch.nn.Linear(2, 2), tiny_sllm().weights())
