"""Bundles through the real command line: whole or absent, and errors that fit on a line."""

import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from helpers import DATA, EXPORT, GOLDEN, TOKENIZER, random_weights, run_cli, tiny, tiny_opt
from safetensors.numpy import save_file

from sllm_export import __version__, bundle, cli
from sllm_export.digest import sha256
from sllm_export.tokenizer import find_tokenizer


@pytest.fixture
def config(tmp_path):
    path = tmp_path / "tiny.json"
    path.write_text(json.dumps(tiny()))
    return path


def export(config, out, *more):
    """Exports random weights inside this process; returns the exit status."""
    arguments = ["bundle", "--config", config, "--out", out, "--tokenizer", TOKENIZER]
    if "--checkpoint" not in more and "--random" not in more:
        arguments += ["--random", "0"]
    return cli.main([str(argument) for argument in (*arguments, *more)])


def left_over(folder, *kept):
    """What lies in the folder besides the names in `kept`."""
    return sorted(path.name for path in folder.iterdir() if path.name not in kept)


def test_manifest_and_files(config, tmp_path):
    out = tmp_path / "made" / "bundle"
    arguments = ("--config", config, "--random", "7", "--tokenizer", TOKENIZER, "--out", out)
    result = run_cli("bundle", *arguments, "--data", "none")
    assert (result.returncode, result.stdout) == (0, ""), result.stderr
    manifest = json.loads((out / "sllm.json").read_text())
    assert list(manifest) == [
        "format_version",
        "model",
        "segmentation",
        "tokenizer",
        "variants",
        "provenance",
    ]
    assert manifest["format_version"] == 1
    assert manifest["model"] == tiny()
    assert manifest["segmentation"] == {"tail": "keep", "long_sentence": "split"}
    assert manifest["provenance"] == {
        "checkpoint": {"random_seed": 7},
        "data": "none",
        "exporter_version": __version__,
    }
    assert [(v["name"], v["precision"]) for v in manifest["variants"]] == [
        ("cpu-int8", "int8"),
        ("portable", "fp32"),
    ]
    files = [manifest["tokenizer"]]
    for variant in manifest["variants"]:
        assert list(variant["graphs"]) == ["encoder", "backbone", "decoder"]
        files += variant["graphs"].values()
    for file in files:
        assert file["sha256"] == hashlib.sha256((out / file["file"]).read_bytes()).hexdigest()
    assert "The weights are random" in (out / "MODEL_CARD.md").read_text()
    assert left_over(out.parent) == ["bundle"]


@pytest.mark.parametrize(
    ("raw", "graphs"),
    [(tiny(kind="svae", backbone=None), ["encoder", "decoder"]), (tiny_opt(), ["opt"])],
    ids=["svae", "opt"],
)
def test_other_kinds(config, tmp_path, raw, graphs):
    config.write_text(json.dumps(raw))
    out = tmp_path / "bundle"
    assert export(config, out, "--variant", "portable") == 0
    manifest = json.loads((out / "sllm.json").read_text())
    assert [list(v["graphs"]) for v in manifest["variants"]] == [graphs]


def test_opt_directory_gives_weights_and_tokenizer(config, tmp_path):
    config.write_text(json.dumps(tiny_opt()))
    opt = tmp_path / "opt"
    opt.mkdir()
    shutil.copy(TOKENIZER, opt)
    _, weights = random_weights(tiny_opt())
    save_file({name: weights.load(name) for name in weights.shapes}, opt / "model.safetensors")
    out = tmp_path / "bundle"
    arguments = ["bundle", "--config", str(config), "--opt", str(opt), "--out", str(out)]
    assert cli.main(arguments) == 0
    provenance = json.loads((out / "sllm.json").read_text())["provenance"]
    assert provenance["checkpoint"]["file"] == "model.safetensors"


def test_tokenizer_made_from_vocabulary_and_merges(tmp_path):
    model = json.loads(TOKENIZER.read_text())["model"]
    (tmp_path / "vocab.json").write_text(json.dumps(model["vocab"]))
    merges = "".join(f"{left} {right}\n" for left, right in model["merges"])
    (tmp_path / "merges.txt").write_text(f"#version: 0.2\n{merges}")
    made = json.loads(find_tokenizer(None, tmp_path))
    known = json.loads(TOKENIZER.read_text())
    assert made["model"]["vocab"] == known["model"]["vocab"]
    assert made["model"]["merges"] == known["model"]["merges"]
    assert made["post_processor"] == known["post_processor"]


