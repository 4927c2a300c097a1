"""Warm-up, stable, decay (arXiv 2404.06395): a learning rate that lets a training be prolonged.

The rate is constant until the last part of the training, so that what was trained before the decay
serves a longer training as well.
"""

from __future__ import annotations

import math
import time

import torch

from .options import Options


class Clock:
    """Seconds of training: wall-clock time on a GPU; on CPUs processor time by the number of
    threads, which stands still while the process is stopped or waits for a processor."""

    def __init__(self, device: str, before: float = 0.0) -> None:
        self._gpu = torch.device(device).type != "cpu"
        self._start = self._now() - before

    def _now(self) -> float:
        return time.monotonic() if self._gpu else time.process_time() / torch.get_num_threads()

    def seconds(self) -> float:
        """Those before this process included."""
        return self._now() - self._start


def progress(options: Options, step: int, seconds: float) -> float:
    """How much of the training is done, 0 to 1: its steps, or its minutes."""
    done = step / options.steps if options.steps else seconds / (60 * (options.minutes or 1))
    return min(done, 1.0)


def is_decaying(options: Options, done: float) -> bool:
    """Whether the decay has begun after this part of the training."""
    return done >= 1 - options.decay


def learning_rate(options: Options, step: int, done: float) -> float:
    """Linear over the first `warmup` steps, then constant; over the last part, `decay`, down to 0
    as 1 - sqrt(x)  (arXiv 2405.18392)."""
    rate = options.lr * min(1.0, (step + 1) / max(1, options.warmup))
    if not is_decaying(options, done):
        return rate
    into = (done - (1 - options.decay)) / max(options.decay, 1e-9)
    return rate * (1 - math.sqrt(min(max(into, 0.0), 1.0)))
