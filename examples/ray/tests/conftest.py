"""A cluster of two worker nodes on this machine, and a corpus of 10,000 sentences."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[3]
EXAMPLES = ROOT / "examples/ray"
MODEL = ROOT / "models/sllm-stories"
TINY = ROOT / "tests/golden/bundle"

# Workers inherit these. No telemetry, and no token in the user's home directory.
os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
os.environ["RAY_AUTH_MODE"] = "disabled"
# A loaded machine starts slowly.
os.environ.setdefault("RAY_raylet_start_wait_time_s", "120")
os.environ["PYTHONPATH"] = str(EXAMPLES)

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import sllm_ort
from ray.cluster_utils import Cluster

TEXTS = 1000
SENTENCES = 10_000
TEXTS_PER_PART = 20
PARTS = TEXTS // TEXTS_PER_PART
BATCH_SIZE = 64

Rows = dict[tuple[str, int], tuple[str, bytes]]


def make_texts() -> list[str]:
    """Texts of ten sentences, none of which is there twice."""
    draw = random.Random(1)
    words = ["little", "happy", "red", "fox", "dog", "ball", "and", "so", "the", "then"]

    def sentence(number: int) -> str:
        middle = " ".join(draw.choice(words) for _ in range(draw.randrange(2, 20)))
        return f"The {middle} saw number {number}."

    return [" ".join(sentence(10 * text + number) for number in range(10)) for text in range(TEXTS)]


@pytest.fixture(scope="session")
def corpus_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("corpus") / "texts.parquet"
    table = pa.table({"text": make_texts(), "key": [f"text {n}" for n in range(TEXTS)]})
    # Parts of 20 texts begin and end within row groups.
    pq.write_table(table, path, row_group_size=130)
    return path


@pytest.fixture(scope="session")
def expected() -> Rows:
    """The result of this process alone, without Ray and the example.

    The last bits of a vector depend on the sentences that are encoded in the same run, so that the
    batches are those of the example.
    """
    model = sllm_ort.Model(MODEL, variant="portable", threads=1)
    texts = make_texts()
    rows: Rows = {}
    for first in range(0, TEXTS, TEXTS_PER_PART):
        names, sentences = [], []
        for index in range(first, first + TEXTS_PER_PART):
            for number, sentence in enumerate(model.segment(texts[index])):
                names.append((f"text {index}", number))
                sentences.append(sentence.text)
        for start in range(0, len(sentences), BATCH_SIZE):
            batch = slice(start, start + BATCH_SIZE)
            vectors = model.encode(sentences[batch])
            for name, text, vector in zip(names[batch], sentences[batch], vectors, strict=True):
                rows[name] = (text, vector.tobytes())
    assert len(rows) == SENTENCES
    return rows


def rows_of(out: Path) -> Rows:
    """All rows of an output folder. A sentence that is there twice is a failure."""
    rows: Rows = {}
    for path in sorted(out.glob("part-*.parquet")):
        table = pq.read_table(path)
        assert table.schema.field("vector").type == pa.list_(pa.float32(), 256)
        vectors = np.stack(table["vector"].to_numpy())
        names = zip(table["text_id"].to_pylist(), table["sentence_number"].to_pylist(), strict=True)
        for name, sentence, vector in zip(
            names, table["sentence"].to_pylist(), vectors, strict=True
        ):
            assert name not in rows
            rows[name] = (sentence, vector.tobytes())
    return rows


def started(start: Callable[[], Any], attempts: int = 3) -> Any:
    """What this starts. On a busy machine Ray gives up too early."""
    for _ in range(attempts - 1):
        try:
            return start()
        except Exception as error:
            print(f"Ray did not start: {error}", file=sys.stderr)
    return start()


class Nodes:
    """A head node without processors, and worker nodes of one processor."""

    def __init__(self) -> None:
        head = {"num_cpus": 0, "include_dashboard": False}
        self.cluster = started(lambda: Cluster(initialize_head=True, head_node_args=head))
        self.workers: list[Any] = []
        self.fill()

    @property
    def address(self) -> str:
        return str(self.cluster.address)

    def fill(self, number: int = 2) -> None:
        """Start worker nodes until there are so many."""
        while len(self.workers) < number:
            self.workers.append(started(lambda: self.cluster.add_node(num_cpus=1)))
        self.cluster.wait_for_nodes()

    def raylet(self, node: int) -> int:
        """The process of a worker node."""
        return int(self.workers[node].all_processes["raylet"][0].process.pid)

    def actors(self) -> list[int]:
        """The processes of workers that embed."""
        raylets = {self.raylet(node) for node in range(len(self.workers))}
        return [
            pid
            for pid, parent, command in processes()
            if parent in raylets and command.startswith("ray::") and "Embedder" in command
        ]

    def kill_node(self) -> None:
        """Kill the raylet of the last worker node, which takes its workers along."""
        os.kill(self.raylet(-1), signal.SIGKILL)
        node = self.workers.pop()
        node.all_processes["raylet"][0].process.wait()
        self.cluster.remove_node(node, allow_graceful=False)


def processes() -> Iterator[tuple[int, int, str]]:
    """Process, parent and command line of all processes."""
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            command = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode()
            parent = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
        except (OSError, UnicodeDecodeError):
            continue
        yield int(folder.name), parent, command


@pytest.fixture(scope="session")
def nodes() -> Iterator[Nodes]:
    made = Nodes()
    yield made
    made.cluster.shutdown()


@pytest.fixture
def two_nodes(nodes: Nodes) -> Nodes:
    nodes.fill()
    return nodes


def command(corpus_file: Path, out: Path, *options: str) -> list[str]:
    """The example, with what these tests give it unless they give something else."""
    script = EXAMPLES / "embed_corpus.py"
    words = [sys.executable, str(script), "--out", str(out), "--id-column", "key"]
    words += ["--texts-per-part", str(TEXTS_PER_PART), "--batch-size", str(BATCH_SIZE)]
    words += ["--variant", "portable"]
    if "--model" not in options:
        words += ["--model", str(MODEL)]
    return [*words, str(corpus_file), *options]


def start(words: list[str]) -> subprocess.Popen[str]:
    """Start the example."""
    return subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def figures(process: subprocess.Popen[str]) -> dict[str, Any]:
    """Wait for the end of the example, which must be a good one."""
    output, errors = process.communicate(timeout=600)
    assert process.returncode == 0, errors
    result: dict[str, Any] = json.loads(output.splitlines()[-1])
    return result


def wait_for(what: Callable[[], bool], process: subprocess.Popen[str]) -> None:
    """Wait until this holds, while the process runs."""
    deadline = time.monotonic() + 300
    while not what():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.02)


def parts_in(out: Path) -> int:
    """How many parts are done."""
    return len(list(out.glob("part-*.parquet")))