def test_external_data_is_listed(config, tmp_path, monkeypatch):
    monkeypatch.setattr("sllm_export.graph.builder.MAX_EMBEDDED_BYTES", 1000)
    out = tmp_path / "bundle"
    assert export(config, out, "--variant", "portable") == 0
    manifest = json.loads((out / "sllm.json").read_text())
    for graph in manifest["variants"][0]["graphs"].values():
        (data,) = graph["external_data"]
        assert data["file"] == graph["file"] + ".data"
        assert data["sha256"] == sha256(out / data["file"])


def test_existing_directory(config, tmp_path, capsys):
    out = tmp_path / "bundle"
    assert export(config, out) == 0
    before = (out / "sllm.json").read_text()
    assert export(config, out) == 1
    assert "exists already; --force replaces a bundle" in capsys.readouterr().err
    assert (out / "sllm.json").read_text() == before
    assert export(config, out, "--random", "1", "--force") == 0
    assert (out / "sllm.json").read_text() != before
    assert left_over(tmp_path, config.name) == ["bundle"]


def test_force_does_not_replace_what_is_no_bundle(config, tmp_path, capsys):
    out = tmp_path / "precious"
    out.mkdir()
    (out / "thesis.txt").write_text("words")
    assert export(config, out, "--force") == 1
    assert "exists and is no bundle" in capsys.readouterr().err
    assert (out / "thesis.txt").read_text() == "words"


@pytest.mark.parametrize("name", ["model.safetensors", "portable/notes.txt", "old/encoder.bin"])
def test_force_deletes_nothing_but_a_bundle(config, tmp_path, monkeypatch, capsys, name):
    out = tmp_path / "bundle"
    assert export(config, out, "--variant", "portable") == 0
    (out / ".DS_Store").write_text("")
    assert export(config, out, "--variant", "portable", "--force") == 0
    before = (out / "sllm.json").read_text()
    file = out / name
    file.parent.mkdir(exist_ok=True)
    file.write_text("precious")
    capsys.readouterr()
    with monkeypatch.context() as patched:
        patched.setattr(cli, "_weights", None)
        assert export(config, out, "--random", "1", "--force") == 1
    assert f"{file}: is no part of the bundle" in refusal(capsys)
    assert file.read_text() == "precious"
    assert (out / "sllm.json").read_text() == before


@pytest.mark.parametrize("existing", [False, True])
def test_failing_check_leaves_nothing(config, tmp_path, monkeypatch, capsys, existing):
    out = tmp_path / "bundle"
    if existing:
        assert export(config, out) == 0
        before = (out / "sllm.json").read_text()
    capsys.readouterr()
    monkeypatch.setattr("sllm_export.graph.layers.LAYER_NORM_EPS", 9.0)
    assert export(config, out, "--random", "1", "--force") == 1
    error = capsys.readouterr().err
    assert error.startswith("sllm_export: error: cpu-int8/encoder.onnx: sentence_embedding differs")
    assert error.count("\n") == 1
    if existing:
        assert (out / "sllm.json").read_text() == before
    assert left_over(tmp_path, config.name) == (["bundle"] if existing else [])


def test_failing_rename_puts_the_old_bundle_back(config, tmp_path, monkeypatch):
    out = tmp_path / "bundle"
    assert export(config, out) == 0
    before = (out / "sllm.json").read_text()
    rename = Path.rename

    def failing(self, target):
        if self.name == "new":
            raise OSError("no space left")
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", failing)
    assert export(config, out, "--random", "1", "--force") == 1
    assert (out / "sllm.json").read_text() == before
    assert left_over(tmp_path, config.name) == ["bundle"]


def test_interruption_leaves_nothing(config, tmp_path, monkeypatch, capsys):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(bundle, "check_graph", interrupted)
    assert export(config, tmp_path / "bundle") == 1
    assert "interrupted" in capsys.readouterr().err
    assert left_over(tmp_path, config.name) == []


