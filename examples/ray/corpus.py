"""A corpus of texts in files, cut into parts that are worked on one at a time.

A part is named by file, first text and number of texts, so that every machine that sees the files
reads the same texts from it. Nothing here needs Ray.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa
import pyarrow.parquet as pq

from errors import CorpusError

Split = Literal["file", "line"]

SUFFIXES = (".txt", ".parquet")


@dataclass(frozen=True)
class Source:
    """A file of the corpus."""

    path: str
    """The absolute path."""
    name: str
    """The path below the folder that was given; text ids begin with it."""
    size: int
    modified_ns: int


@dataclass(frozen=True)
class Slice:
    """Texts of a file that follow each other."""

    path: str
    name: str
    first: int
    """The number of the first text, from 0: a row of a table or a line."""
    texts: int
    offset: int = 0
    """Where the first line begins, in bytes."""


@dataclass(frozen=True)
class Part:
    """What is read, embedded and written in one piece."""

    number: int
    slices: tuple[Slice, ...]

    @property
    def file_name(self) -> str:
        """The name of the output file."""
        return f"part-{self.number:06}.parquet"

    def to_dict(self) -> dict[str, Any]:
        """A form that Ray Data takes as a row."""
        return asdict(self)

    @classmethod
    def from_dict(cls, value: dict[str, Any]) -> Part:
        """The part that `to_dict` was called on."""
        return cls(int(value["number"]), tuple(Slice(**piece) for piece in value["slices"]))


@dataclass(frozen=True)
class Reader:
    """How texts are read from files."""

    text_column: str = "text"
    id_column: str | None = None
    """None: the ids are file names with numbers of rows or lines."""
    split: Split = "file"
    """What a text is in a text file."""
    texts_per_part: int = 1000

    def parts(self, sources: Sequence[Source]) -> list[Part]:
        """Cut these files into parts. The same files always give the same parts."""
        slices: list[tuple[Slice, ...]] = []
        whole: list[Slice] = []
        for source in sources:
            if is_table(source.path):
                rows = self._rows(source)
                slices.extend(
                    (self._slice(source, first, rows),)
                    for first in range(0, rows, self.texts_per_part)
                )
            elif self.split == "line":
                slices.extend((piece,) for piece in self._lines(source))
            else:
                whole.append(Slice(source.path, source.name, 0, 1))
        slices.extend(
            tuple(whole[first : first + self.texts_per_part])
            for first in range(0, len(whole), self.texts_per_part)
        )
        return [Part(number, group) for number, group in enumerate(slices)]

    def texts(self, part: Part) -> Iterator[tuple[str, str | None]]:
        """Ids and texts of a part. A row of a table may have no text."""
        for piece in part.slices:
            if is_table(piece.path):
                yield from self._table_texts(piece)
            elif self.split == "line":
                yield from line_texts(piece)
            else:
                yield piece.name, decoded(read_file(piece.path), piece.path)

    def _slice(self, source: Source, first: int, rows: int) -> Slice:
        texts = min(self.texts_per_part, rows - first)
        return Slice(source.path, source.name, first, texts)

    def _rows(self, source: Source) -> int:
        """The number of rows of a table, whose columns are checked."""
        with open_table(source.path) as table:
            schema = table.schema_arrow
            for column in filter(None, (self.text_column, self.id_column)):
                if column not in schema.names:
                    names = ", ".join(schema.names)
                    raise CorpusError(f'{source.path} has no column "{column}", but: {names}')
            kind = schema.field(self.text_column).type
            if not (pa.types.is_string(kind) or pa.types.is_large_string(kind)):
                raise CorpusError(
                    f'column "{self.text_column}" of {source.path} holds {kind}, not texts'
                )
            return int(table.metadata.num_rows)

    def _table_texts(self, piece: Slice) -> Iterator[tuple[str, str | None]]:
        columns = [self.text_column, *([self.id_column] if self.id_column else [])]
        with open_table(piece.path) as table:
            metadata = table.metadata
            groups: list[int] = []
            begin = first_row = 0
            for group in range(metadata.num_row_groups):
                end = begin + metadata.row_group(group).num_rows
                if end > piece.first and begin < piece.first + piece.texts:
                    first_row = first_row if groups else begin
                    groups.append(group)
                begin = end
            number = first_row
            for batch in table.iter_batches(row_groups=groups, columns=columns):
                rows = batch.to_pydict()
                for index, text in enumerate(rows[self.text_column], start=number):
                    if piece.first <= index < piece.first + piece.texts:
                        key = rows[self.id_column][index - number] if self.id_column else None
                        yield f"{piece.name}:{index}" if key is None else str(key), text
                number += batch.num_rows

    def _lines(self, source: Source) -> Iterator[Slice]:
        first, number, begin, offset = 0, 0, 0, 0
        try:
            with Path(source.path).open("rb") as file:
                for number, line in enumerate(file, start=1):
                    offset += len(line)
                    if number - first == self.texts_per_part:
                        yield Slice(source.path, source.name, first, number - first, begin)
                        first, begin = number, offset
        except OSError as error:
            raise CorpusError(f"cannot read {source.path}: {error.strerror}") from error
        if number > first:
            yield Slice(source.path, source.name, first, number - first, begin)


def find_sources(paths: Sequence[str]) -> list[Source]:
    """The text files and tables that these paths name, folders with all below them."""
    sources: dict[str, Source] = {}
    for path in (Path(name) for name in paths):
        if path.is_dir():
            files = sorted(p for p in path.rglob("*") if p.suffix in SUFFIXES and p.is_file())
            names = [file.relative_to(path).as_posix() for file in files]
            if not files:
                raise CorpusError(f"{path} holds no file that ends in {' or '.join(SUFFIXES)}")
        elif path.is_file():
            files, names = [path], [path.name]
        else:
            raise CorpusError(f"{path}: no such file")
        for file, name in zip(files, names, strict=True):
            state = file.stat()
            source = Source(str(file.resolve()), name, state.st_size, state.st_mtime_ns)
            other = sources.setdefault(name, source)
            if other.path != source.path:
                raise CorpusError(
                    f"{other.path} and {source.path} would have the same text ids. Name a folder "
                    "above both"
                )
    return [sources[name] for name in sorted(sources)]


def is_table(path: str) -> bool:
    """Whether this is a parquet file."""
    return path.endswith(".parquet")


def open_table(path: str) -> pq.ParquetFile:
    """Open a parquet file."""
    try:
        return pq.ParquetFile(path)
    except FileNotFoundError as error:
        raise CorpusError(f"{path}: no such file on this machine") from error
    except (OSError, pa.ArrowException) as error:
        raise CorpusError(f"cannot read {path} as parquet: {error}") from error


def read_file(path: str) -> bytes:
    """All of a file."""
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise CorpusError(f"cannot read {path}: {error.strerror}") from error


def line_texts(piece: Slice) -> Iterator[tuple[str, str]]:
    """Lines of a text file, each with its number from 0."""
    try:
        with Path(piece.path).open("rb") as file:
            file.seek(piece.offset)
            for number in range(piece.first, piece.first + piece.texts):
                line = file.readline().rstrip(b"\r\n")
                yield f"{piece.name}:{number}", decoded(line, f"{piece.path}, line {number + 1}")
    except OSError as error:
        raise CorpusError(f"cannot read {piece.path}: {error.strerror}") from error


def decoded(data: bytes, where: str) -> str:
    """Text in UTF-8, of which a byte order mark is no part."""
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise CorpusError(f"{where}: not UTF-8 at byte {error.start}") from error
