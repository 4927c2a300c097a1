"""What is refused before Ray starts."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from conftest import MODEL, TINY

import embed_corpus
import output_folder
from corpus import Reader, find_sources
from embedder import Embedder, Job
from errors import CorpusError, RunError


@pytest.fixture
def texts(tmp_path: Path) -> Path:
    folder = tmp_path / "texts"
    folder.mkdir()
    (folder / "a.txt").write_text("One fox. Two foxes.\n\nThree foxes.\n", encoding="utf-8")
    table = pa.table({"text": ["A dog.", None], "key": [7, 8]})
    pq.write_table(table, folder / "b.parquet")
    return folder


def failure(*words: str) -> str:
    """The message of a command that fails."""
    options = embed_corpus.parse(["--model", str(MODEL), "--variant", "portable", *words])
    with pytest.raises((CorpusError, RunError)) as error:
        embed_corpus.run(options)
    return str(error.value)


def begin(out: Path, texts: Path, *words: str) -> None:
    """Leave the manifest of a run, as one that was interrupted does."""
    common = ["--model", str(MODEL), "--variant", "portable", "--out", str(out), str(texts)]
    options = embed_corpus.parse([*common, *words])

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(embed_corpus, "embed", interrupted)
        with pytest.raises(KeyboardInterrupt):
            embed_corpus.run(options)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["nowhere.txt"], "nowhere.txt: no such file"),
        (["{texts}", "--text-column", "body"], 'has no column "body", but: text, key'),
        (["{texts}", "--text-column", "key"], "holds int64, not texts"),
        (["{texts}", "--id-column", "id"], 'has no column "id"'),
        (["{empty}"], "holds no file that ends in .txt or .parquet"),
        (["{damaged}"], "as parquet"),
    ],
)
def test_inputs(
    words: list[str],
    message: str,
    texts: Path,
    tmp_path: Path,
) -> None:
    (tmp_path / "empty").mkdir()
    damaged = tmp_path / "damaged.parquet"
    damaged.write_bytes(b"PAR1 and nothing else")
    names = {"texts": texts, "empty": tmp_path / "empty", "damaged": damaged}
    words = [word.format(**names) for word in words]
    assert message in failure("--out", str(tmp_path / "out"), *words)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--batch-size", "7"], "batch_size was 64, is 7"),
        (["--texts-per-part", "9"], "reader was"),
        (["--model", str(TINY)], "another model"),
        (["--variant", "cpu-int8"], 'variant was "portable", is "cpu-int8"'),
    ],
)
def test_other_settings(
    words: list[str],
    message: str,
    texts: Path,
    tmp_path: Path,
) -> None:
    begin(tmp_path / "out", texts)
    found = failure("--out", str(tmp_path / "out"), str(texts), *words)
    assert "holds a run of other settings" in found
    assert message in found


def test_a_file_that_changed(texts: Path, tmp_path: Path) -> None:
    begin(tmp_path / "out", texts)
    (texts / "a.txt").write_text("Another fox.", encoding="utf-8")
    found = failure("--out", str(tmp_path / "out"), str(texts))
    assert "files were added, removed or changed" in found


def test_two_runs_at_once(texts: Path, tmp_path: Path) -> None:
    with output_folder.locked(tmp_path / "out"):
        found = failure("--out", str(tmp_path / "out"), str(texts))
    assert "another run writes to" in found


def test_a_damaged_manifest(texts: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    for content in ("", "[]", "nothing"):
        (out / output_folder.MANIFEST).write_text(content, encoding="utf-8")
        assert "is damaged" in failure("--out", str(out), str(texts))


def test_parts_without_a_manifest(texts: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "part-000000.parquet").touch()
    assert "no _run.json" in failure("--out", str(out), str(texts))


def test_parts_hold_each_text_once(texts: Path) -> None:
    sources = find_sources([str(texts)])
    for split, lines in (("file", 1), ("line", 3)):
        for size in (1, 2, 100):
            reader = Reader(split=split, texts_per_part=size)  # type: ignore[arg-type]
            parts = reader.parts(sources)
            found = [pair for part in parts for pair in reader.texts(part)]
            assert len({name for name, _ in found}) == len(found) == lines + 2
            assert ("b.parquet:0", "A dog.") in found
            assert ("b.parquet:1", None) in found


def test_a_worker_answers_errors_and_missing_texts(texts: Path, tmp_path: Path) -> None:
    (texts / "c.txt").write_bytes(b"\xff\xfe")
    reader = Reader(texts_per_part=2)
    parts = reader.parts(find_sources([str(texts)]))
    begin(tmp_path / "out", texts)
    manifest = json.loads((tmp_path / "out" / output_folder.MANIFEST).read_text())
    job = Job(
        model=str(MODEL),
        fingerprint=manifest["fingerprint"],
        variant="portable",
        provider="cpu",
        threads=1,
        batch_size=64,
        reader=reader,
        out=str(tmp_path / "out"),
    )
    batch = {"part": [json.dumps(part.to_dict()) for part in parts]}
    answer = Embedder(job)(batch)
    table, files = range(2)
    assert answer["sentences"][table] == 1
    assert answer["missing"][table] == 1
    assert "c.txt: not UTF-8 at byte 0" in answer["error"][files]
    assert not list((tmp_path / "out").glob(".part-*"))

    shutil.rmtree(tmp_path / "out")
    (tmp_path / "out").mkdir()
    other = Job(**{**vars(job), "fingerprint": "another"})
    answer = Embedder(other)(batch)
    assert "is another model on machine" in answer["error"][table]


@pytest.mark.parametrize("address", ["127.0.0.1:1", "127.0.0.1:port"])
def test_no_cluster(address: str) -> None:
    with pytest.raises(RunError, match=f"no Ray cluster at {address}: "):
        embed_corpus.connect(address)
