"""Distillation: the teacher's distributions reach the tokens that they are for."""

import json
import shutil

import numpy as np
import pytest
import torch
from test_objective import FP32
from test_token_model import opt_config
from tiny_training import Case, losses, randomize, tiny_trained, windows
from torch.nn import functional as F

from sllm_export.config import parse_config
from sllm_train.batches import augment_repetition, collate
from sllm_train.model import Sllm
from sllm_train.objective import Sums, Weights, train_batch
from sllm_train.output_loss import output_loss
from sllm_train.rollout import roll_out
from sllm_train.soft_targets import SoftTargets
from sllm_train.teacher import Teacher
from sllm_train.token_model import TokenModel

NONE = torch.zeros(0, dtype=torch.long)
DISTILLATION = 0.6


@pytest.fixture
def teacher():
    """Has 24 positions, which the longer windows do not fit."""
    config = parse_config(opt_config())
    return Teacher(randomize(TokenModel(config)), config, FP32)


@pytest.fixture
def config():
    return parse_config(tiny_trained())


def plain_distributions(teacher, record):
    """Of each sentence [length, V] by running the teacher on the record alone, as far as it
    reaches."""
    text = [w for place, w in enumerate(record.sentences) if place not in record.inserted]
    bos = teacher.config.tokens.bos
    ids = torch.from_numpy(np.concatenate([[bos], *text]).astype(np.int64))[None, :24]
    logits = teacher.model(ids)[0]
    logits[:, list(vars(teacher.config.tokens).values())] = -torch.inf
    probabilities = logits.softmax(-1)
    parts = []
    for sentence in text:
        parts.append(probabilities[: len(sentence)])
        probabilities = probabilities[len(sentence) :]
    return parts


def test_output_loss_of_a_mixture():
    states, weight = torch.randn(9, 6), torch.randn(11, 6)
    bias, factors, targets = torch.randn(11), torch.rand(9), torch.randint(11, (9,))
    inputs = [x.requires_grad_() for x in (states, weight, bias)]
    soft = SoftTargets(
        torch.tensor([1, 2, 7]), torch.randn(3, 4), torch.randn(11, 4), torch.randn(11)
    )
    mixture = F.one_hot(targets, 11).float()
    taught = (soft.states @ soft.output.T + soft.bias).softmax(-1)
    mixture[soft.places] = (1 - DISTILLATION) * mixture[soft.places] + DISTILLATION * taught
    logits = F.linear(*inputs)
    expected = F.cross_entropy(logits, mixture, reduction="none")
    found = output_loss(
        inputs[0], (inputs[1], inputs[2]), targets, factors, NONE, 0.0, soft, DISTILLATION
    )
    # The losses are those of the text's tokens; only the gradients have the mixture.
    torch.testing.assert_close(found, F.cross_entropy(logits, targets, reduction="none"))
    wanted = torch.autograd.grad((expected * factors).sum(), inputs)
    for gradient, right in zip(torch.autograd.grad(found.sum(), inputs), wanted, strict=True):
        torch.testing.assert_close(gradient, right, atol=1e-5, rtol=1e-5)


def test_a_teacher_reads_each_window_to_its_last_position(teacher, config):
    records = [record for record in windows(config) if not record.inserted]
    for record, taught in zip(records, teacher.read(records), strict=True):
        assert taught.sentences is record.sentences
        for number, expected in enumerate(plain_distributions(teacher, record)):
            one = taught.taught.select(torch.tensor([number]))
            found = F.linear(one.states, one.output, one.bias).softmax(-1)
            assert not found[:, config.tokens.eos].any()
            torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("group_tokens", [1, 40, 10_000])
def test_gradients_equal_those_of_the_mixture(teacher, config, group_tokens):
    """Also after repeated sentences, which the teacher has not read."""
    model = randomize(Sllm(config))
    records = [record for record in windows(config) if not record.inserted]
    taught = teacher.read(records)
    augmented = augment_repetition(taught, 1.0, 16, np.random.default_rng(0))
    assert any(record.inserted for record in augmented)
    weights = Weights(reconstruction=None, distillation=DISTILLATION, stop=0.0)

    total = torch.zeros(())
    for record in augmented:
        ids = [torch.from_numpy(sentence)[None] for sentence in record.sentences]
        inputs = [F.pad(row, (1, 0), value=config.tokens.bos) for row in ids]
        vectors = [
            model.svae.encoder(row, torch.ones_like(row, dtype=torch.bool)) for row in inputs
        ]
        hidden = model.predict(torch.stack(vectors, 1))[0]
        text = iter(plain_distributions(teacher, record))
        for number, row in enumerate(ids):
            if number in record.inserted:
                continue
            distributions = next(text)
            if number == 0:
                continue
            targets = F.pad(row, (0, 1), value=config.tokens.eos)[0]
            mixture = F.one_hot(targets, config.vocab_size).float()
            mixture[: len(distributions)] *= 1 - DISTILLATION
            mixture[: len(distributions)] += DISTILLATION * distributions
            logits = model.svae.decoder(inputs[number], hidden[None, number - 1])[0]
            total = total + F.cross_entropy(logits, mixture, reduction="sum")
    total.backward()
    expected = {name: p.grad for name, p in model.named_parameters() if p.grad is not None}
    model.zero_grad()

    batch = collate(augmented, config.tokens, group_tokens)
    train_batch(model, batch, weights, Sums(following_tokens=1, sentences=1), FP32)
    for name, right in expected.items():
        found = model.get_parameter(name).grad
        torch.testing.assert_close(found, right, atol=2e-4, rtol=1e-3, msg=lambda m: name + m)  # noqa: B023


