"""Embedding on two nodes: whatever is killed, each sentence is written once, and exactly."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

import pytest
from conftest import (
    PARTS,
    SENTENCES,
    Nodes,
    Rows,
    command,
    figures,
    parts_in,
    rows_of,
    start,
    wait_for,
)

FIGURES = Path(os.environ.get("RAY_TEST_FIGURES", "target/ray-test.json"))


@pytest.mark.parametrize("actors", [1, 2])
def test_the_result_is_that_of_one_process(
    actors: int, two_nodes: Nodes, corpus_file: Path, expected: Rows, tmp_path: Path
) -> None:
    options = ("--address", two_nodes.address, "--actors", str(actors))
    result = figures(start(command(corpus_file, tmp_path, *options)))
    assert (result["parts"], result["sentences"]) == (PARTS, SENTENCES)
    assert rows_of(tmp_path) == expected
    print(
        f"\n{actors} workers: {result['sentences_per_second']} sentences/s, {result['seconds']} s"
    )
    known = json.loads(FIGURES.read_text()) if FIGURES.exists() else {}
    known[f"{actors} workers"] = result
    FIGURES.parent.mkdir(parents=True, exist_ok=True)
    FIGURES.write_text(json.dumps(known, indent=1) + "\n")


def test_a_worker_is_killed(
    two_nodes: Nodes, corpus_file: Path, expected: Rows, tmp_path: Path
) -> None:
    process = start(command(corpus_file, tmp_path, "--address", two_nodes.address))
    wait_for(lambda: parts_in(tmp_path) >= 5 and len(two_nodes.actors()) == 2, process)
    os.kill(two_nodes.actors()[0], signal.SIGKILL)
    assert parts_in(tmp_path) < PARTS
    assert figures(process)["sentences"] == SENTENCES
    assert rows_of(tmp_path) == expected
    assert not list(tmp_path.glob(".part-*"))


def test_a_node_is_killed(
    two_nodes: Nodes, corpus_file: Path, expected: Rows, tmp_path: Path
) -> None:
    process = start(command(corpus_file, tmp_path, "--address", two_nodes.address))
    wait_for(lambda: parts_in(tmp_path) >= 5 and len(two_nodes.actors()) == 2, process)
    two_nodes.kill_node()
    assert parts_in(tmp_path) < PARTS
    assert figures(process)["sentences"] == SENTENCES
    assert rows_of(tmp_path) == expected


def test_a_driver_is_killed_and_started_again(
    two_nodes: Nodes, corpus_file: Path, expected: Rows, tmp_path: Path
) -> None:
    words = command(corpus_file, tmp_path, "--address", two_nodes.address)
    process = start(words)
    wait_for(lambda: parts_in(tmp_path) >= 5, process)
    process.kill()
    process.communicate()
    before = {path: path.stat().st_mtime_ns for path in tmp_path.glob("part-*.parquet")}
    assert 5 <= len(before) < PARTS
    result = figures(start(words))
    assert 0 < result["new_sentences"] < SENTENCES
    assert rows_of(tmp_path) == expected
    assert {path: path.stat().st_mtime_ns for path in before} == before
    # Nothing is left to do.
    assert figures(start(words))["new_sentences"] == 0
