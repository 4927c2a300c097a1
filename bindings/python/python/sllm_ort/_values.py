"""Values that the methods return."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Sentence:
    """A generated sentence."""

    index: int
    """Its index within this continuation, from 0."""
    text: str
    """Its text, with the white space that ends it."""
    token_ids: list[int]
    """Its output tokens: without bos, with eos if it was generated."""
    stop_probability: float
    """Probability, before this sentence, that the text is over."""
    log_probabilities: list[float] | None = None
    """Log-probability of each output token, before penalties; `None` unless asked for."""


@dataclass(frozen=True, slots=True)
class Continuation:
    """A whole continuation."""

    sentences: list[Sentence]
    """Its sentences."""
    finish_reason: str
    """Why it ended; see `Generation.finish_reason`."""

    @property
    def text(self) -> str:
        """The text of its sentences."""
        return "".join(sentence.text for sentence in self.sentences)


@dataclass(frozen=True, slots=True)
class Appended:
    """What `Session.append` added to the context."""

    sentences: int
    """Sentences that were added to the context."""
    truncated: int
    """How many of them were truncated by the bundle's segmentation."""
    dropped: str
    """The end of the text, if the bundle's segmentation dropped it; else empty."""


@dataclass(frozen=True, slots=True)
class Reconstruction:
    """A sentence that was encoded and decoded again."""

    input: str
    """The sentence."""
    input_ids: list[int]
    """Its tokens, without bos and eos."""
    output: str
    """The decoded text."""
    output_ids: list[int]
    """The output tokens: without bos, with eos if it was generated."""
    exact: bool
    """Whether the output tokens are the input tokens followed by eos."""


@dataclass(frozen=True, slots=True)
class TextSentence:
    """A sentence of a text, as a model takes it."""

    text: str
    """The sentence as it stands in the text, spaces after it included."""
    token_ids: list[int]
    """Its token ids, without bos and eos."""
    truncated: bool
    """Whether the token ids are only the beginning of the sentence."""
