"""The training loop: steps, evaluation, saving, resuming, stopping."""

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

from .batches import MixedStream
from .evaluation import TrainedModel
from .initial import InitialWeights
from .model import Sllm
from .objective import Sums
from .optimizer import Optimizer
from .options import Options
from .processes import max_over_processes, rank_and_world, sum_over_processes
from .schedule import Clock, is_decaying, learning_rate, progress
from .stages import STAGES
from .state import (
    METRICS_FILE,
    STABLE_FILE,
    STATE_FILE,
    load_state,
    save_state,
    save_weights,
)
from .stop import note_signals
from .teacher import Teacher

LOG_EVERY = 20


class Trainer:
    """One training, resumed from `folder` where that holds a state, else begun with the `initial`
    weights, if there are any. A `teacher` gives soft targets for the next sentence."""

    def __init__(
        self,
        config: ModelConfig,
        options: Options,
        stream: MixedStream,
        folder: Path,
        evaluate: Callable[[TrainedModel], dict[str, Any]],
        initial: InitialWeights | None = None,
        teacher: Teacher | None = None,
    ) -> None:
        self.config, self.options, self.stream, self.folder = config, options, stream, folder
        self.evaluate, self.teacher = evaluate, teacher
        self.rank, self.world = rank_and_world()
        self.stage = STAGES[options.stage](options)
        torch.manual_seed(options.seed)
        self.model: TrainedModel = self.stage.build(config).to(options.device)
        state = self._state_to_resume()
        if not state:
            begin_context_bias(self.model, stream)
            if initial:
                initial.fill(self.model)
        self.optimizer = Optimizer(self.model, options.weight_decay, options.optimizer == "muon")
        self.ema = {k: v.detach().clone() for k, v in self.model.state_dict().items()}
        self.step, self.tokens, self.best_loss = 0, 0, math.inf
        self.decaying = False
        self.clock = Clock(options.device)
        if state:
            self._restore(state)

    def _state_to_resume(self) -> dict[str, Any] | None:
        """The last state, or, if this training is to be longer than that state's was, the one
        before the rate began to fall."""
        state = load_state(self.folder)
        if state and state["decaying"]:
            done = progress(self.options, state["step"], state["seconds"])
            if not is_decaying(self.options, done):
                return load_state(self.folder, STABLE_FILE) or state
        return state

    def run(self) -> dict[str, Any]:
        """Train as long as the options say; returns the last evaluation of the averaged weights.

        After SIGINT or SIGTERM the step is finished and saved, then ExportError says so.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        with note_signals() as wished:
            stopped = self._train(wished)
            report = {} if stopped else self._evaluate()
            self._save()
            if stopped:  # torchrun ends the others as soon as one is gone
                sum_over_processes([0.0])
        if stopped:
            raise ExportError(
                f"stopped and saved after step {self.step}; the same command continues from there"
            )
        return report

    def _progress(self) -> float:
        """The largest of all processes, so that all stop after the same step."""
        return max_over_processes(progress(self.options, self.step, self.clock.seconds()))

    def _train(self, wished: threading.Event) -> bool:
        """Run the steps; whether a signal has ended them early."""
        options = self.options
        saved = time.monotonic()
        bar = tqdm(total=options.steps, initial=self.step, disable=self.rank > 0 or None)
        recent = Sums()
        while (done := self._progress()) < 1:
            if is_decaying(options, done) and not self.decaying:
                self._save(STABLE_FILE)
                self.decaying = True
            lr = learning_rate(options, self.step, done)
            # Dropout and the choice of sentences must not depend on where a training was resumed.
            # The hash of a tuple of integers is the same in every process.
            torch.manual_seed(hash((options.seed, self.step, self.rank)) % 2**31)
            sums, norm = self._step(lr)
            recent.add(sums)
            self.step += 1
            bar.update()
            if self.step % LOG_EVERY == 0:
                self._log(bar, recent, lr, norm)
                recent = Sums()
            # All processes must stop after the same step, whichever has had the signal.
            if sum_over_processes([float(wished.is_set())])[0] and self._progress() < 1:
                bar.close()
                return True
            if self.step % options.evaluate_every == 0 and self._progress() < 1:
                self._evaluate()
            if time.monotonic() - saved > 60 * options.checkpoint_minutes:
                self._save()
                saved = time.monotonic()
        bar.close()
        return False

    def _step(self, lr: float) -> tuple[Sums, float]:
        options = self.options
        windows = self.stream.next_share(options.batch_tokens, self.rank, self.world)
        if self.teacher:
            windows = self.teacher.read(windows)
        random = np.random.default_rng((options.seed, 2, self.step, self.rank))
        batch = self.stage.batch(self.model, self.config, windows, random)
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
        speed = {"tokens": self.tokens, "seconds": round(self.clock.seconds(), 1)}
        self._write({"step": self.step, "lr": lr, "norm": norm, **losses, **speed})

    def _evaluate(self) -> dict[str, Any]:
        """Evaluate the averaged weights; keep them if they are the best yet."""
        if self.rank > 0:
            return {}
        trained = {k: v.detach().clone() for k, v in self.model.state_dict().items()}
        self.model.load_state_dict(self.ema)
        report = self.evaluate(self.model)
        self.model.load_state_dict(trained)
        loss = report.get("loss")
        best = loss is None or loss <= self.best_loss
        if best:
            self.best_loss = self.best_loss if loss is None else loss
            self._save_weights()
        seconds = round(self.clock.seconds(), 1)
        self._write({"step": self.step, "seconds": seconds, "best": best, "valid": report})
        return report

    def _write(self, entry: dict[str, Any]) -> None:
        if self.rank == 0:
            with (self.folder / METRICS_FILE).open("a") as file:
                file.write(json.dumps(entry) + "\n")

    def _save(self, name: str = STATE_FILE) -> None:
        if self.rank > 0:
            return
        state = {
            "model": self.model.state_dict(),
            "ema": self.ema,
            "optimizer": self.optimizer.state(),
            "stream": self.stream.state(),
            "step": self.step,
            "tokens": self.tokens,
            "seconds": self.clock.seconds(),
            "best_loss": self.best_loss,
            "decaying": self.decaying,
        }
        save_state(self.folder, state, name)
        if self.best_loss == math.inf:
            self._save_weights()

    def _save_weights(self) -> None:
        provenance = {
            "options": asdict(self.options),
            "step": self.step,
            "tokens": self.tokens,
            "seconds": round(self.clock.seconds()),
            "processes": self.world,
        }
        save_weights(self.folder, self.ema, provenance)

    def _restore(self, state: dict[str, Any]) -> None:
        path = self.folder / STATE_FILE
        try:
            self.model.load_state_dict(state["model"])
            for name, average in self.ema.items():
                average.copy_(state["ema"][name])
            self.optimizer.restore(state["optimizer"])
        except (RuntimeError, LookupError, ValueError, TypeError, AttributeError) as error:
            raise ExportError(f"{path}: belongs to another configuration") from error
        try:
            self.stream.restore(state["stream"])
        except ValueError as error:
            before = len(state["stream"]["cursors"])
            raise ExportError(f"{path}: needs as many --text as before: {before}") from error
        except (LookupError, TypeError) as error:
            raise ExportError(f"{path}: is no state of a training") from error
        self.step, self.tokens = state["step"], state["tokens"]
        self.best_loss, self.decaying = state["best_loss"], state["decaying"]
        self.clock = Clock(self.options.device, state["seconds"])


def begin_context_bias(model: TrainedModel, stream: MixedStream) -> None:
    """Begin a context bias, if the model has one, with what a unigram cache gives."""
    if isinstance(model, Sllm) and (bias := model.svae.decoder.context_bias) is not None:
        bias.begin(stream.token_shares(len(bias.constant)))


def _total(sums: Sums) -> Sums:
    """The sums over all processes."""
    values = sum_over_processes(list(vars(sums).values()))
    total = Sums()
    for (name, kind), value in zip(vars(sums).items(), values, strict=True):
        setattr(total, name, type(kind)(value))
    return total
