"""The original's two stages: what each trains, what it leaves as it is, what it begins with."""

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from helpers import ROOT, random_weights, run_cli, tiny_opt
from safetensors.torch import load_file, save_file
from test_training import SignalledStream, start
from tiny_training import VOCAB_SIZE, Case, losses, saved_state, tiny_trained

from sllm_export.checkpoint.expected import expected_shapes
from sllm_export.checkpoint.random_weights import RandomStateDict
from sllm_export.config import load_config, parse_config
from sllm_export.errors import CheckpointError, ExportError
from sllm_train import cli as train_cli
from sllm_train import initial
from sllm_train.initial import InitialWeights
from sllm_train.model import Sllm

LAYERS = 5
SVAE = {"kind": "svae", "backbone": None, "max_sentences": None, "reencode_bos": None}
# As the original's configurations have it.
SLLM = {"backbone.layers": LAYERS, "backbone.prefill_attention": "bidirectional"}
SLLM["reencode_bos"] = False
ADAMW = ("--optimizer", "adamw", "--lr", "0.01", "--warmup", "3", "--ema", "0.9")
FROZEN = ("--freeze-svae", "--outer-layers", "1")


@pytest.fixture(scope="module")
def svae(tmp_path_factory):
    """Stage svae with focal loss."""
    case = Case(tmp_path_factory.mktemp("svae"), **SVAE)
    assert case.run("--stage", "svae", "--loss", "focal", "--steps", "40", *ADAMW) == 0
    return case


@pytest.fixture(scope="module")
def opt(svae, tmp_path_factory):
    """An OPT directory in bfloat16, with the tokenizer of stage svae."""
    folder = tmp_path_factory.mktemp("opt")
    sizes = {"vocab_size": VOCAB_SIZE, "backbone.layers": LAYERS}
    _, weights = random_weights(tiny_opt(**sizes))
    tensors = {n: torch.tensor(weights.load(n)).bfloat16() for n in weights.shapes}
    save_file(tensors, folder / "model.safetensors")
    shutil.copy(svae.out / "tokenizer.json", folder)
    return folder


@pytest.fixture
def begin(svae, opt):
    """The arguments of stage sllm."""
    checkpoint = svae.out / "model.safetensors"
    return ["--stage", "sllm", "--svae", checkpoint, "--opt", opt, *ADAMW]


def sllm_case(folder, **changes):
    return Case(folder, **{**SLLM, **changes})


def is_frozen(name):
    inner = [f"llm_layers.{layer}." for layer in range(1, LAYERS - 1)]
    return name.startswith(("svae.", *inner))


def initial_weights(case, svae, opt):
    """What stage sllm begins with, as a state dict."""
    config = load_config(case.config)
    torch.manual_seed(1)
    model = Sllm(config)
    InitialWeights.of_two_stages(config, svae.out / "model.safetensors", opt).fill(model)
    return model.state_dict()


def error(capsys):
    captured = capsys.readouterr()
    assert captured.err.startswith("sllm_export: error: "), captured.err
    assert captured.err.count("\n") == 1, captured.err
    return captured.err


def test_stage_svae_learns_to_reconstruct(svae):
    found = losses(svae.out)
    assert found[40]["reconstruction"] < found[20]["reconstruction"] - 0.1
    assert {"next_sentence", "stop"}.isdisjoint(found[40])
    assert found[40]["tokens"] >= 40 * 300
    *_, last = map(json.loads, (svae.out / "metrics.jsonl").read_text().splitlines())
    assert 1 < last["valid"]["reconstruction_perplexity"] < VOCAB_SIZE
    assert not [name for name in last["valid"] if name.startswith(("next", "stop"))]


def test_stage_sllm(svae, opt, begin, tmp_path, capsys):
    """What is frozen keeps its bits and has no optimizer state, all else is trained."""
    case = sllm_case(tmp_path)
    assert case.run(*begin, *FROZEN, "--loss", "focal", "--steps", "40") == 0
    report = json.loads(capsys.readouterr().out)
    assert report["next_sentence_tokens"] > 0
    assert report["stop_accuracy"] > 0.5
    found = losses(case.out)
    assert found[40]["next_sentence"] < found[20]["next_sentence"] - 0.1
    assert "reconstruction" not in found[40]

    before, state = initial_weights(case, svae, opt), saved_state(case.out)
    for part in ("model", "ema"):
        for name, value in state[part].items():
            assert torch.equal(value, before[name]) == is_frozen(name), (part, name)
    trained = [name for name in before if not is_frozen(name)]
    assert len(state["optimizer"]["adam"]["state"]) == len(trained)
    assert state["optimizer"]["momentum"] == []


