"""The command line as a user meets it: help, errors of one line, what a folder belongs to."""

import json
import shutil
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_training import Case

from sllm_export import cli
from sllm_export.digest import sha256
from sllm_train.arguments import parser, weighted_path
from sllm_train.folder import locked
from sllm_train.metrics import Tally
from sllm_train.options import Options


@pytest.fixture
def case(tmp_path):
    return Case(tmp_path)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    case = Case(tmp_path_factory.mktemp("trained"))
    assert case.run() == 0
    return case


@pytest.fixture
def resumable(trained, tmp_path):
    """A copy of a trained folder."""
    shutil.copytree(trained.out, tmp_path / "out")
    return Case(tmp_path)


def error(capsys):
    """The one line on stderr, and nothing on stdout."""
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("sllm_export: error: "), captured.err
    assert captured.err.count("\n") == 1, captured.err
    return captured.err


def test_help_tells_of_every_option_and_default(capsys):
    with pytest.raises(SystemExit, match="0"):
        cli.main(["train", "--help"])
    text = " ".join(capsys.readouterr().out.split())
    for field in fields(Options):
        assert "--" + field.name.replace("_", "-") in text
    for action in parser()._actions:
        assert action.help, action.dest
        told = action.required or "default" in action.help or action.dest == "help"
        assert told, action.dest


MODELS: dict[str, tuple[dict[str, Any], str]] = {
    "kind": ({"kind": "svae", "backbone": None}, 'kind is "svae" (allowed in training: "sllm")'),
    "bos": ({"reencode_bos": False}, "reencode_bos is false (allowed in training: true)"),
    "prefill": ({"backbone.prefill_attention": "bidirectional"}, '"bidirectional" (allowed in'),
    "key": ({"svae.layers": None}, "svae.layers is missing"),
    "vocabulary": ({"vocab_size": 100}, "the tokenizer has ids up to 258 (expected below vocab"),
    "tokens": ({"tokens.pad": 9}, "without --tokenizer, the ids in tokens must be 0, 1 or 2"),
}


@pytest.mark.parametrize("name", MODELS)
def test_configurations(case, name, capsys):
    changes, message = MODELS[name]
    case.write_config(**changes)
    assert case.run() == 1
    assert message in error(capsys)
    assert not case.out.exists()


def test_files(case, capsys):
    """A missing file, no text, bytes that are no text, a folder that is a file."""
    missing = case.folder / "none.txt"
    for arguments in (["--text", missing], ["--valid", missing], ["--config", missing]):
        assert case.run(*arguments) == 1
        assert f"{missing}: " in error(capsys)
    for content, message in ((b" \n", "no text in it"), (b"\xff\xfe", "cannot be read")):
        bad = case.folder / "bad.txt"
        bad.write_bytes(content)
        for arguments in (["--text", bad], ["--text", case.text, "--text", f"{bad}=3"]):
            assert case.run(*arguments) == 1
            assert f"{bad}: {message}" in error(capsys)
            assert not case.out.exists()
    packed = case.folder / "bad.txt.zst"
    packed.write_bytes(b"not zstandard")
    assert case.run("--text", packed) == 1
    assert f"{packed}: cannot be read" in error(capsys)
    case.out.write_text("")
    assert case.run() == 1
    assert f"{case.out}" in error(capsys)


@pytest.mark.parametrize("device", ["gpu", "meta", "cuda:99"])
def test_devices(case, device, capsys):
    assert case.run("--device", device) == 1
    assert f"--device is {device}" in error(capsys)


OPTIONS = [
    ("--steps", "0"),
    ("--steps", "1.5"),
    ("--lr", "nan"),
    ("--dropout", "1"),
    ("--ema", "-0.1"),
    ("--precision", "fp16"),
    ("--seed", "-1"),
    ("--seed", str(2**63)),
    ("--steps", str(2**63)),
    ("--valid-records", "9" * 400),
    ("--valid-records", "0"),
    ("--text", "a.txt=0"),
    ("--text", "a.txt=inf"),
]


@pytest.mark.parametrize(("name", "value"), OPTIONS)
def test_options_out_of_range(case, name, value, capsys):
    with pytest.raises(SystemExit, match="2"):
        case.run(name, value)
    assert f"argument {name}: " in capsys.readouterr().err


