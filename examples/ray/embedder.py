"""The worker of a run: it embeds one part after the other.

Nothing here needs Ray.
"""

from __future__ import annotations

import json
import os
import uuid
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import sllm_ort

from corpus import Part, Reader
from errors import CorpusError, RunError


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