def test_begins_with_the_files(svae, opt, tmp_path):
    """bfloat16 becomes float32; OPT's last norm and token embedding are of no use."""
    weights = initial_weights(sllm_case(tmp_path), svae, opt)
    theirs = load_file(opt / "model.safetensors")
    names = {"llm_pe.weight": "embed_positions.weight"}
    names |= {n: n.removeprefix("llm_") for n in weights if n.startswith("llm_layers.")}
    for ours, name in names.items():
        assert torch.equal(weights[ours], theirs[f"model.decoder.{name}"].float()), ours
    assert len(names) == 1 + 16 * LAYERS
    for name, value in load_file(svae.out / "model.safetensors").items():
        assert torch.equal(weights[f"svae.{name}"], value), name
    assert {value.dtype for value in weights.values()} == {torch.float32}


@pytest.mark.parametrize("stage", ["svae", "sllm"])
def test_stop_and_resume_change_nothing(stage, begin, svae, tmp_path, monkeypatch, capsys):
    """Also where the files that it began with are gone."""
    checkpoint = tmp_path / "svae.safetensors"
    shutil.copy(svae.out / "model.safetensors", checkpoint)
    arguments = [*begin, "--svae", checkpoint, *FROZEN]
    if stage == "svae":
        arguments = ["--stage", "svae", *ADAMW, "--joined-share", "0.3"]
    arguments += ["--steps", "6"]
    changes = SVAE if stage == "svae" else SLLM
    for name in ("whole", "parts"):
        (tmp_path / name).mkdir()
    whole, parts = (Case(tmp_path / name, **changes) for name in ("whole", "parts"))
    assert whole.run(*arguments) == 0
    with monkeypatch.context() as patch:
        patch.setattr(train_cli, "MixedStream", SignalledStream)
        assert parts.run(*arguments) == 1
    assert "stopped and saved after step 3" in error(capsys)
    checkpoint.unlink()
    assert parts.run(*arguments) == 0
    states = [saved_state(case.out) for case in (whole, parts)]
    for part in ("model", "ema"):
        for name, value in states[0][part].items():
            assert torch.equal(states[1][part][name], value), name
    told = json.loads((parts.out / "training.json").read_text())
    assert ("initial" in told) == (stage == "sllm")


@pytest.mark.parametrize("stage", ["svae", "sllm"])
def test_the_exporter_reads_the_checkpoint(stage, svae, begin, tmp_path):
    case = svae
    if stage == "sllm":
        case = sllm_case(tmp_path)
        assert case.run(*begin) == 0
    files = ["--config", case.config, "--checkpoint", case.out / "model.safetensors"]
    files += ["--tokenizer", case.out / "tokenizer.json", "--out", tmp_path / "bundle"]
    result = run_cli("bundle", *files, "--variant", "portable")
    assert result.returncode == 0, result.stderr
    graphs = {path.stem for path in (tmp_path / "bundle").rglob("*.onnx")}
    assert graphs == {"encoder", "decoder", *(["backbone"] if stage == "sllm" else [])}


def test_two_processes_equal_one(begin, tmp_path):
    """torchrun: the same training but for the order of sums, frozen parts included."""
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    one, two = (sllm_case(tmp_path / name) for name in ("one", "two"))
    arguments = [*begin, *FROZEN, "--steps", "3", "--max-norm", "1000"]
    assert one.run(*arguments) == 0
    process = start(two, *arguments)
    _, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    states = [saved_state(case.out) for case in (one, two)]
    assert states[0]["tokens"] == states[1]["tokens"]
    for number, moments in states[0]["optimizer"]["adam"]["state"].items():
        found = states[1]["optimizer"]["adam"]["state"][number]["exp_avg"]
        expected = moments["exp_avg"]
        assert (found - expected).norm() < 1e-3 * expected.norm() + 1e-6, number
    for name, value in states[0]["model"].items():
        if is_frozen(name):
            assert torch.equal(states[1]["model"][name], value), name


def test_what_does_not_fit_is_listed(svae, opt, tmp_path):
    """All tensors of a file that have another shape, are missing or are too many."""
    projected = parse_config(tiny_trained(**{**SLLM, "svae.word_embed_size": 24}))
    checkpoint = svae.out / "model.safetensors"
    with pytest.raises(CheckpointError) as caught:
        InitialWeights.of_two_stages(projected, checkpoint, opt)
    message = str(caught.value)
    assert message.startswith(f"{checkpoint}: ")
    for coder in ("encoder", "decoder"):
        shapes = f"has shape [{VOCAB_SIZE}, 32] (expected [{VOCAB_SIZE}, 24])"
        assert f"{coder}.embed_token.weight {shapes}" in message
        assert f"missing {coder}.project_in.weight (expected shape [32, 24])" in message
    assert len(caught.value.problems) == 4

    short = parse_config(tiny_trained(**{**SLLM, "backbone.layers": LAYERS + 1}))
    with pytest.raises(
        ExportError, match=r"model\.safetensors: missing model\.decoder\.layers\.5\."
    ):
        InitialWeights.of_two_stages(short, checkpoint, opt)
    with pytest.raises(ExportError, match="holds no weights"):
        InitialWeights.of_two_stages(parse_config(tiny_trained(**SLLM)), checkpoint, tmp_path)