def test_rolled_out_windows_keep_their_teacher(teacher, config):
    model = randomize(Sllm(config))
    taught = teacher.read([record for record in windows(config) if len(record.sentences) >= 5] * 2)
    rolled = roll_out(model, taught, 1.0, config.tokens, np.random.default_rng(0))
    assert [w.taught for w in rolled] == [w.taught for w in taught]


@pytest.fixture(scope="module")
def teacher_training(tmp_path_factory):
    """A training of stage opt, finished."""
    case = Case(tmp_path_factory.mktemp("teacher"))
    case.config.write_text(json.dumps(opt_config(max_positions=64)))
    assert case.run("--stage", "opt", "--steps", "2") == 0
    return case.out


def test_a_training_with_a_teacher(tmp_path, teacher_training):
    case = Case(tmp_path)
    tokenizer = ["--tokenizer", str(teacher_training / "tokenizer.json")]
    more = [*tokenizer, "--teacher", str(teacher_training), "--distillation-weight", "1"]
    assert case.run(*more, "--steps", "20") == 0
    assert set(losses(case.out)) == {20}
    settings = json.loads((case.out / "training.json").read_text())
    assert settings["teacher"][0] == str(teacher_training)
    weights = (case.out / "model.safetensors").read_bytes()
    shutil.rmtree(case.out)
    assert case.run(*tokenizer, "--steps", "20") == 0
    assert (case.out / "model.safetensors").read_bytes() != weights


@pytest.fixture
def damaged(teacher_training, tmp_path):
    """Copies of the teacher, each with one thing changed, by what is refused of it."""

    def changed(name, change):
        folder = tmp_path / name
        shutil.copytree(teacher_training, folder)
        path = folder / "training.json"
        told = json.loads(path.read_text())
        change(told)
        path.write_text(json.dumps(told))
        return folder

    return {
        "training.json: is damaged": changed("bare", lambda told: told.clear()),
        "training.json: is damaged: ": changed("list", lambda told: told.update(options=3)),
        'its --segmentation is "clauses", that of this training "original"': changed(
            "clauses", lambda told: told["options"].update(segmentation="clauses")
        ),
        "its special tokens are not": changed(
            "tokens", lambda told: told["config"]["tokens"].update(eos=1)
        ),
        "model.safetensors: ": changed(
            "shapes", lambda told: told["config"]["backbone"].update(ffn_size=44)
        ),
    }


def test_refusals(tmp_path, teacher_training, damaged, monkeypatch, capsys):
    """Before any text is read, and before anything is written."""
    monkeypatch.setattr("sllm_train.cli.obtain_tokenizer", None)
    case = Case(tmp_path)
    teacher = ["--teacher", str(teacher_training)]
    sentence_level = tmp_path / "other"
    shutil.copytree(teacher_training, sentence_level)
    told = json.loads((teacher_training / "training.json").read_text())
    (sentence_level / "training.json").write_text(json.dumps({**told, "config": tiny_trained()}))
    for arguments, message in [
        (["--distillation-weight", "0.7"], "has no effect without --teacher"),
        ([*teacher, "--distillation-weight", "0"], "no effect with --distillation-weight 0"),
        ([*teacher, "--loss", "focal"], "no effect with --loss focal"),
        (["--teacher", str(tmp_path)], "no such file"),
        (["--teacher", str(sentence_level)], "no training of --stage opt"),
        *((["--teacher", str(folder)], message) for message, folder in damaged.items()),
    ]:
        assert case.run(*arguments) == 1
        assert message in capsys.readouterr().err
        assert not case.out.exists()
    case.write_config(vocab_size=300)
    assert case.run(*teacher) == 1
    assert "vocab_size is 259, the configuration's 300" in capsys.readouterr().err
    assert not case.out.exists()


def test_a_teacher_with_another_tokenizer(tmp_path, teacher_training, monkeypatch, capsys):
    """A folder stays as it was: without a tokenizer, or with the training that is in it."""
    other = tmp_path / "tokenizer.json"
    other.write_text(json.dumps(json.loads((teacher_training / "tokenizer.json").read_text())))
    case = Case(tmp_path)
    arguments = ["--tokenizer", str(other)]
    teacher = ["--teacher", str(teacher_training)]
    with monkeypatch.context() as patch:
        patch.setattr("sllm_train.cli.load_tokenized", None)
        assert case.run(*arguments, *teacher) == 1
        assert "its tokenizer.json is another" in capsys.readouterr().err
        assert not case.out.exists()
    assert case.run(*arguments) == 0
    before = (case.out / "training.json").read_bytes()
    assert case.run("--steps", "2", *teacher) == 1
    assert "its tokenizer.json is another" in capsys.readouterr().err
    assert (case.out / "training.json").read_bytes() == before
