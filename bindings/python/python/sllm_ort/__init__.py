"""Sentence-level language models (SentenceVAE, SLLM) on ONNX Runtime."""

from . import _environment as _environment
from ._errors import (
    ArgumentError,
    BundleError,
    BusyError,
    ContextFullError,
    Error,
    FileError,
    MissingFileError,
    NotADirectoryFileError,
    OnnxRuntimeError,
    SnapshotError,
)
from ._sllm_ort import Generation, Model, Session, __version__
from ._values import Appended, Continuation, Reconstruction, Sentence, TextSentence

__all__ = [
    "Appended",
    "ArgumentError",
    "BundleError",
    "BusyError",
    "ContextFullError",
    "Continuation",
    "Error",
    "FileError",
    "Generation",
    "MissingFileError",
    "Model",
    "NotADirectoryFileError",
    "OnnxRuntimeError",
    "Reconstruction",
    "Sentence",
    "Session",
    "SnapshotError",
    "TextSentence",
    "__version__",
]
