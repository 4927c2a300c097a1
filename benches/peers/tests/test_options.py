from pathlib import Path

import pytest

from peers.cli import parse
from peers.system import NAMES
from peers.worker import PEERS
from peers.workload import Workload


def test_defaults():
    options = parse([])
    assert options.workload == Workload(320, 10, 16, threads=2, warmup=1, seed=0)
    assert (options.rounds, options.names) == (7, NAMES)
    assert options.out == Path("target/peers.json")


def test_all_are_passed_on():
    given = "--prompt-tokens 40 --sentence-tokens 8 --sentences 2 --threads 4 --warmup 3 --seed 5"
    options = parse([*given.split(), "--systems", "pytorch-sllm", "ctranslate2-opt"])
    assert options.workload == Workload(40, 8, 2, threads=4, warmup=3, seed=5)
    assert options.names == ("pytorch-sllm", "ctranslate2-opt")


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("--rounds 0", "0 is not at least 1"),
        ("--warmup 0", "0 is not at least 1"),
        ("--threads -1", "-1 is not at least 1"),
        ("--seed -1", "-1 is negative"),
        ("--pause nan", "nan is not a time"),
        ("--pause -1", "-1 is not a time"),
        ("--sentences x", "invalid"),
        ("--systems llama", "invalid choice"),
        ("--prompt-tokens 321", "--prompt-tokens is not a multiple of --sentence-tokens"),
    ],
)
def test_wrong_usage(given, said, capsys):
    with pytest.raises(SystemExit) as end:
        parse(given.split())
    assert end.value.code == 2
    assert said in capsys.readouterr().err


def test_every_peer_has_a_worker():
    assert set(PEERS) < set(NAMES)
    assert {name for name in NAMES if not name.startswith("sllm-ort")} == set(PEERS)
