import json

import pytest
from test_work import OPT, manifest

from peers import cli
from peers.cli import make_systems, parse
from peers.system import KINDS, PeerError


def bundle(folder, **changes):
    folder.mkdir()
    return manifest(folder, **changes)


def test_systems_are_made_in_their_own_order(tmp_path):
    opt = bundle(tmp_path / "opt")
    names = ["llama-cpp-gpt2-q4-batch8", "sllm-ort-opt"]
    systems = make_systems(parse(["--opt", str(opt), "--systems", *names]), tmp_path)
    assert [system.description.name for system in systems] == names[::-1]
    assert [system.description.title for system in systems] == [
        "tiny-opt, sllm-ort int8",
        "tiny-opt as GPT-2, llama.cpp Q4_0, batch 8",
    ]


def test_batches_are_of_runtimes_that_have_them():
    runtimes = {kind.runtime for kind in KINDS.values() if kind.batch > 1}
    assert runtimes == {"sllm-ort", "llama.cpp"}


def test_bundle_of_another_kind_is_refused(tmp_path):
    opt = bundle(tmp_path / "opt")
    with pytest.raises(PeerError, match=r"is of kind opt \(expected sllm\)"):
        make_systems(parse(["--sllm", str(opt), "--systems", "pytorch-sllm"]), tmp_path)


def test_failures_are_reported_and_told_by_the_exit_status(tmp_path, capsys):
    opt = bundle(tmp_path / "opt")
    out = tmp_path / "peers.json"
    given = ["--opt", opt, "--binary", tmp_path / "none", "--out", out]
    given += ["--systems", "sllm-ort-opt"]
    assert cli.main(list(map(str, given))) == 1
    printed = capsys.readouterr()
    assert "failed" in printed.out
    assert "none: is missing" in printed.err
    (system,) = json.loads(out.read_text())["systems"]
    assert (system["model"], system["rounds"]) == (OPT.name, [])
    assert "is missing" in system["failure"]


def test_missing_bundle_is_an_error(tmp_path, capsys):
    assert cli.main(["--opt", str(tmp_path), "--systems", "sllm-ort-opt"]) == 1
    assert "cannot be read" in capsys.readouterr().err
