"""The training loop: steps, evaluation, checkpoints, resume, stop."""

from __future__ import annotations

import json
import math
import threading
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from sllm_export.config import ModelConfig
from sllm_export.errors import ExportError

from .batches import MixedStream, collate, echo_some, join_neighbours
from .checkpoint import STATE_FILE, load_state, save_state, save_weights
from .initial import InitialWeights
from .model import TrainedModel
from .objective import Sums
from .optimizer import Optimizer, learning_rate
from .options import Options
from .processes import rank_and_world, sum_over_processes
from .rollout import say_some
from .stages import STAGES
from .stop import note_signals

LOG_EVERY = 20


class Trainer:
    """One training, resumed from `folder` where that holds a state, else begun with the `initial`
    weights, if there are any."""

    def __init__(
        self,
        config: ModelConfig,
        options: Options,
        stream: MixedStream,
        folder: Path,
        evaluate: Callable[[TrainedModel], dict[str, Any]],
        initial: InitialWeights | None = None,
    ) -> None:
        self.config, self.options, self.stream, self.folder = config, options, stream, folder
        self.evaluate = evaluate
        self.rank, self.world = rank_and_world()
        self.stage = STAGES[options.stage](options)
        torch.manual_seed(options.seed)
        self.model = self.stage.build(config).to(options.device)
        state = load_state(folder)
        if initial and not state:
            initial.fill(self.model)
        self.optimizer = Optimizer(self.model, options.weight_decay, options.optimizer == "muon")
        self.ema = {k: v.detach().clone() for k, v in self.model.state_dict().items()}
        self.step, self.tokens, self.seconds = 0, 0, 0.0
        if state:
            self._restore(state)

    def run(self) -> dict[str, Any]:
        """Train up to `options.steps`; returns the last evaluation of the averaged weights.

        After SIGINT or SIGTERM the step is finished and saved, then ExportError says so.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        with note_signals() as wished:
            stopped = self._train(wished)
            self._save()
            if stopped:  # torchrun ends the others as soon as one is gone
                sum_over_processes([0.0])
        if stopped:
            at = f"step {self.step} of {self.options.steps}"
            raise ExportError(f"stopped and saved at {at}; the same command goes on from there")
        return self._evaluate()

    def _train(self, wished: threading.Event) -> bool:
        """Run the steps; whether a signal has ended them early."""
        options = self.options
        saved = started = time.monotonic()
        before = self.seconds
        bar = tqdm(total=options.steps, initial=self.step, disable=self.rank > 0 or None)
        recent = Sums()
        while self.step < options.steps:
            lr = learning_rate(self.step, options.steps, options.warmup, options.lr)
            # Dropout and the choice of sentences must not depend on where a training was resumed.
            # The hash of a tuple of integers is the same in every process.
            torch.manual_seed(hash((options.seed, self.step, self.rank)) % 2**31)
            sums, norm = self._step(lr)
            recent.add(sums)
            self.step += 1
            self.seconds = before + time.monotonic() - started
            bar.update()
            if self.step % LOG_EVERY == 0:
                self._log(bar, recent, lr, norm)
                recent = Sums()
            # All processes must stop after the same step, whichever has had the signal.
            if self.step < options.steps and sum_over_processes([float(wished.is_set())])[0]:
                bar.close()
                return True
            if self.step % options.evaluate_every == 0 and self.step < options.steps:
                self._evaluate()
            if time.monotonic() - saved > 60 * options.checkpoint_minutes:
                self._save()
                saved = time.monotonic()
        bar.close()
        return False

    def _step(self, lr: float) -> tuple[Sums, float]:
        options = self.options
        windows = self.stream.next_share(options.batch_tokens, self.rank, self.world)
        random = np.random.default_rng((options.seed, 2, self.step, self.rank))
        windows = echo_some(windows, options.echo_share, self.config.max_sentences, random)
        with options.autocast():
            windows = say_some(self.model, windows, options.own_share, self.config.tokens, random)
        extra = int(options.joined_share * sum(window.tokens for window in windows))
        longest = self.config.max_sentence_tokens - 1
        joined = join_neighbours(windows, extra, longest, random)
        batch = collate(windows, self.config.tokens, options.group_tokens, joined)
        scale = _total(self.stage.expected(batch))
        batch = batch.to(torch.device(options.device))
        sums = self.stage.train(self.model, batch, scale)
        norm = self.optimizer.step(lr, options.max_norm)
        if not math.isfinite(norm):
            raise ExportError(f"step {self.step}: the gradient is not finite; lower --lr")
        self.tokens += self.stage.tokens(scale)
        self._average()
        return _total(sums), norm

    @torch.no_grad()
    def _average(self) -> None:
        decay = min(self.options.ema, (1 + self.step) / (10 + self.step))
        averaged = list(self.ema.values())
        torch._foreach_lerp_(averaged, list(self.model.state_dict().values()), 1 - decay)

    def _log(self, bar: tqdm, sums: Sums, lr: float, norm: float) -> None:
        means = sums.means()
        losses = {name: means[name] for name in self.stage.losses}
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
        path = self.folder / STATE_FILE
        try:
            self.model.load_state_dict(state["model"])
            self.ema = {k: v.to(self.options.device) for k, v in state["ema"].items()}
            self.optimizer.restore(state["optimizer"])
        except (RuntimeError, KeyError, ValueError) as error:
            raise ExportError(f"{path}: belongs to another configuration") from error
        try:
            self.stream.restore(state["stream"])
        except ValueError as error:
            before = len(state["stream"]["cursors"])
            raise ExportError(f"{path}: needs as many --text as before: {before}") from error
        self.step, self.tokens, self.seconds = state["step"], state["tokens"], state["seconds"]


def _total(sums: Sums) -> Sums:
    """The sums over all processes."""
    values = sum_over_processes(list(vars(sums).values()))
    total = Sums()
    for (name, kind), value in zip(vars(sums).items(), values, strict=True):
        setattr(total, name, type(kind)(value))
    return total