SLLM_FILES = ("--stage", "sllm", "--svae", "no.safetensors", "--opt", "none")
WRONG: dict[str, tuple[dict[str, Any], Sequence[str], str]] = {
    "svae of an sllm": (SLLM, ["--stage", "svae"], 'kind is "sllm" (allowed in training: "svae")'),
    "sllm of an svae": (SVAE, SLLM_FILES, 'kind is "svae" (allowed in training: "sllm")'),
    "no files": (SLLM, ["--stage", "sllm"], "needs an SVAE checkpoint (--svae FILE) and --opt DIR"),
    "no opt": (SLLM, SLLM_FILES[:4], "needs an SVAE checkpoint (--svae FILE) and --opt DIR"),
    "absent": (SLLM, SLLM_FILES, "no.safetensors: no such file"),
    "layers": (SLLM, [*SLLM_FILES, "--outer-layers", "3"], "is 3 (allowed: 0 to 2 of 5 layers)"),
    "frozen": ({}, ["--freeze-svae"], "--freeze-svae has no effect in --stage joint (only --stage"),
    "outer": (SVAE, ["--stage", "svae", "--outer-layers", "1"], "has no effect in --stage svae"),
    "svae": ({}, ["--svae", "x"], "--svae has no effect in --stage joint (only --stage sllm)"),
    "opt": ({}, ["--opt", "x", "--tokenizer", "y"], "--opt gives a tokenizer in --stage joint"),
    "joined": (SLLM, [*SLLM_FILES, "--joined-share", "1"], "(only --stage joint or --stage svae)"),
    "gamma": ({}, ["--focal-gamma", "3"], "--focal-gamma has no effect without --loss focal"),
    "joint": (SLLM, [], "reencode_bos is false (allowed in training: true), --stage is joint"),
}


@pytest.mark.parametrize("name", WRONG)
def test_errors(name, tmp_path, capsys):
    changes, arguments, message = WRONG[name]
    case = Case(tmp_path, **changes)
    assert case.run(*arguments) == 1
    assert message in error(capsys)
    assert not case.out.exists()


def test_a_state_of_another_stage_is_refused(begin, tmp_path, capsys):
    """Also where training.json was written before there were stages."""
    case = sllm_case(tmp_path, **{"backbone.prefill_attention": "causal", "reencode_bos": True})
    tokenizer = ["--tokenizer", begin[5] / "tokenizer.json"]
    assert case.run(*tokenizer) == 0
    path = case.out / "training.json"
    told = json.loads(path.read_text())
    for name in ("stage", "loss", "focal_gamma", "optimizer", "freeze_svae", "outer_layers"):
        del told["options"][name]
    path.write_text(json.dumps(told))
    capsys.readouterr()
    for arguments, before in (
        (begin, '--stage ("joint")'),
        (["--optimizer", "adamw"], '--optimizer ("muon")'),
    ):
        assert case.run(*tokenizer, "--steps", "2", *arguments) == 1
        assert f"its state belongs to another {before}; choose another --out" in error(capsys)
    assert case.run(*tokenizer, "--steps", "2") == 0


@pytest.mark.parametrize(
    ("size", "hidden", "misfits"), [("125m", 768, 0), ("350m", 1024, 4), ("1.3b", 2048, 0)]
)
def test_models_of_the_paper(size, hidden, misfits, monkeypatch):
    """The SLLM of 350M has narrower token embeddings than the SVAE of its hidden size."""
    names = (f"sllm-{size}-h2", f"svae-{hidden}-h2", f"opt-{size}")
    sllm, *parts = (load_config(ROOT / "configs" / f"{name}.json") for name in names)
    svae, opt = (RandomStateDict(expected_shapes(config), 0) for config in parts)
    monkeypatch.setattr(initial, "open_checkpoint", lambda path: svae)
    monkeypatch.setattr(initial, "find_opt_weights", lambda path: path)
    monkeypatch.setattr(initial, "open_opt", lambda path: (opt, frozenset()))
    if not misfits:
        InitialWeights.of_two_stages(sllm, Path("svae"), Path("opt"))
        return
    with pytest.raises(CheckpointError) as caught:
        InitialWeights.of_two_stages(sllm, Path("svae"), Path("opt"))
    assert len(caught.value.problems) == misfits
