"""Embed the sentences of a corpus with Ray Data, on one machine or a cluster.

    python embed_corpus.py --model MODEL --out FOLDER TEXTS...

TEXTS are text files, parquet files, or folders of them. The corpus is cut into parts. A worker
takes a part, cuts its texts into sentences, embeds them, and writes one parquet file for the part,
which has its final name only when it is whole. A run that was interrupted, and is started again,
does the parts whose files are missing. So each sentence is written exactly once, whatever dies.

All machines must see the model, the texts and the output folder under the same paths.
"""

from __future__ import annotations

import argparse
import fcntl
import json
import logging
import os
import socket
import sys
import time
import uuid
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, cast

os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import ray
import ray.data
import sllm_ort

import corpus
from corpus import CorpusError, Part, Reader, find_sources

MANIFEST = "_run.json"
LOCK = "_lock"
FORMAT = 1


class RunError(Exception):
    """A run that cannot start or go on, and what to do."""


@dataclass(frozen=True)
class Settings:
    """All that decides what the output files hold."""

    format: int
    model: str
    fingerprint: str
    variant: str
    provider: str
    hidden_size: int
    batch_size: int
    reader: dict[str, Any]
    files: list[dict[str, Any]]


@dataclass(frozen=True)
class Job:
    """What a worker needs to know."""

    model: str
    fingerprint: str
    variant: str
    provider: str
    threads: int
    batch_size: int
    reader: Reader
    out: str


class Embedder:
    """A worker: it loads the model once, and then embeds one part after the other."""

    def __init__(self, job: Job) -> None:
        self.job = job
        self.model: sllm_ort.Model | None = None

    def __call__(self, batch: dict[str, Any]) -> dict[str, list[Any]]:
        """Do the parts of a batch. An error is an answer: Ray would repeat the part."""
        rows = []
        for line in batch["part"]:
            part = Part.from_dict(json.loads(str(line)))
            try:
                rows.append(self.part(part))
            except (CorpusError, OSError, RunError, sllm_ort.Error) as error:
                rows.append(summary(part, error=f"part {part.number}: {error}"))
        return {name: [row[name] for row in rows] for name in rows[0]}

    def part(self, part: Part) -> dict[str, Any]:
        """Write the output file of a part, if it is not there yet."""
        target = Path(self.job.out, part.file_name)
        if target.exists():
            return summary(part, sentences=pq.read_metadata(target).num_rows)
        table, missing, truncated = self.table(part)
        temporary = target.with_name(f".{target.name}.{uuid.uuid4().hex}.tmp")
        with temporary.open("wb") as file:
            pq.write_table(table, file)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(target)
        return summary(part, sentences=table.num_rows, missing=missing, truncated=truncated)

    def table(self, part: Part) -> tuple[pa.Table, int, int]:
        """The sentences of a part; how many texts are missing, and sentences cut short."""
        model = self.loaded()
        ids, numbers, sentences, missing, truncated = [], [], [], 0, 0
        for text_id, text in self.job.reader.texts(part):
            if text is None:
                missing += 1
                continue
            try:
                found = model.segment(text)
            except sllm_ort.Error as error:
                raise RunError(f"{text_id}: {error}") from error
            for number, sentence in enumerate(found):
                ids.append(text_id)
                numbers.append(number)
                sentences.append(sentence.text)
                truncated += sentence.truncated
        vectors = np.zeros((len(sentences), model.hidden_size), dtype=np.float32)
        size = self.job.batch_size
        # Sentences cut short are counted, in place of a warning for each.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)
            for start in range(0, len(sentences), size):
                try:
                    vectors[start : start + size] = model.encode(sentences[start : start + size])
                except sllm_ort.Error as error:
                    raise RunError(f"sentences from {ids[start]} on: {error}") from error
        columns = [
            pa.array(ids, pa.string()),
            pa.array(numbers, pa.int32()),
            pa.array(sentences, pa.string()),
            pa.FixedSizeListArray.from_arrays(pa.array(vectors.reshape(-1)), model.hidden_size),
        ]
        table = pa.Table.from_arrays(columns, schema=schema(self.job, model.hidden_size))
        return table, missing, truncated

    def loaded(self) -> sllm_ort.Model:
        """The model, which must be the one that the run began with."""
        if self.model is None:
            job = self.job
            model = sllm_ort.Model(
                job.model, variant=job.variant, provider=job.provider, threads=job.threads
            )
            if model.fingerprint != job.fingerprint:
                raise RunError(
                    f"{job.model} is another model on machine {os.uname().nodename} than on the "
                    "one where the run was started. Put the same bundle on all machines"
                )
            self.model = model
        return self.model


def schema(job: Job, hidden_size: int) -> pa.Schema:
    """The columns of the output. The model is told in the metadata of each file."""
    fields = [
        pa.field("text_id", pa.string(), nullable=False),
        pa.field("sentence_number", pa.int32(), nullable=False),
        pa.field("sentence", pa.string(), nullable=False),
        pa.field("vector", pa.list_(pa.float32(), hidden_size), nullable=False),
    ]
    about = {"sllm_ort.fingerprint": job.fingerprint, "sllm_ort.variant": job.variant}
    return pa.schema(fields, metadata=about)