def test_termination_leaves_nothing(config, tmp_path):
    code = (
        "import runpy, sys, time, sllm_export.bundle as bundle\n"
        "bundle.check_graph = lambda *_: (print('ready', flush=True), time.sleep(60))\n"
        "sys.argv[0] = 'sllm_export'\n"
        "runpy.run_module('sllm_export', run_name='__main__')\n"
    )
    arguments = ["bundle", "--config", config, "--random", "0", "--tokenizer", TOKENIZER]
    with subprocess.Popen(
        [sys.executable, "-c", code, *map(str, arguments), "--out", str(tmp_path / "bundle")],
        env={**os.environ, "PYTHONPATH": str(EXPORT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        assert len(left_over(tmp_path, config.name)) == 1
        process.terminate()
        error = process.communicate(timeout=30)[1]
    assert error == "sllm_export: error: interrupted\n"
    assert process.returncode == 1
    assert left_over(tmp_path, config.name) == []


def test_link_to_a_bundle_is_followed(config, tmp_path):
    out, link = tmp_path / "bundle", tmp_path / "link"
    assert export(config, out) == 0
    before = (out / "sllm.json").read_text()
    link.symlink_to(out)
    assert export(config, link, "--random", "1", "--force") == 0
    assert link.is_symlink()
    assert (out / "sllm.json").read_text() != before


FAILURES = [
    (["--random", "0"], "no tokenizer: give --tokenizer"),
    (["--tokenizer", TOKENIZER], "no weights: give --checkpoint FILE, or --random SEED"),
    (["--random", "0", "--tokenizer", DATA / "mixed.json"], "the tokenizer cannot be loaded"),
    (["--random", "0", "--tokenizer", "none.json"], "none.json: cannot be read"),
    (["--random", "0", "--opt", DATA], "holds neither tokenizer.json nor vocab.json"),
    (["--random", "0", "--checkpoint", "x.pth"], "--random and --checkpoint exclude each other"),
    (["--random", "0", "--variant", "gpu"], "--variant gpu: unknown, known variants: cpu-int8"),
    (["--checkpoint", "x.pth", "--tokenizer", TOKENIZER], "x.pth: no such file"),
    (["--checkpoint", DATA / "mixed.pth", "--tokenizer", TOKENIZER], "missing svae.encoder.embed"),
    (
        ["--random", "0", "--tokenizer", TOKENIZER, "--model-card", "none.md"],
        "none.md: cannot be read",
    ),
]


@pytest.mark.parametrize(("arguments", "message"), FAILURES, ids=[row[1] for row in FAILURES])
def test_failures_are_one_line(config, tmp_path, capsys, arguments, message):
    out = tmp_path / "bundle"
    command = ["bundle", "--config", config, "--out", out, *arguments]
    assert cli.main([str(argument) for argument in command]) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("sllm_export: error: ")
    assert message in captured.err
    assert captured.err.count("\n") == 1
    assert left_over(tmp_path, config.name) == []


@pytest.mark.parametrize("charsmap", ["/////w==", "AAAA", "not base64"])
def test_a_tokenizer_that_makes_the_library_panic_is_one_line(config, tmp_path, charsmap):
    content = json.loads(TOKENIZER.read_text())
    content["normalizer"] = {"type": "Precompiled", "precompiled_charsmap": charsmap}
    tokenizer = tmp_path / "tokenizer.json"
    tokenizer.write_text(json.dumps(content))
    arguments = ["--config", config, "--random", "0", "--tokenizer", tokenizer]
    result = run_cli("bundle", *map(str, arguments), "--out", str(tmp_path / "out"))
    assert result.returncode == 1
    assert result.stderr.startswith("sllm_export: error: the tokenizer cannot be loaded: ")
    assert result.stderr.count("\n") == 1


def test_tokenizer_must_fit_the_configuration(config, tmp_path, capsys):
    config.write_text(json.dumps(tiny(vocab_size=60)))
    assert export(config, tmp_path / "a") == 1
    assert "the tokenizer has ids up to 60 (expected below vocab_size" in capsys.readouterr().err
    config.write_text(json.dumps(tiny(**{"tokens.pad": 63})))
    assert export(config, tmp_path / "b") == 1
    assert "no token with tokens.pad, which is 63" in capsys.readouterr().err


def test_model_card_can_be_given(config, tmp_path):
    card = tmp_path / "card.md"
    card.write_text("# Mine\n")
    out = tmp_path / "bundle"
    assert export(config, out, "--model-card", card, "--segmentation", "drop-truncate") == 0
    assert (out / "MODEL_CARD.md").read_text() == "# Mine\n"
    segmentation = json.loads((out / "sllm.json").read_text())["segmentation"]
    assert segmentation == {"tail": "drop", "long_sentence": "truncate"}


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        ([], 2, "usage:"),
        (["bundle"], 2, "--config"),
        (["bundle", "--config", "c", "--out", "o", "--random", "-1"], 2, "--random"),
        (["bundle", "--config", "c", "--out", "o", "--random", "abc"], 2, "--random: abc (allowed"),
        (["bundle", "--config", "c", "--out", "o", "--segmentation", "x"], 2, "--segmentation"),
        (["bundle", "--config", "none.json", "--out", "o"], 1, "none.json: cannot be read"),
    ],
)
def test_exit_status(arguments, status, message):
    result = run_cli(*arguments)
    assert result.returncode == status
    assert result.stdout == ""
    assert message in result.stderr
    assert "Traceback" not in result.stderr


def test_training_without_pytorch(monkeypatch, capsys):
    for name in [name for name in sys.modules if name.startswith("sllm_train")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "torch", None)
    assert cli.main(["train"]) == 1
    assert "training needs PyTorch: install the extra `train`" in capsys.readouterr().err


def test_golden_bundles_are_small():
    size = sum(path.stat().st_size for path in GOLDEN.rglob("*") if path.is_file())
    assert size < 3_000_000


def refusal(capsys):
    """The one line of an error."""
    error = capsys.readouterr().err
    assert error.startswith("sllm_export: error: ")
    assert error.count("\n") == 1
    return error


@pytest.mark.parametrize("part", [".", "sllm.json", "portable", "portable/encoder.onnx"])
def test_force_does_not_replace_what_is_read_only(config, tmp_path, monkeypatch, capsys, part):
    out = tmp_path / "bundle"
    assert export(config, out, "--variant", "portable") == 0
    before = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    protected = out / part
    mode = protected.stat().st_mode
    protected.chmod(mode & 0o555)
    capsys.readouterr()
    # It is said before any work.
    with monkeypatch.context() as patched:
        patched.setattr(cli, "_weights", None)
        assert export(config, out, "--random", "1", "--force") == 1
    assert f"{protected}: is read-only, so it is not replaced" in refusal(capsys)
    protected.chmod(mode)
    assert {path: path.read_bytes() for path in out.rglob("*") if path.is_file()} == before
    assert left_over(tmp_path, config.name) == ["bundle"]
    assert export(config, out, "--random", "1", "--force") == 0


def test_folders_that_cannot_be_written(config, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(cli, "_weights", None)
    file = tmp_path / "file"
    file.write_text("kept")
    for out in (file / "bundle", file / "a" / "b", Path("/proc/bundle"), Path("/dev/null/x")):
        assert export(config, out) == 1
        assert f"{out.parent}: cannot be written" in refusal(capsys)
    assert file.read_text() == "kept"


@pytest.mark.skipif(os.name != "posix", reason="needs links, and names of any bytes")
def test_names_that_cannot_be_written(config, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(cli, "_weights", None)
    one, other = tmp_path / "one", tmp_path / "other"
    one.symlink_to(other)
    other.symlink_to(one)
    for out in (one, tmp_path / ("x" * 300), tmp_path / os.fsdecode(b"\xff")):
        assert export(config, out, "--force") == 1
        refusal(capsys)
    assert left_over(tmp_path, config.name) == ["one", "other"]


# Python itself may be in a folder of root's.
UNPRIVILEGED = """
import os, sys
from sllm_export import cli
if os.geteuid() == 0:
    os.setgroups([])
    os.setgid(65534)
    os.setuid(65534)
sys.exit(cli.main())
"""


@pytest.mark.skipif(os.name != "posix", reason="needs users of Unix")
def test_without_permission_nothing_is_replaced(config):
    # Folders above pytest's are its user's alone.
    with tempfile.TemporaryDirectory() as name:
        folder, files = Path(name) / "folder", Path(name) / "files"
        out = folder / "bundle"
        assert export(config, out, "--variant", "portable") == 0
        before = (out / "sllm.json").read_bytes()
        files.mkdir()
        for file in (config, TOKENIZER):
            shutil.copy(file, files)
        Path(name).chmod(0o755)
        folder.chmod(0o555)
        command = [sys.executable, "-c", UNPRIVILEGED, "bundle", "--random", "1", "--force"]
        command += ["--config", str(files / config.name)]
        command += ["--tokenizer", str(files / TOKENIZER.name)]
        for target in (out, folder / "new", folder / "a" / "b"):
            result = subprocess.run(
                [*command, "--out", str(target)],
                env={**os.environ, "PYTHONPATH": str(EXPORT)},
                capture_output=True,
                text=True,
                check=False,
            )
            assert result.returncode == 1
            assert result.stderr.startswith("sllm_export: error: ")
            assert result.stderr.count("\n") == 1
            assert "is read-only" in result.stderr or "cannot be written" in result.stderr
        assert (out / "sllm.json").read_bytes() == before
        assert left_over(folder) == ["bundle"]
        folder.chmod(0o755)


@pytest.mark.parametrize("name", ["new", "bundle"])
def test_an_interruption_while_the_bundle_is_replaced_loses_nothing(
    config, tmp_path, monkeypatch, name
):
    out = tmp_path / "bundle"
    assert export(config, out, "--variant", "portable") == 0
    before = (out / "sllm.json").read_text()
    rename = Path.rename

    def interrupted(self, target):
        if self.name == "old":
            return rename(self, target)
        result = rename(self, target) if self.name == "bundle" else None
        if self.name == name:
            raise KeyboardInterrupt
        return result

    monkeypatch.setattr(Path, "rename", interrupted)
    assert export(config, out, "--random", "1", "--variant", "portable", "--force") == 1
    assert (out / "sllm.json").read_text() == before
    assert left_over(tmp_path, config.name) == ["bundle"]
