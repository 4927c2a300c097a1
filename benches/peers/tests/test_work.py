"""That all systems are given the same work and the same weights."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tokenizers import Tokenizer

from peers.byte_level import tokenizer_json, vocabulary
from peers.random_model import RandomModel, Task, words, write_opt_directory
from peers.system import PeerError
from peers.workload import Workload
from sllm_export.config import load_config

ROOT = Path(__file__).resolve().parents[3]
OPT = load_config(ROOT / "tests" / "golden" / "tiny-opt" / "config.json")


def manifest(folder, **changes):
    value = {"model": OPT.raw, "provenance": {"checkpoint": {"random_seed": 7}}}
    (folder / "sllm.json").write_text(json.dumps(value | changes))
    return folder


def test_prompt_is_of_ordinary_tokens():
    workload = Workload(prompt_tokens=600, sentence_tokens=6)
    ids = workload.prompt(OPT.vocab_size, OPT.tokens)
    assert ids.shape == (100, 6)
    assert ids.min() >= 0
    assert ids.max() < OPT.vocab_size
    assert not np.isin(ids, [OPT.tokens.bos, OPT.tokens.eos]).any()
    assert np.array_equal(ids, workload.prompt(OPT.vocab_size, OPT.tokens))
    tokens = workload.token_prompt(OPT.vocab_size, OPT.tokens)
    assert len(tokens) == 601
    assert tokens[0] == OPT.tokens.bos
    assert tokens[1:] == ids.flatten().tolist()


def test_model_is_that_of_the_bundle(tmp_path):
    model = RandomModel.of_bundle(manifest(tmp_path))
    assert model == RandomModel(OPT, 7)
    assert model.weights().seed == 7
    task = Task(model, Workload(threads=3), tmp_path)
    assert Task.of_json(json.loads(json.dumps(task.to_json()))) == task


@pytest.mark.parametrize(
    "changes",
    [
        {"provenance": {"checkpoint": {"file": "x.pth"}}},
        {"provenance": None},
        {"model": {"name": "x"}},
    ],
)
def test_bundles_of_other_weights_are_refused(tmp_path, changes):
    with pytest.raises(PeerError, match=r"sllm\.json"):
        RandomModel.of_bundle(manifest(tmp_path, **changes))


def test_bundle_that_is_missing(tmp_path):
    with pytest.raises(PeerError, match="cannot be read"):
        RandomModel.of_bundle(tmp_path)


def test_opt_directory(tmp_path):
    folder = tmp_path / "opt"
    model = RandomModel(OPT, 0)
    write_opt_directory(model, folder)
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    found = words(OPT)
    assert tokenizer.get_vocab_size() == len(set(found)) == OPT.vocab_size
    assert [tokenizer.token_to_id(word) for word in found] == list(range(OPT.vocab_size))
    config = json.loads((folder / "config.json").read_text())
    assert config["num_hidden_layers"] == OPT.require_backbone().layers


def test_byte_level_tokenizer():
    config = replace(OPT, vocab_size=300)
    tokenizer = Tokenizer.from_str(json.dumps(tokenizer_json(config)))
    found = vocabulary(config)
    assert tokenizer.get_vocab_size() == len(set(found)) == 300
    assert [tokenizer.token_to_id(token) for token in found] == list(range(300))
    text = "A b\n€ w"
    ids = tokenizer.encode(text).ids
    assert tokenizer.decode(ids) == text
    # One for each byte, but for the merged " w".
    assert len(ids) == len(text.encode()) - 1
    assert tokenizer.decode([299, 298]) == " w299 w298"
    # A small vocabulary has no words.
    assert len(set(vocabulary(OPT))) == OPT.vocab_size
