"""The work of a round: a random prompt and a greedy continuation of fixed length."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sllm_export.config import Tokens


@dataclass(frozen=True)
class Workload:
    """A prompt of `prompt_tokens` in sentences of `sentence_tokens`, then `sentences` new ones.

    New sentences have the same length; a token-level model generates as many tokens. `warmup`
    rounds precede each measured round. `seed` is the seed of the prompt. `batch` continuations of
    the same prompt are generated together; each takes in the prompt for itself.
    """

    prompt_tokens: int = 320
    sentence_tokens: int = 10
    sentences: int = 16
    threads: int = 2
    warmup: int = 1
    seed: int = 0
    batch: int = 1

    @property
    def new_tokens(self) -> int:
        """Tokens of each continuation, ends of sentences included."""
        return self.sentences * self.sentence_tokens

    def prompt(self, vocab_size: int, tokens: Tokens) -> np.ndarray:
        """Draw the prompt's ids, int64 [sentences, sentence_tokens], without bos and eos.

        pad replaces special tokens that are drawn. `sllm-ort bench` does the same, but draws other
        ids.
        """
        shape = (self.prompt_tokens // self.sentence_tokens, self.sentence_tokens)
        ids = np.random.default_rng(self.seed).integers(vocab_size, size=shape)
        return np.where(np.isin(ids, [tokens.bos, tokens.eos]), tokens.pad, ids)

    def token_prompt(self, vocab_size: int, tokens: Tokens) -> list[int]:
        """The prompt of a token-level model: bos, then all tokens of the prompt."""
        return [tokens.bos, *self.prompt(vocab_size, tokens).flatten().tolist()]


@dataclass(frozen=True)
class Seconds:
    """Times of a round in seconds: prefill of the prompt, and generation."""

    prompt: float
    generation: float


@dataclass(frozen=True)
class Speed:
    """Speeds of a round in tokens per second, of all continuations together."""

    input_tokens_per_second: float
    output_tokens_per_second: float

    @classmethod
    def of(cls, seconds: Seconds, workload: Workload) -> Speed:
        """Divide the workload's tokens by the times.

        The bos of a token-level prompt does not count, nor do the ends of sentences in the prompt
        of a sentence-level one.
        """
        return cls(
            workload.batch * workload.prompt_tokens / seconds.prompt,
            workload.batch * workload.new_tokens / seconds.generation,
        )

    def over(self, other: Speed) -> Speed:
        """Ratios to `other`: above 1 is faster."""
        return Speed(
            self.input_tokens_per_second / other.input_tokens_per_second,
            self.output_tokens_per_second / other.output_tokens_per_second,
        )
