"""The measure of the names that continuations say again."""

import sys

import pytest

import names_said

STORY = "Lily met Tom. They ran. LILY fell! Tom cried."
# In place of the program: names the model's folder after the beginning.
PROGRAM = """#!/bin/sh
[ "$1 $2 $5 $6" = "run --model --seed 3" ] || exit 2
[ "$9" != --wrong ] || { echo "error: no such option" >&2; exit 1; }
echo "$4 $3"
"""


def test_names_are_counted():
    counts = names_said.Counts()
    counts.add("Lily met Tom.", "Tom and Max ran. A ball fell on Lily. LILY cried.")
    counts.add("Lily met Tom.", "Max ran.")
    counts.add("Lily met Tom.", "They ran.")
    assert counts == names_said.Counts(said=5, own=3, with_own=1, continuations=3)
    assert "names said that are the beginning's: 3 of 5 (60 %)\n" in counts.report()
    assert "continuations that say one: 1 of 3 (33 %)" in counts.report()
    assert names_said.Counts().report().endswith("one: 0 of 0")


def test_beginnings_have_other_names():
    records = [STORY, "They ran. It fell. Tom cried.", "Nobody has\na name. Not one.\nNo."]
    first, second = names_said.beginnings(records, 3)
    assert first.count(".") == 2
    assert first.endswith("fell!")
    assert not {"Lily", "LILY", "Tom"} & set(first.replace(".", "").split())
    assert second.startswith("They ran. It fell. ")
    assert names_said.beginnings(records[1:], 2) == []


@pytest.fixture
def program(tmp_path):
    path = tmp_path / "program"
    path.write_text(PROGRAM)
    path.chmod(0o755)
    return path


def measure(program, monkeypatch, *options):
    text = program.with_name("stories.txt")
    text.write_text(f"skipped\n<|endoftext|>\n{STORY}\n<|endoftext|>\n")
    arguments = ["--binary", str(program), "--model", "Max", "--text", str(text)]
    monkeypatch.setattr(sys, "argv", ["names_said.py", *arguments, *options])
    names_said.main()


def test_the_command_continues_each_beginning(program, monkeypatch, capsys):
    measure(program, monkeypatch, "--skip", "1")
    found = capsys.readouterr().out
    # The beginning's two names come again, one of them twice, and then that of the folder.
    assert "beginning's: 3 of 4 (75 %)" in found
    assert "one: 1 of 1 (100 %)" in found


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        (["--skip", "2"], "no beginning with a known name"),
        (["--skip", "1", "--wrong"], "no such option"),
        (["--text", "nothing.txt"], "nothing.txt"),
    ],
)
def test_what_is_refused(program, monkeypatch, options, problem):
    with pytest.raises(SystemExit, match=problem):
        measure(program, monkeypatch, *options)
