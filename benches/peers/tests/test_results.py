import json
from pathlib import Path

from fakes import outcome

from peers.cli import parse
from peers.report import heading, results, table, write
from peers.workload import Workload

OUTCOMES = [
    outcome("sllm-ort-sllm", 600, 500, 640),
    outcome("ctranslate2-opt", 60, 40, 80),
    outcome("transformers-opt", failure="ModuleNotFoundError: No module named 'torch'"),
]


def test_heading():
    assert heading(Workload(), 7) == (
        "prompt of 320 tokens, 16 new sentences of 10, greedy, threads: 2, rounds in turn: 7"
    )


def test_table():
    assert table(OUTCOMES).splitlines() == [
        "tokens/s, median (lowest to highest)  output                  input",
        "s, sllm-ort int8                      600.0 (500.0 to 640.0)  6000 (5000 to 6400)",
        "o, CTranslate2 int8                   60.0 (40.0 to 80.0)     600 (400 to 800)",
        "o, Transformers fp32                  failed: ModuleNotFoundError: No module named "
        "'torch'",
        "",
        "times as fast                           output                 input",
        "s, sllm-ort int8 / o, CTranslate2 int8  10.00 (8.00 to 12.50)  10.00 (8.00 to 12.50)",
    ]


def test_table_of_failures_only():
    (head, row) = table([outcome("pytorch-sllm", failure="it broke")]).splitlines()
    assert head.endswith("output  input")
    assert row.endswith("failed: it broke")


def test_json(tmp_path):
    path = tmp_path / "new" / "peers.json"
    options = parse(["--rounds", "3", "--threads", "1"])
    write(path, results(options.workload, options.rounds, OUTCOMES, {"cpu": "x"}))
    found = json.loads(path.read_text())
    assert found["machine"] == {"cpu": "x"}
    assert (found["rounds"], found["workload"]["threads"]) == (3, 1)
    assert "batch" not in found["workload"]
    assert [system["batch"] for system in found["systems"]] == [1, 1, 1]
    ours, _, failed = found["systems"]
    assert ours["output_tokens_per_second"] == {"median": 600, "low": 500, "high": 640}
    assert ours["rounds"][1] == {"input_tokens_per_second": 5000, "output_tokens_per_second": 500}
    assert failed["failure"].startswith("ModuleNotFoundError")
    assert "output_tokens_per_second" not in failed
    (ratio,) = found["ratios"]
    assert (ratio["of"], ratio["over"]) == ("sllm-ort-sllm", "ctranslate2-opt")
    assert ratio["output_tokens_per_second"] == {"median": 10, "low": 8, "high": 12.5}
    assert [entry.name for entry in Path(path.parent).iterdir()] == ["peers.json"]
