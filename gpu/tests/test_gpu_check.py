"""The check and its pack, on the processor, from an empty folder."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from gpu_check import archive
from gpu_check.plan import MODELS, TRAINED, VARIANTS, plan, sentences
from gpu_check.steps import StepError, Steps, call, call_json

ROOT = Path(__file__).resolve().parents[2]
BINARY = Path(os.environ.get("SLLM_ORT_BINARY", ROOT / "target" / "debug" / "sllm-ort"))


@pytest.fixture(scope="session")
def pack(tmp_path_factory):
    """The pack for the processor, as it lies on the other machine."""
    parts = tmp_path_factory.mktemp("pack") / "pack"
    words = [sys.executable, ROOT / "gpu" / "pack.py", "--out", parts, "--level", "1"]
    words += ["--binary", BINARY.resolve(), "--library", ROOT / ".onnxruntime"]
    subprocess.run(words, check=True)
    whole = tmp_path_factory.mktemp("empty")
    for part in sorted(parts.iterdir()):
        shutil.copytree(part, whole, dirs_exist_ok=True)
    return whole


def check(pack, *arguments):
    """Runs `gpu/check.sh` with nothing of this checkout; returns its status and report."""
    env = {"PATH": os.environ["PATH"], "HOME": str(pack), "PYTHON": sys.executable}
    words = ["bash", "gpu/check.sh", "--out", "report.json", *arguments]
    done = subprocess.run(words, cwd=pack, env=env, capture_output=True, text=True, check=False)
    report = json.loads((pack / "report.json").read_text(encoding="utf-8"))
    return done, report


def test_everything_works_on_the_processor(pack):
    done, report = check(pack, "--provider", "cpu")
    assert done.returncode == 0, done.stderr
    assert report["ok"]
    assert report["failed"] == []
    assert report["machine"]["packages"]["onnx"]
    assert report["runtime"]["python"]["providers"]
    assert report["greedy"]["sllm-stories"]["portable"] == {
        "sentences": 12,
        "sentences_that_differ": 0,
    }
    for model in TRAINED:
        for variant in VARIANTS:
            found = report["trained"][model][variant]
            assert found["tokens"] > 20
            assert found["prompts_that_differ"] == []
    for model in MODELS:
        for variant in VARIANTS:
            for graph, found in report["parity"][model][variant].items():
                assert max(found["against_cpu"].values()) == 0, graph
            assert report["nodes"][model][variant]["share"] == 1
            assert report["greedy"][model][variant]["tokens_that_differ"] == 0
            speed = report["speed"][model][variant]["1"]
            assert speed["output_tokens_per_second"] > 0
            assert speed["variant"] == variant
    assert set(report["speed"]["sllm-125m-h1"]["cuda-fp16"]) == {"1", "2"}
    step = report["step_time"]["opt-125m"]["cuda-int4"]["opt"]["2"]
    assert step["plain"]["rows_per_second"] > 0
    assert "no CUDA graphs" in step["cuda_graph"]["error"]
    # Nothing is left but the report.
    assert not list(pack.rglob("__pycache__"))
    assert (pack / "report.json").is_file()


def test_without_a_gpu_all_that_fails_is_recorded(pack):
    done, report = check(pack, "--seconds", "4")
    assert done.returncode == 1
    assert not report["ok"]
    assert "machine" in report["failed"]
    assert report["machine"]["python"], "what was found is kept"
    errors = {step["step"]: step.get("error", "") for step in report["steps"]}
    assert "made for the processor" in errors["runtime"]
    assert errors["speed/opt-125m/cuda-fp16/1"]
    assert "opt-125m" in report["failed"][-1], "the last step was reached"


def test_a_damaged_pack_is_told(pack, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(pack, copy)
    with (copy / "tokenizer.json").open("ab") as file:
        file.write(b" ")
    (copy / "configs" / "opt-125m.json").unlink()
    with pytest.raises(StepError) as error:
        archive.check_sums(copy)
    problems = {"tokenizer.json is damaged", "configs/opt-125m.json is missing"}
    assert set(str(error.value).split("; ")) == problems


@pytest.mark.parametrize("way", ["program", "library"])
def test_parts_are_joined(way, tmp_path, monkeypatch):
    content = os.urandom(3 << 20) + bytes(5 << 20)
    whole = tmp_path / "whole"
    whole.write_bytes(content)
    subprocess.run(["zstd", "-q", str(whole)], check=True)
    packed = whole.with_suffix(".zst").read_bytes()
    parts = [tmp_path / f"part.{number}" for number in range(3)]
    for number, part in enumerate(parts):
        third = len(packed) // 3 + 1
        part.write_bytes(packed[number * third : (number + 1) * third])
    if way == "library":
        monkeypatch.setattr(shutil, "which", lambda name: None)
    assert b"".join(archive.decompressed(parts)) == content
    for broken in (parts[:2], parts[1:]):
        with pytest.raises(StepError, match=r"zstd|too early"):
            b"".join(archive.decompressed(broken))


def test_failed_steps_do_not_end_the_others(tmp_path):
    out = tmp_path / "report.json"
    steps = Steps(out, 60, {"provider": "cpu"})
    steps.run(("a",), lambda: {"found": 1})
    steps.run(("b", "x"), lambda: call_json(["sh", "-c", "echo no >&2; exit 3"], os.environ, 9))
    steps.run(("b", "y"), lambda: call_json(["sh", "-c", "kill -9 $$"], os.environ, 9))
    steps.run(("b", "z"), lambda: {"found": call(["sleep", "9"], os.environ, 0.2)})
    steps.run(("c",), lambda: {"found": [][0]})
    steps.run_all({("d", name): lambda: {"found": 2} for name in "12"}, 2)
    assert steps.finish() == 1
    report = json.loads(out.read_text(encoding="utf-8"))
    assert report["failed"] == ["b/x", "b/y", "b/z", "c"]
    assert report["a"] == {"found": 1}
    assert report["d"] == {"1": {"found": 2}, "2": {"found": 2}}
    errors = [step["error"] for step in report["steps"] if not step["ok"]]
    assert errors[0].endswith("status 3\nno")
    assert "signal 9" in errors[1]
    assert "no end after" in errors[2]
    assert errors[3].startswith("IndexError")


def test_no_step_begins_when_the_time_is_up(tmp_path):
    steps = Steps(tmp_path / "report.json", 0, {})
    assert steps.run(("a",), lambda: {"found": 1}) is None
    assert steps.report["steps"][0]["error"] == "not run: the time is up"


def test_sentences_differ():
    assert len(set(sentences(200))) == plan("cuda").sentences == 200