def summary(
    part: Part, sentences: int = 0, missing: int = 0, truncated: int = 0, error: str = ""
) -> dict[str, Any]:
    """What a worker answers for a part."""
    return {
        "part": part.number,
        "sentences": sentences,
        "missing": missing,
        "truncated": truncated,
        "error": error,
    }


@contextmanager
def locked(out: Path) -> Iterator[None]:
    """Keep other runs out of the output folder. The lock ends with the process."""
    try:
        out.mkdir(parents=True, exist_ok=True)
        file = (out / LOCK).open("w")
    except OSError as error:
        raise RunError(f"cannot write to {out}: {error.strerror}") from error
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise RunError(f"another run writes to {out}. Wait for it, or end it") from error
        yield


def check_manifest(out: Path, settings: Settings) -> None:
    """Write the manifest of a new run. Refuse to continue a run of other settings."""
    path = out / MANIFEST
    wanted = json.loads(json.dumps(asdict(settings)))
    if not path.exists():
        if any(out.glob("part-*.parquet")):
            raise RunError(f"{out} holds parts but no {MANIFEST}. Name another folder with --out")
        temporary = out / f".{MANIFEST}.tmp"
        temporary.write_text(json.dumps(wanted, indent=1) + "\n", encoding="utf-8")
        temporary.replace(path)
        return
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        differing = [name for name in wanted if found.get(name) != wanted[name]]
    except (ValueError, AttributeError) as error:
        raise RunError(f"{path} is damaged: {error}. Name another folder with --out") from error
    if differing:
        changes = "; ".join(describe(name, found.get(name), wanted[name]) for name in differing)
        raise RunError(
            f"{out} holds a run of other settings: {changes}. Use the same ones to continue it, "
            "or name another folder with --out"
        )


def describe(name: str, found: Any, wanted: Any) -> str:
    """How a setting of the manifest differs from that of this run."""
    if name == "files":
        return "files were added, removed or changed"
    if name == "fingerprint":
        return "another model"
    return f"{name} was {json.dumps(found)}, is {json.dumps(wanted)}"


class Progress:
    """A bar on a terminal, else a line every ten seconds."""

    def __init__(self, parts: int, done: int) -> None:
        self.parts, self.done, self.before = parts, done, done
        self.sentences = 0
        self.timed = 0
        self.start = self.shown = time.monotonic()
        self.terminal = sys.stderr.isatty()

    def add(self, sentences: int) -> None:
        """A part is done."""
        now = time.monotonic()
        if self.done == self.before:
            # The first part took the start of Ray, of the workers and of the model besides.
            self.start = now
        else:
            self.timed += sentences
        self.done += 1
        self.sentences += sentences
        if now - self.shown >= (0.2 if self.terminal else 10) or self.done == self.parts:
            self.shown = now
            self.show()

    def rate(self) -> float | None:
        """Sentences per second since the first part was done."""
        seconds = time.monotonic() - self.start
        return self.timed / seconds if self.timed and seconds > 0 else None

    def show(self) -> None:
        """Print the state."""
        full = 30 * self.done // self.parts
        text = (
            f"[{'#' * full}{'.' * (30 - full)}] {self.done}/{self.parts} parts, "
            f"{self.sentences:,} sentences"
        )
        if (rate := self.rate()) is not None:
            seconds = (time.monotonic() - self.start) / (self.done - self.before - 1)
            left = seconds * (self.parts - self.done)
            text += f", {rate:,.0f}/s, {left / 60:.0f} min left"
        end = "\n" if not self.terminal or self.done == self.parts else ""
        start = "\r" if self.terminal else ""
        print(f"{start}{text}", end=end, file=sys.stderr, flush=True)


