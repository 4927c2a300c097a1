"""Whole trainings: the loss falls, a resume changes nothing, two processes do what one does."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from helpers import EXPORT, run_cli
from safetensors.torch import load_file
from tiny_training import Case, losses, make_trainer, saved_state

from sllm_export.config import load_config
from sllm_export.errors import ExportError
from sllm_export.verify.runner import GraphRunner
from sllm_train import loop
from sllm_train.batches import MixedStream
from sllm_train.model import Sllm
from sllm_train.state import load_state


def test_the_loss_falls(tmp_path):
    make_trainer(tmp_path, steps=60, lr=2e-2, precision="bf16").run()
    found = losses(tmp_path / "out")
    assert sorted(found) == [20, 40, 60]
    for name in ("reconstruction", "next_sentence"):
        assert found[60][name] < found[20][name] - 0.5
    assert found[60]["next_sentence"] < 3


class SignalledStream(MixedStream):
    """A SIGTERM arrives while the third batch is drawn, and a second one after it."""

    drawn_batches = 0

    def next_share(self, *arguments):
        self.drawn_batches += 1
        if self.drawn_batches == 3:
            os.kill(os.getpid(), signal.SIGTERM)
            os.kill(os.getpid(), signal.SIGINT)
        return super().next_share(*arguments)


def test_stop_and_resume_change_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(loop, "LOG_EVERY", 1)
    options = {"steps": 7, "dropout": 0.1}
    options |= {"joined_share": 0.3, "repetition_share": 0.5, "unlikelihood_weight": 16.0}
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    make_trainer(whole, **options).run()
    handler = signal.getsignal(signal.SIGTERM)
    with pytest.raises(ExportError, match="stopped and saved after step 3"):
        make_trainer(parts, SignalledStream, **options).run()
    assert signal.getsignal(signal.SIGTERM) == handler
    assert sorted(losses(parts / "out")) == [1, 2, 3]
    make_trainer(parts, **options).run()
    expected, found = losses(whole / "out"), losses(parts / "out")
    assert sorted(found) == sorted(expected) == list(range(1, 8))
    for step, line in expected.items():
        for name in ("reconstruction", "next_sentence", "stop", "norm", "tokens"):
            assert found[step][name] == pytest.approx(line[name], rel=1e-5), (step, name)
    states = [saved_state(folder / "out") for folder in (whole, parts)]
    for part in ("model", "ema"):
        for name, value in states[0][part].items():
            torch.testing.assert_close(states[1][part][name], value, atol=1e-5, rtol=1e-4)


def test_a_gradient_that_is_not_finite_is_not_saved(tmp_path):
    trainer = make_trainer(tmp_path, steps=3)
    with torch.no_grad():
        trainer.model.fc.weight.fill_(float("nan"))
    with pytest.raises(ExportError, match="step 0: the gradient is not finite"):
        trainer.run()
    assert load_state(tmp_path / "out") is None


EXACT_TRAIN = str(Path(__file__).with_name("exact_train.py"))
THREE_STEPS = ("--steps", "3", "--warmup", "0", "--lr", "0.01", "--max-norm", "1000")


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A training of three steps through the command line, in this process."""
    case = Case(tmp_path_factory.mktemp("trained"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.Tensor, "bfloat16", torch.Tensor.float)  # as in exact_train.py
        assert case.run(*THREE_STEPS) == 0
    return case


def start(case, *more, script=("-m", "sllm_export", "train")):
    """Two processes under torchrun, one thread each."""
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    environment = {**os.environ, "PYTHONPATH": str(EXPORT), "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        [sys.executable, *launcher, *script, *case.arguments(*more)[1:]],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_two_processes_equal_one(trained, tmp_path):
    """The same gradients and updates, but for the order of sums.

    All sentences have 14 tokens or more, so each process reconstructs all of its own, and there
    is no clipping that could hide a wrong scale.
    """
    case = Case(tmp_path)
    tokenizer = ("--tokenizer", trained.out / "tokenizer.json")
    process = start(case, *THREE_STEPS, *tokenizer, script=[EXACT_TRAIN])
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    assert json.loads(out)["next_sentence_tokens"] > 0
    one, two = saved_state(trained.out), saved_state(case.out)
    for name in ("step", "tokens", "stream"):
        assert two[name] == one[name], name
    torch.manual_seed(1)
    start_weights = Sllm(load_config(trained.config)).state_dict()
    for name, value in one["model"].items():
        way = (value - start_weights[name]).norm()
        # The gradient of a key's bias is zero but for rounding, which Adam makes large again.
        assert (two["model"][name] - value).norm() < 0.02 * way + 1e-4, name
    for found, expected in zip(averages(two), averages(one), strict=True):
        assert (found - expected).norm() < 1e-3 * expected.norm() + 1e-6


def averages(state):
    """The averaged gradients of both optimizers."""
    adam = state["optimizer"]["adam"]["state"]
    return [*state["optimizer"]["momentum"], *(adam[number]["exp_avg"] for number in sorted(adam))]


def test_torchrun_stops_and_saves(tmp_path):
    """After a SIGTERM to the launcher both processes end after the same step."""
    case = Case(tmp_path)
    process = start(case, "--steps", "100000", "--checkpoint-minutes", "0")
    for _ in range(600):
        if (case.out / "state.pt").exists() or process.poll() is not None:
            break
        time.sleep(0.1)
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=60)
    steps = re.findall(r"sllm_export: error: stopped and saved after step (\d+);", err)
    assert len(steps) == 2, err
    assert [str(saved_state(case.out)["step"])] * 2 == steps


def test_the_weights_become_a_bundle(trained, tmp_path):
    """The portable graphs give the numbers of the model in PyTorch."""
    files = ("--config", trained.config, "--tokenizer", trained.out / "tokenizer.json")
    weights = trained.out / "model.safetensors"
    result = run_cli("bundle", *files, "--checkpoint", weights, "--out", tmp_path / "bundle")
    assert result.returncode == 0, result.stderr
    config = load_config(trained.config)
    model = Sllm(config)
    model.load_state_dict(load_file(weights))

    graphs = {
        name: GraphRunner(tmp_path / "bundle" / "portable" / f"{name}.onnx")
        for name in ("encoder", "backbone", "decoder")
    }
    ids = torch.randint(3, config.vocab_size, (4, 9))
    ids[:, 0] = config.tokens.bos
    mask = torch.arange(9) < torch.tensor([9, 2, 5, 8])[:, None]
    with torch.no_grad():
        vectors = model.svae.encoder(ids, mask)
        hidden = model.predict(vectors[None])
        logits = model.svae.decoder(ids, vectors)
        expected = {
            "sentence_embedding": vectors,
            "hidden": hidden,
            "stop_logits": model.fc(hidden),
            "logits": logits,
        }
    found = graphs["encoder"].run({"input_ids": ids.numpy(), "attention_mask": mask.long().numpy()})
    found |= graphs["backbone"].run({"inputs_embeds": vectors[None].numpy()}, steps=4)
    feeds = {"input_ids": ids.numpy(), "sentence_embedding": vectors.numpy()}
    found |= graphs["decoder"].run(feeds, steps=9)
    for name, value in expected.items():
        torch.testing.assert_close(torch.from_numpy(found[name]), value, atol=1e-4, rtol=0)