def test_shares():
    cases = {"a": ("a", 1), "a=2": ("a", 2), "a=b": ("a=b", 1), "a=b=0.5": ("a=b", 0.5)}
    for text, (path, share) in cases.items():
        assert weighted_path(text) == (Path(path), share), text


def test_what_a_training_leaves(trained):
    names = {path.name for path in trained.out.iterdir()}
    files = ["corpora", "metrics.jsonl", "model.safetensors", "state.pt", "tokenizer.json"]
    assert names == {*files, "training.json"}
    told = json.loads((trained.out / "training.json").read_text())
    assert told["config"] == json.loads(trained.config.read_text())
    assert told["options"]["steps"] == 1
    assert told["text"] == [[str(trained.text), 1.0, sha256(trained.text)]]
    assert told["valid"] == [[str(trained.valid), sha256(trained.valid)]]
    assert told["valid_records"] == 60


def test_a_state_of_another_training_is_refused(resumable, capsys):
    told = (resumable.out / "training.json").read_text()
    resumable.write_config(**{"svae.layers": 1, "max_sentences": 7})
    assert resumable.run("--steps", "2") == 1
    assert "belongs to another configuration (other: max_sentences, svae)" in error(capsys)
    (resumable.out / "training.json").unlink()
    assert resumable.run("--steps", "2") == 1
    assert "state.pt: belongs to another configuration" in error(capsys)
    (resumable.out / "training.json").write_text(told)
    resumable.write_config()
    texts = ["--text", resumable.text, "--text", resumable.text]
    assert resumable.run("--steps", "2", *texts) == 1
    assert "belongs to other --text or --substituted files" in error(capsys)
    resumable.text.write_text(resumable.text.read_text() + "One more sentence here.\n")
    assert resumable.run("--steps", "2") == 1
    assert "belongs to other --text or --substituted files" in error(capsys)
    (resumable.out / "training.json").write_text("{}")
    assert resumable.run("--steps", "2") == 1
    assert "training.json: is damaged" in error(capsys)


def test_copies_with_other_entities(case, capsys):
    texts = ["--substituted", f"{case.text}=0.5", "--substituted-copies"]
    assert case.run("--substituted-copies", "2") == 1
    assert "--substituted-copies has no effect without --substituted" in error(capsys)
    assert case.run("--substituted", case.folder / "absent.txt") == 1
    assert "absent.txt: no such file" in error(capsys)
    assert case.run(*texts, "2") == 0
    told = json.loads((case.out / "training.json").read_text())
    digest = sha256(case.text)
    assert told["text"] == [[str(case.text), 1.0, digest], [str(case.text), 0.5, digest, 2]]
    capsys.readouterr()
    for other in ([], [*texts, "3"]):
        assert case.run("--steps", "2", *other) == 1
        assert "belongs to other --text or --substituted files" in error(capsys)
    assert case.run("--steps", "2", *texts, "2") == 0


def test_another_tokenizer_is_refused(resumable, capsys):
    kept = resumable.out / "tokenizer.json"
    other = resumable.folder / "other.json"
    other.write_text(json.dumps(json.loads(kept.read_text())))
    assert resumable.run("--steps", "2", "--tokenizer", other) == 1
    assert "is another tokenizer than" in error(capsys)
    shutil.copy(other, kept)
    assert resumable.run("--steps", "2") == 1
    assert "belongs to another tokenizer.json" in error(capsys)
    kept.unlink()
    assert resumable.run("--steps", "2") == 1
    assert "tokenizer.json: is missing" in error(capsys)


def test_a_state_without_training_json_is_resumed(resumable):
    (resumable.out / "training.json").unlink()
    assert resumable.run("--steps", "2") == 0
    assert json.loads((resumable.out / "training.json").read_text())["options"]["steps"] == 2


def test_a_damaged_state(resumable, capsys):
    state = resumable.out / "state.pt"
    state.write_bytes(state.read_bytes()[:1000])
    assert resumable.run("--steps", "2") == 1
    assert "state.pt: is damaged" in error(capsys)