def run(arguments: argparse.Namespace) -> None:
    """Embed the corpus, or what is left of it."""
    started = time.monotonic()
    out = Path(arguments.out).resolve()
    reader = Reader(
        text_column=arguments.text_column,
        id_column=arguments.id_column,
        split=arguments.split,
        texts_per_part=arguments.texts_per_part,
    )
    sources = find_sources(arguments.texts)
    parts = reader.parts(sources)
    if not parts:
        raise RunError("the corpus holds no texts")
    model = sllm_ort.Model(
        arguments.model, variant=arguments.variant, provider=arguments.provider, threads=1
    )
    if model.kind == "opt":
        raise RunError(f"{arguments.model} is a token-level model, which has no sentence vectors")
    settings = Settings(
        format=FORMAT,
        model=model.name,
        fingerprint=model.fingerprint,
        variant=model.variant,
        provider=model.provider,
        hidden_size=model.hidden_size,
        batch_size=arguments.batch_size,
        reader=asdict(reader),
        files=[asdict(source) for source in sources],
    )
    job = Job(
        model=str(Path(arguments.model).resolve()),
        fingerprint=model.fingerprint,
        variant=model.variant,
        provider=model.provider,
        threads=arguments.threads,
        batch_size=arguments.batch_size,
        reader=reader,
        out=str(out),
    )
    del model
    with locked(out):
        check_manifest(out, settings)
        pending = [part for part in parts if not (out / part.file_name).exists()]
        if len(pending) < len(parts):
            print(f"{len(parts) - len(pending)} of {len(parts)} parts are done", file=sys.stderr)
        missing = truncated = sentences = 0
        rate = None
        if pending:
            progress = Progress(len(parts), len(parts) - len(pending))
            for row in embed(pending, job, arguments):
                if row["error"]:
                    raise RunError(f"{row['error']}. Start the run again when this is mended")
                progress.add(row["sentences"])
                sentences += row["sentences"]
                missing += row["missing"]
                truncated += row["truncated"]
            rate = progress.rate()
        for stale in out.glob(".part-*.tmp"):
            stale.unlink(missing_ok=True)
        total = sum(pq.read_metadata(out / part.file_name).num_rows for part in parts)
    seconds = time.monotonic() - started
    if missing:
        print(f"{missing} rows hold no text", file=sys.stderr)
    if truncated:
        print(f"{truncated} sentences were cut short by the model", file=sys.stderr)
    figures = {
        "parts": len(parts),
        "sentences": total,
        "new_sentences": sentences,
        "seconds": round(seconds, 3),
        "sentences_per_second": None if rate is None else round(rate, 1),
    }
    print(json.dumps(figures))


def embed(parts: list[Part], job: Job, arguments: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """Do these parts with Ray Data, and yield an answer for each, in any order."""
    # The workers get this module's helper in the job, and need no copy of it.
    ray.cloudpickle.register_pickle_by_value(corpus)
    connect(arguments.address)
    processors = int(ray.cluster_resources().get("CPU", 0)) // job.threads
    if processors == 0:
        raise RunError(f"no machine of the cluster is there for --threads {job.threads}")
    actors = min(arguments.actors or processors, len(parts))
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    rows = [{"part": json.dumps(part.to_dict())} for part in parts]
    # Of at least one worker, not of a fixed number: where a machine died and the others are full,
    # a worker that has nothing to do makes room for the one that waits with a part.
    dataset = ray.data.from_items(rows, override_num_blocks=len(rows)).map_batches(
        Embedder,
        fn_constructor_args=(job,),
        batch_size=1,
        num_cpus=job.threads,
        compute=ray.data.ActorPoolStrategy(min_size=1, max_size=actors),
    )
    try:
        yield from cast(Iterator[dict[str, Any]], dataset.iter_rows())
    finally:
        # Ray prints to stdout, where the figures come last.
        ray.shutdown()


def connect(address: str | None) -> None:
    """Join the cluster with this address, or start Ray on this machine."""
    if ray.is_initialized():
        return
    host, colon, port = (address or "").rpartition(":")
    if colon and "/" not in host:
        # Ray itself tries for minutes.
        try:
            socket.create_connection((host.strip("[]"), int(port)), timeout=10).close()
        except (OSError, ValueError) as error:
            raise RunError(f"no Ray cluster at {address}: {error}") from error
    options: dict[str, Any] = {"include_dashboard": False} if address is None else {}
    try:
        ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR, **options)
    except (ConnectionError, ValueError) as error:
        raise RunError(f"no Ray cluster at {address}: {error}") from error


def positive(text: str) -> int:
    """A number of at least 1."""
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("must be at least 1")
    return number


def parse(words: list[str] | None = None) -> argparse.Namespace:
    """The options."""
    parser = argparse.ArgumentParser(description="Embed the sentences of a corpus with Ray Data.")
    add = parser.add_argument
    add("texts", nargs="+", help="text files, parquet files, or folders of them")
    add("--model", required=True, help="folder of the bundle, the same on all machines")
    add("--out", required=True, help="output folder, the same on all machines")
    add("--address", help='address of a Ray cluster, or "auto"; else Ray starts here')
    add("--actors", type=positive, help="workers (default: processors / threads)")
    add("--threads", type=positive, default=1, help="threads of a worker (default 1)")
    add("--batch-size", type=positive, default=64, help="sentences of a run (default 64)")
    add("--variant", help="variant of the bundle (default: the best for the provider)")
    add("--provider", default="auto", help="execution provider (default auto)")
    add("--text-column", default="text", help="column of parquet files (default text)")
    add("--id-column", help="column of text ids (default: file name and row)")
    add("--split", choices=("file", "line"), default="file", help="a text in a text file is")
    add("--texts-per-part", type=positive, default=1000, help="texts of a part (default 1000)")
    return parser.parse_args(words)


def main() -> int:
    """Run with the options of the command line."""
    try:
        run(parse())
    except (CorpusError, RunError, OSError, sllm_ort.Error) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\ninterrupted: start the same command again to continue", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
