"""The work that every system does in a round: a random prompt, and a greedy continuation of a
given length, batch 1."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sllm_export.config import Tokens


@dataclass(frozen=True)
class Workload:
    """`prompt_tokens` in sentences of `sentence_tokens`, then `sentences` new ones of the same
    length; a token-level model generates as many tokens. `warmup` rounds go before each that
    counts; `seed` is the prompt's."""

    prompt_tokens: int = 320
    sentence_tokens: int = 10
    sentences: int = 16
    threads: int = 2
    warmup: int = 1
    seed: int = 0

    @property
    def new_tokens(self) -> int:
        """Tokens that a round generates, ends of sentences included."""
        return self.sentences * self.sentence_tokens

    def prompt(self, vocab_size: int, tokens: Tokens) -> np.ndarray:
        """Ids of the prompt, int64 [sentences of the prompt, sentence_tokens], without bos and eos.

        pad stands for special tokens that are drawn, as in `sllm-ort bench`, whose ids are others.
        """
        shape = (self.prompt_tokens // self.sentence_tokens, self.sentence_tokens)
        ids = np.random.default_rng(self.seed).integers(vocab_size, size=shape)
        return np.where(np.isin(ids, [tokens.bos, tokens.eos]), tokens.pad, ids)


@dataclass(frozen=True)
class Seconds:
    """How long the parts of a round took, in seconds: taking the prompt in, and generating."""

    prompt: float
    generation: float


@dataclass(frozen=True)
class Speed:
    """What a round tells, in tokens per second."""

    input_tokens_per_second: float
    output_tokens_per_second: float

    @classmethod
    def of(cls, seconds: Seconds, workload: Workload) -> Speed:
        """bos of a token-level prompt counts as little as the ends of sentences in the prompt of a
        sentence-level one."""
        return cls(
            workload.prompt_tokens / seconds.prompt,
            workload.new_tokens / seconds.generation,
        )

    def over(self, other: Speed) -> Speed:
        """Ratios: above 1 is faster than `other`."""
        return Speed(
            self.input_tokens_per_second / other.input_tokens_per_second,
            self.output_tokens_per_second / other.output_tokens_per_second,
        )
