"""The training loop: steps, evaluation, checkpoints, resume."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor
from tqdm import tqdm

from .batches import MixedStream, collate, echo_some, join_neighbours
from .checkpoint import load_state, save_state, save_weights
from .model import Sllm
from .objective import Sums, Weights, expected_sums, train_batch
from .optimizer import Optimizer, learning_rate


@dataclass
class Options:
    """Settings of one training; every number that the result depends on."""

    steps: int
    batch_tokens: int = 8192
    group_tokens: int = 1024
    lr: float = 2e-3
    warmup: int = 100
    weight_decay: float = 0.01
    max_norm: float = 1.0
    ema: float = 0.999
    dropout: float = 0.0
    reconstruction_weight: float = 1.0
    joined_share: float = 0.0
    echo_share: float = 0.0
    repetition_weight: float = 0.0
    seed: int = 1
    checkpoint_minutes: float = 5.0
    evaluate_every: int = 500
    precision: str = "bf16"
    device: str = "cpu"

    def autocast(self) -> torch.autocast:
        enabled = self.precision == "bf16"
        return torch.autocast(self.device, dtype=torch.bfloat16, enabled=enabled)


class Trainer:
    """One training, resumed from `folder` where that holds a state."""

    def __init__(
        self,
        config: dict[str, Any],
        options: Options,
        stream: MixedStream,
        folder: Path,
        evaluate: Callable[[Sllm], dict[str, Any]],
    ) -> None:
        self.config, self.options, self.stream, self.folder = config, options, stream, folder
        self.evaluate = evaluate
        self.rank = dist.get_rank() if dist.is_initialized() else 0
        self.world = dist.get_world_size() if dist.is_initialized() else 1
        torch.manual_seed(options.seed)
        self.model = Sllm(config, options.dropout).to(options.device)
        self.optimizer = Optimizer(self.model, options.weight_decay)
        self.ema = {k: v.detach().clone() for k, v in self.model.state_dict().items()}
        self.step, self.tokens, self.seconds = 0, 0, 0.0
        if state := load_state(folder):
            self._restore(state)

    def run(self) -> dict[str, Any]:
        """Train up to `options.steps`; returns the last evaluation of the averaged weights."""
        options = self.options
        self.folder.mkdir(parents=True, exist_ok=True)
        saved = started = time.monotonic()
        before = self.seconds
        bar = tqdm(total=options.steps, initial=self.step, disable=self.rank > 0 or None)
        recent = Sums()
        while self.step < options.steps:
            lr = learning_rate(self.step, options.steps, options.warmup, options.lr)
            # Dropout and the choice of sentences must not depend on where a training was resumed.
            torch.manual_seed(hash((options.seed, self.step, self.rank)) % 2**31)
            sums, norm = self._step(lr)
            recent.add(sums)
            self.step += 1
            self.seconds = before + time.monotonic() - started
            bar.update()
            if self.step % 20 == 0:
                self._log(bar, recent, lr, norm)
                recent = Sums()
            if self.step % options.evaluate_every == 0 and self.step < options.steps:
                self._evaluate()
            if time.monotonic() - saved > 60 * options.checkpoint_minutes:
                self._save()
                saved = time.monotonic()
        bar.close()
        self._save()
        return self._evaluate()

    def _step(self, lr: float) -> tuple[Sums, float]:
        options = self.options
        windows = self.stream.next_share(options.batch_tokens, self.rank, self.world)
        random = np.random.default_rng((options.seed, 2, self.step, self.rank))
        longest = self.config["max_sentences"]
        windows = echo_some(windows, options.echo_share, longest, random)
        extra = int(options.joined_share * sum(window.tokens for window in windows))
        joined = join_neighbours(windows, extra, random)
        batch = collate(windows, self.config, options.group_tokens, joined)
        scale = _sum_over_processes(expected_sums(batch))
        weights = Weights(
            reconstruction=options.reconstruction_weight, repetition=options.repetition_weight
        )
        batch = batch.to(torch.device(options.device))
        sums = train_batch(self.model, batch, weights, scale, options.autocast())
        norm = self.optimizer.step(lr, options.max_norm)
        if not math.isfinite(norm):
            raise FloatingPointError(f"step {self.step}: the gradient is not finite; lower the lr")
        self.tokens += scale.following_tokens
        self._average()
        return _sum_over_processes(sums), norm

    @torch.no_grad()
    def _average(self) -> None:
        decay = min(self.options.ema, (1 + self.step) / (10 + self.step))
        averaged = list(self.ema.values())
        torch._foreach_lerp_(averaged, list(self.model.state_dict().values()), 1 - decay)

    def _log(self, bar: tqdm, sums: Sums, lr: float, norm: float) -> None:
        losses = {
            "reconstruction": sums.reconstruction / max(1, sums.reconstruction_tokens),
            "next_sentence": sums.following / max(1, sums.following_tokens),
            "stop": sums.stop / max(1, sums.sentences),
        }
        bar.set_postfix({name: f"{value:.3f}" for name, value in losses.items()})
        speed = {"tokens": self.tokens, "seconds": round(self.seconds, 1)}
        self._write({"step": self.step, "lr": lr, "norm": norm, **losses, **speed})

    def _evaluate(self) -> dict[str, Any]:
        if self.rank > 0:
            return {}
        trained = {k: v.detach().clone() for k, v in self.model.state_dict().items()}
        self.model.load_state_dict(self.ema)
        report = self.evaluate(self.model)
        self.model.load_state_dict(trained)
        self._write({"step": self.step, "seconds": round(self.seconds, 1), "valid": report})
        return report

    def _write(self, entry: dict[str, Any]) -> None:
        if self.rank == 0:
            with (self.folder / "metrics.jsonl").open("a") as file:
                file.write(json.dumps(entry) + "\n")

    def _save(self) -> None:
        if self.rank > 0:
            return
        state = {
            "model": self.model.state_dict(),
            "ema": self.ema,
            "optimizer": self.optimizer.state(),
            "stream": self.stream.state(),
            "step": self.step,
            "tokens": self.tokens,
            "seconds": self.seconds,
        }
        save_state(self.folder, state)
        provenance = {
            "options": asdict(self.options),
            "step": self.step,
            "tokens": self.tokens,
            "seconds": round(self.seconds),
            "processes": self.world,
        }
        save_weights(self.folder, self.ema, provenance)

    def _restore(self, state: dict[str, Any]) -> None:
        self.model.load_state_dict(state["model"])
        self.ema = {k: v.to(self.options.device) for k, v in state["ema"].items()}
        self.optimizer.restore(state["optimizer"])
        self.stream.restore(state["stream"])
        self.step, self.tokens, self.seconds = state["step"], state["tokens"], state["seconds"]


def _sum_over_processes(sums: Sums) -> Sums:
    if not dist.is_initialized():
        return sums
    values: Tensor = torch.tensor(list(vars(sums).values()), dtype=torch.float64)
    dist.all_reduce(values)
    total = Sums()
    for (name, kind), value in zip(vars(sums).items(), values.tolist(), strict=True):
        setattr(total, name, type(kind)(value))
    return total
