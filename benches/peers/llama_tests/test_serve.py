"""The load on llama-cpp-python's server."""

import argparse
from dataclasses import replace

import pytest
from test_gpt2 import tiny_opt

from peers.llama_gpt2 import write_quantized
from serve.compare import ServerError, llama, measure, ours, started, table


def test_our_command(tmp_path):
    server = ours(tmp_path / "sllm-ort", tmp_path / "x", "cpu-int4", threads=2)
    assert server.name == "sllm-ort cpu-int4"
    assert server.command[1:3] == ("serve", "--model")
    assert server.fields["ignore_eos"] is True


def test_load(tmp_path):
    model = tiny_opt(max_positions=256)
    server = llama(write_quantized(model, tmp_path, "Q8_0", threads=1), threads=1, context=256)
    options = argparse.Namespace(
        threads=1, max_tokens=24, sentence_words=10, rounds=1, clients=[1, 2], seconds=0.2, pause=0
    )
    records = measure(options, [server], tmp_path)
    assert [(record["clients"], record["round"]) for record in records] == [(1, 1), (2, 1)]
    for record in records:
        assert record["answers"] >= record["clients"]
        assert 0 < record["first_text_ms_p50"] <= record["first_sentence_ms_p50"]
    head, *rows = table(records).splitlines()
    assert head.startswith("server | clients")
    assert [row.rsplit(" | ", 4)[0] for row in rows] == ["llama-cpp-python Q8_0"] * 2


def test_a_server_that_does_not_start_tells_why(tmp_path):
    server = llama(tmp_path / "none.gguf", threads=1, context=64)
    with pytest.raises(ServerError, match="status 1"), started(server, 1, tmp_path / "log"):
        pass
    silent = replace(server, command=("true",))
    with pytest.raises(ServerError, match="printed nothing"), started(silent, 1, tmp_path / "log"):
        pass
