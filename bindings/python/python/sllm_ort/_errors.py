"""The exceptions of the package."""

from __future__ import annotations

from os import PathLike


class Error(Exception):
    """The base class of all errors of this package."""


class ArgumentError(Error, ValueError):
    """An argument is out of range, or not supported by this model."""


class ContextFullError(ArgumentError):
    """A text does not fit into the context."""


class BusyError(Error, RuntimeError):
    """A session or an iterator is in use."""


class SnapshotError(Error, ValueError):
    """A saved session is damaged, or belongs to another model."""


class BundleError(Error):
    """A file of the bundle is not what it should be."""


class OnnxRuntimeError(Error):
    """ONNX Runtime or an execution provider cannot be loaded, or failed."""


class FileError(Error, OSError):
    """A file cannot be read or written; `filename` names it."""

    def __init__(
        self,
        message: str,
        number: int | None = None,
        filename: str | PathLike[str] | None = None,
    ) -> None:
        super().__init__(message)
        self.errno = number
        self.filename = filename

    def __str__(self) -> str:
        return str(self.args[0])

    def __reduce__(self) -> tuple[type[FileError], tuple[object, ...]]:
        return type(self), (self.args[0], self.errno, self.filename)


class MissingFileError(FileError, FileNotFoundError):
    """A file or a directory does not exist."""


class NotADirectoryFileError(FileError, NotADirectoryError):
    """A path that should be a directory is a file."""
