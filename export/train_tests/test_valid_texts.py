"""The texts that a training is evaluated on: which they are, and what a resume may change."""

import json
import os

import numpy as np
import pytest
from tiny_training import Case, stories


@pytest.fixture
def case(tmp_path):
    return Case(tmp_path)


def refusal(capsys):
    """The one line of an error."""
    error = capsys.readouterr().err
    assert error.startswith("sllm_export: error: ")
    assert error.count("\n") == 1
    return error


def test_a_resume_keeps_the_first_text_and_the_number_of_its_records(case, capsys):
    second = case.folder / "second.txt"
    second.write_text(stories(4, seed=2))
    assert case.run("--valid-records", "5") == 0
    capsys.readouterr()
    assert case.run("--steps", "2", "--valid-records", "4") == 1
    assert "belongs to another --valid-records (5); choose another --out" in refusal(capsys)
    assert case.run("--steps", "2", "--valid-records", "5", "--valid", second) == 0
    told = case.out / "training.json"
    before = told.read_text()
    capsys.readouterr()
    content = case.valid.read_text()
    case.valid.write_text(stories(6, seed=3))
    assert case.run("--steps", "3", "--valid-records", "5") == 1
    assert f"belongs to another first --valid ({case.valid}); choose" in refusal(capsys)
    assert told.read_text() == before
    case.valid.write_text(content)
    older = json.loads(before)
    del older["valid_records"]
    told.write_text(json.dumps(older))
    assert case.run("--steps", "3", "--valid-records", "4") == 0
    assert json.loads(told.read_text())["valid_records"] == 4


@pytest.mark.parametrize("name", ["b/valid.txt", "valid.v2.txt"])
def test_two_texts_of_one_name(case, capsys, name):
    other = case.folder / name
    other.parent.mkdir(exist_ok=True)
    other.write_text(stories(6, seed=2))
    assert case.run("--valid", other) == 1
    error = refusal(capsys)
    assert f'--valid {case.valid} and --valid {other} are both reported as "valid"' in error
    assert not case.out.exists()


def test_max_text_bytes_leaves_them_whole(case):
    assert case.run("--max-text-bytes", "400") == 0
    counts = {
        path.parent.name.split("-")[0]: len(np.load(path)) - 1
        for path in (case.out / "corpora").glob("*/record_starts.npy")
    }
    assert counts["valid"] == 6
    assert counts["stories"] < 15


@pytest.mark.skipif(os.name != "posix", reason="needs names of any bytes")
def test_a_path_that_is_not_utf8(case):
    text = case.text.rename(case.folder / os.fsdecode(b"\xff.txt"))
    assert case.run("--text", str(text)) == 0
    assert case.run("--text", str(text), "--steps", "2") == 0
    told = json.loads((case.out / "training.json").read_text(encoding="utf-8"))
    assert told["text"][0][0] == str(text)