def test_a_file_that_is_no_state(resumable, capsys):
    """Another object, a part of another type or without its parts, and bytes of anything."""
    path = resumable.out / "state.pt"
    state = torch.load(path, weights_only=True)
    message = "state.pt: is no state of a training"
    others: list[Any] = [{"a": 1}, [], None, 3, torch.zeros(2), {**state, "step": "1"}]
    others += [{key: value for key, value in state.items() if key != gone} for gone in state]
    others += [{**state, "stream": {}}, {**state, "stream": {"cursors": 1, "drawn": [1]}}]
    cases = [(other, message) for other in others]
    for key, value in {"model": {}, "ema": {}, "optimizer": {"momentum": 1, "adam": 2}}.items():
        cases.append(({**state, key: value}, "state.pt: belongs to another configuration"))
    weights = (resumable.out / "model.safetensors").read_bytes()
    for other, expected in cases:
        torch.save(other, path)
        assert resumable.run("--steps", "2") == 1
        assert expected in error(capsys), other
    for content in (b"", b"\x80\x02", b"{}", bytes(range(256))):
        path.write_bytes(content)
        assert resumable.run("--steps", "2") == 1
        assert "state.pt: is damaged" in error(capsys), content
    assert (resumable.out / "model.safetensors").read_bytes() == weights


def test_the_largest_seed(case):
    assert case.run("--seed", str(2**63 - 1)) == 0


@pytest.mark.parametrize("text", ["Only one sentence.", "One.\n<|endoftext|>\nTwo."])
def test_very_little_text(case, text, capsys):
    """One record, or records of one sentence: nothing to predict, figures are null."""
    case.text.write_text(text)
    case.valid.write_text(text)
    assert case.run("--steps", "2") == 0
    report = json.loads(capsys.readouterr().out)
    assert (report["next_sentence_perplexity"], report["next_sentence_tokens"]) == (None, 0)
    assert report["reconstruction_perplexity"] > 1


def test_length_bins():
    tally = Tally()
    for length in (1, 8, 9, 16, 17, 32, 33, 64, 65, 128, 129):
        counts = tally.bin(length)
        counts.sentences += 1
        counts.tokens += length + 1
    counted = {name: b["sentences"] for name, b in tally.report()["reconstruction"].items()}
    names = ["1-8", "9-16", "17-32", "33-64", "65-128", "129-256"]
    assert counted == {**dict.fromkeys(names, 2), "129-256": 1}


@pytest.mark.parametrize("name", ["state.pt", "stable.pt", "model.safetensors", "metrics.jsonl"])
def test_read_only_files_are_not_replaced(resumable, monkeypatch, capsys, name):
    file = resumable.out / name
    if not file.exists():
        file.write_bytes(b"kept")
    before = file.read_bytes()
    file.chmod(0o444)
    # It is said before any work.
    monkeypatch.setattr("sllm_train.cli.obtain_tokenizer", None)
    assert resumable.run("--steps", "4") == 1
    assert f"{file}: is read-only, so it is not replaced" in error(capsys)
    assert file.read_bytes() == before


def test_folders_that_cannot_be_written(case, monkeypatch, capsys):
    monkeypatch.setattr("sllm_train.cli.obtain_tokenizer", None)
    file = case.text.with_name("file")
    file.write_text("kept")
    for out in (file, file / "training", Path("/proc/training")):
        assert case.run("--out", str(out)) == 1
        assert f"{out}: cannot be written" in error(capsys)
    assert file.read_text() == "kept"


def test_a_full_disk(resumable, monkeypatch, capsys):
    def full(*_):
        raise RuntimeError("[enforce fail at inline_container.cc] . unexpected pos 704 vs 598")

    state = (resumable.out / "state.pt").read_bytes()
    monkeypatch.setattr("torch.save", full)
    assert resumable.run("--steps", "4") == 1
    assert "state.pt: cannot be written" in error(capsys)
    assert (resumable.out / "state.pt").read_bytes() == state
    assert not list(resumable.out.glob("*.partial"))


def test_a_folder_in_which_another_process_trains(resumable, capsys):
    """Neither training nor its files are touched, and the lock ends with its holder."""
    before = {path: path.read_bytes() for path in resumable.out.iterdir() if path.is_file()}
    with locked(resumable.out):
        assert resumable.run("--steps", "9") == 1
    assert "another process trains there" in error(capsys)
    assert before == {path: path.read_bytes() for path in before}
    assert resumable.run("--steps", "3") == 0
