"""Talking to other processes."""

import sys
from pathlib import Path

import pytest
from fakes import description
from test_work import OPT

from peers import sllm_ort
from peers.machine import cpu_model, environment, machine
from peers.random_model import RandomModel, Task
from peers.system import PeerError
from peers.worker import WorkerSystem
from peers.workload import Speed, Workload

WORKLOAD = Workload()
FOUND = {
    "threads": 2,
    "warmup": 1,
    "rounds": 1,
    "prompt_tokens": 320,
    "sentence_tokens": 10,
    "sentences": 16,
    "batch": 1,
    "input_tokens_per_second": 9000.0,
    "output_tokens_per_second": 600.0,
    "machine": {"onnxruntime": "1.31.1", "version": "0.1.0"},
}


def our_system(folder, script):
    """sllm-ort as a script that prints something."""
    binary = folder / "sllm-ort"
    binary.write_text(f"#!{sys.executable}\n{script}\n")
    binary.chmod(0o755)
    program = sllm_ort.Program(binary, None)
    return sllm_ort.SllmOrt(description("sllm-ort-sllm"), program, folder, WORKLOAD)


def test_our_command():
    program = sllm_ort.Program(Path("sllm-ort"), Path("libonnxruntime.so"))
    workload = Workload(40, 8, 3, threads=4, warmup=2, seed=5, batch=4)
    command = program.command(Path("models/x"), "cpu-int4", workload)
    assert " ".join(command) == (
        "sllm-ort bench --model models/x --variant cpu-int4 --provider cpu --threads 4 --warmup 2 "
        "--repetitions 1 --prompt-tokens 40 --sentence-tokens 8 --sentences 3 --batch 4 --seed 5 "
        "--format json --onnxruntime libonnxruntime.so"
    )


def test_our_figures(tmp_path):
    system = our_system(tmp_path, f"import json; print(json.dumps({FOUND!r}))")
    system.start()
    assert system.turn() == Speed(9000.0, 600.0)
    assert system.details == {"sllm-ort": "0.1.0", "ONNX Runtime": "1.31.1"}


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        ("raise SystemExit('sllm-ort: error: no model')", "sllm-ort: error: no model"),
        ("raise SystemExit(3)", "ended with status 3"),
        ("print('{')", "printed no JSON"),
        (f"print('{{}}')  # {FOUND!r}", "threads is None (asked for 2)"),
    ],
)
def test_our_failures(tmp_path, script, reason):
    with pytest.raises(PeerError) as error:
        our_system(tmp_path, script).turn()
    assert reason in str(error.value)


def test_our_program_is_missing(tmp_path):
    system = our_system(tmp_path, "")
    (tmp_path / "sllm-ort").unlink()
    with pytest.raises(PeerError, match="is missing"):
        system.start()


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"sentences": 8}, r"sentences is 8 \(asked for 16\)"),
        ({"batch": 8}, r"batch is 8 \(asked for 1\)"),
    ],
)
def test_figures_of_other_work_are_refused(changes, reason):
    with pytest.raises(PeerError, match=reason):
        sllm_ort.read_speed(FOUND | changes, WORKLOAD)


def worker(folder, name="no-such-peer"):
    system = WorkerSystem(
        description("ctranslate2-opt"), Task(RandomModel(OPT, 0), WORKLOAD, folder)
    )
    object.__setattr__(system.description, "name", name)
    return system


def test_worker_tells_why_it_fails(tmp_path):
    system = worker(tmp_path)
    with pytest.raises(PeerError, match="KeyError: 'no-such-peer'"):
        system.start()
    system.close()
    system.close()


def test_worker_that_ends_is_told_of(tmp_path):
    system = worker(tmp_path)
    with pytest.raises(PeerError):
        system.start()
    # It has ended with what it says on stderr.
    with pytest.raises(PeerError, match="ended with status 1: KeyError"):
        system.turn()
    system.close()


def test_environment(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "64")
    monkeypatch.setenv("OMP_WAIT_POLICY", "active")
    monkeypatch.setenv("SLLM_ORT_THREADS", "1")
    monkeypatch.setenv("CT2_USE_MKL", "1")
    found = environment(2)
    assert found["OMP_NUM_THREADS"] == found["MKL_NUM_THREADS"] == "2"
    assert "OMP_WAIT_POLICY" not in found
    assert "SLLM_ORT_THREADS" not in found
    # What is left as it is, is told of.
    assert found["CT2_USE_MKL"] == machine()["environment"]["CT2_USE_MKL"] == "1"


def test_cpu_model():
    text = "processor : 0\ncpu family : 25\nmodel : 17\nmodel name : AMD EPYC\n\nmodel name : x\n"
    assert cpu_model(text) == "AMD EPYC (cpu family 25, model 17)"
    assert cpu_model("model name\t: Cortex") == "Cortex"
    assert cpu_model("") is None
