from collections.abc import Callable, Iterable, Iterator, Sequence
from os import PathLike
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, final

import numpy as np
from numpy.typing import ArrayLike, NDArray
from typing_extensions import Self

from ._values import Appended, Continuation, Reconstruction, Sentence, TextSentence

__all__ = ["Generation", "Model", "Session", "__version__", "unpickle_model"]

__version__: str

@final
class Model:
    """A loaded bundle. It is immutable, and may be used by several threads at once.

    The first model loads ONNX Runtime: the library that ``onnxruntime`` or ``ORT_DYLIB_PATH``
    names, else that of the installed package ``onnxruntime`` (or ``onnxruntime-gpu``).
    """

    def __new__(
        cls,
        path: str | PathLike[str],
        *,
        provider: str = "auto",
        variant: str | None = None,
        threads: int | None = None,
        parallel_runs: int | None = None,
        spinning: float | None = None,
        device: int | None = None,
        memory_limit: int | None = None,
        engine_cache: str | PathLike[str] | None = None,
        onnxruntime: str | PathLike[str] | None = None,
    ) -> Self: ...
    @property
    def path(self) -> Path:
        """The directory of the bundle."""
    @property
    def name(self) -> str:
        """The name of the model."""
    @property
    def kind(self) -> str:
        """``sllm``, ``svae`` or ``opt``."""
    @property
    def variant(self) -> str:
        """The name of the variant in use."""
    @property
    def provider(self) -> str:
        """The name of the execution provider in use."""
    @property
    def hidden_size(self) -> int:
        """Length of a sentence vector."""
    @property
    def threads(self) -> int:
        """Threads that work on one graph."""
    @property
    def parallel_runs(self) -> int:
        """Maximum number of runs of a graph at the same time."""
    @property
    def fingerprint(self) -> str:
        """A hash of all that the output depends on, except the variant."""
    def session(self, prompt: str | None = None) -> Session:
        """A session with this prompt, or an empty one."""
    def generate_batch(
        self,
        contexts: Iterable[str | Session],
        *,
        max_sentences: int = 16,
        max_tokens: int | None = None,
        temperature: float | None = None,
        guidance_scale: float | None = None,
        top_k: int | None = None,
        top_p: float | None = None,
        min_p: float | None = None,
        repetition_penalty: float | None = None,
        dry_multiplier: float | None = None,
        dry_base: float | None = None,
        dry_allowed_length: int | None = None,
        no_repeat_ngram: int | None = None,
        seed: int | None = None,
        stop: str | Sequence[str] | None = None,
        best_of: int = 1,
        ignore_eos: bool = False,
        avoid_repeats: bool | None = None,
        time_limit: float | None = None,
        overflow: Literal["stop", "drop_oldest"] = "stop",
        log_probabilities: bool = False,
    ) -> list[Continuation]:
        """Continue several contexts in the same runs of the graphs. Each is a prompt or a session.

        The keywords are those of ``Session.generate``, without ``on_text``. The first context uses
        the seed, each later one the next number.
        """
    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Encode texts, each as one sentence, to vectors: float32 ``[texts, hidden_size]``."""
    def decode(self, vectors: ArrayLike) -> list[str]:
        """Decode sentence vectors ``[sentences, hidden_size]`` greedily to texts."""
    def reconstruct(self, texts: Sequence[str]) -> list[Reconstruction]:
        """Encode texts, each as one sentence, and decode their vectors again."""
    def similarity(self, one: str, other: str) -> float:
        """The cosine similarity of the vectors of two texts: -1 to 1."""
    def interpolate(self, start: str, end: str, steps: int = 5) -> list[str]:
        """Decode ``steps`` equally spaced vectors between those of two texts, ends included."""
    def segment(self, text: str) -> list[TextSentence]:
        """Cut a text into sentences as the model takes them."""
    def __reduce__(self) -> tuple[Any, ...]:
        """Path and options, from which unpickling loads the model again."""
    def __copy__(self) -> Self: ...
    def __deepcopy__(self, _memo: object) -> Self: ...

@final
class Session:
    """A context that grows: a prompt and generated sentences.

    ``Model.session`` makes one. One thread at a time may use it: a second use at the same time,
    also from the loop over a generation that has not ended, raises ``BusyError``.
    """

    @staticmethod
    def load(model: Model, path: str | PathLike[str]) -> Session:
        """Restore a session from a file that ``save`` wrote with the same model."""
    @staticmethod
    def from_bytes(model: Model, data: bytes) -> Session:
        """Restore a session from bytes that ``to_bytes`` returned with the same model."""
    @property
    def model(self) -> Model:
        """The model."""
    @property
    def text(self) -> str:
        """The text of the context: all that was appended and generated."""
    @property
    def sentences(self) -> list[str]:
        """The texts of the sentences of the context."""
    @property
    def tokens(self) -> int:
        """Number of tokens of the context."""
    @property
    def remaining(self) -> int:
        """How many more sentences (in kind ``opt`` tokens) the context can hold."""
    @property
    def memory_bytes(self) -> int:
        """Memory of the KV cache, in bytes."""
    def append(self, text: str) -> Appended:
        """Cut a text into sentences and append them.

        Ctrl-C ends it, and leaves the session as it was.
        """
    def generate(
        self,
        *,
        max_sentences: int = 16,
        max_tokens: int | None = None,
        temperature: float | None = None,
        guidance_scale: float | None = None,
        top_k: int | None = None,
        top_p: float | None = None,
        min_p: float | None = None,
        repetition_penalty: float | None = None,
        dry_multiplier: float | None = None,
        dry_base: float | None = None,
        dry_allowed_length: int | None = None,
        no_repeat_ngram: int | None = None,
        seed: int | None = None,
        stop: str | Sequence[str] | None = None,
        best_of: int = 1,
        ignore_eos: bool = False,
        avoid_repeats: bool | None = None,
        time_limit: float | None = None,
        overflow: Literal["stop", "drop_oldest"] = "stop",
        log_probabilities: bool = False,
        on_text: Callable[[str], object] | None = None,
    ) -> Generation:
        """Continue the context: an iterator over its new sentences.

        A keyword that is None, the default of most, has the value of the model's bundle.
        ``on_text`` is called with each piece of text as it is decoded.
        """
    def fork(self) -> Session:
        """A separate session with the same context."""
    def rewind(self, sentences: int = 1) -> None:
        """Remove the last sentences, or all if there are fewer."""
    def drop_oldest(self, sentences: int = 1) -> None:
        """Remove the first sentences, or all if there are fewer."""
    def clear(self) -> None:
        """Remove the whole context, and release its memory."""
    def save(self, path: str | PathLike[str]) -> None:
        """Write the session to a file, whole or not at all."""
    def to_bytes(self) -> bytes:
        """The session as bytes, which ``from_bytes`` restores."""
    def __len__(self) -> int: ...

@final
class Generation(Iterator[Sentence]):
    """The continuation of a session in progress: an iterator over its sentences.

    ``Session.generate`` makes one. The session is in use until the iterator is exhausted, closed or
    dropped, or ends with an error or an interrupt. The session then holds all sentences that were
    complete.
    """

    @property
    def finish_reason(self) -> str | None:
        """Why the generation ended; None while it is running, or after an error.

        ``stop``, ``max_sentences``, ``max_tokens``, ``context_full``, ``stop_text``, ``cancelled``
        or ``time_limit``.
        """
    @property
    def seed(self) -> int:
        """The seed: that of the keyword, or a random one."""
    def close(self) -> None:
        """End the generation, so that the session can be used again."""
    def cancel(self) -> None:
        """End the generation, from any thread, after its current graph run."""
    def __iter__(self) -> Self: ...
    def __next__(self) -> Sentence: ...
    def __enter__(self) -> Self: ...
    def __exit__(
        self,
        _exception_type: type[BaseException] | None = None,
        _exception: BaseException | None = None,
        _traceback: TracebackType | None = None,
    ) -> None: ...

def unpickle_model(path: str | PathLike[str], options: dict[str, Any]) -> Model:
    """Load a pickled model."""
