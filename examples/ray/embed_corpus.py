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
import json
import logging
import os
import socket
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any, cast

os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")

import pyarrow.parquet as pq
import ray
import ray.data
import sllm_ort

import corpus
import embedder
import errors
from corpus import Part, Reader, find_sources
from embedder import Embedder, Job
from errors import CorpusError, RunError
from output_folder import FORMAT, Settings, check_manifest, locked
from progress import Progress


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
        progress = Progress(len(parts), len(parts) - len(pending))
        missing = truncated = 0
        for row in embed(pending, job, arguments):
            if row["error"]:
                raise RunError(f"{row['error']}. Start the run again when this is mended")
            progress.add(row["sentences"])
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
        "new_sentences": progress.sentences,
        "seconds": round(seconds, 3),
        "sentences_per_second": None if rate is None else round(rate, 1),
    }
    print(json.dumps(figures))


def embed(parts: list[Part], job: Job, arguments: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """Do these parts with Ray Data, and yield an answer for each, in any order."""
    if not parts:
        return
    # The workers get the code of these modules in the job, and need no copy of them.
    for module in (corpus, embedder, errors):
        ray.cloudpickle.register_pickle_by_value(module)
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
