"""The training loop: batches in, weights out, nothing lost on the way.

A step is: the gradients of `accumulate` batches, averaged; their norm, clipped; the optimiser's update at the
schedule's rate. Everything random is a function of the seed and the step: dropout by (seed, batch number), the order of
the data by (seed, epoch). So the state of a run is its weights, its moments and a number, and a run that goes on from a
checkpoint ends with the same bits as one that was never interrupted, on the same machine with as many threads.
"""

from __future__ import annotations

import logging
import math
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np

from ..errors import InputError
from ..formats.npz import save_npz
from ..models.base import BertPreTrainedModel
from ..models.parameters import Block
from .optimisers import NotFinite, Optimiser
from .runs import Run, load_weights
from .schedules import Schedule
from .settings import Settings
from .signals import asked_to_stop

LOG = logging.getLogger("minibert")

RECENT = 64
"""Steps whose median norm a spike is measured against."""

HOPELESS = 16
"""Steps skipped in a row after which a run that skips them ends: it has diverged, and would go on for nothing."""

SAVE_AFTER = 600
"""Seconds without a checkpoint, after which one is written where nothing else says when."""


class Data(Protocol):
    """Batches in a fixed order. `batch` is a pure function of the number, so that a run goes on from a number."""

    fingerprint: str
    per_epoch: int

    def batch(self, i: int) -> dict[str, Any]:
        """The i-th batch of the run, counted through all epochs: arguments of `model.prepare`, labels among them."""
        ...


class Result(NamedTuple):
    """How a run ended."""

    step: int
    why: str  # "done", "no improvement" or "stopped", by a signal
    best_step: int | None  # of the best evaluation
    best: float | None


Metrics = Mapping[str, float]


@dataclass
class Trainer:
    """A run of training. `train()` does all of it.

    evaluate    model -> {name: number}, called without dropout; the number called `metric` decides which step was best
    larger      is more of the metric better?
    run         the folder; without one nothing is saved, and the best weights cannot come back
    others      writes the tokenizer's files into a folder, beside the model's
    listeners   are called with every record: {"step", "loss", "lr", "norm", "epoch", "tokens_per_second"} of a step,
                {"step", "dev_accuracy", ...} of an evaluation, {"step", "skipped"} of a step that was not made. The
                loss is the mean since the record before; a step's number counts it, too
    """

    model: BertPreTrainedModel
    optimiser: Optimiser
    schedule: Schedule
    data: Data
    settings: Settings = field(default_factory=Settings)
    evaluate: Callable[[BertPreTrainedModel], Metrics] | None = None
    metric: str = "loss"
    larger: bool = False
    run: Run | None = None
    others: Callable[[Path], object] | None = None
    listeners: list[Callable[[Mapping[str, Any]], object]] = field(default_factory=list)

    def train(self) -> Result:
        """Train to the end of the schedule, from the newest checkpoint of the run if there is one.

        Raises InputError for an optimiser of another model, and where the run was begun with other data, another
        schedule or other `Settings.RESULT`.
        """
        if self.optimiser.model is not self.model:
            raise InputError("optimiser: expected one of this model, got one of another", "AdamW(model)")
        self.step = 0
        self.best: float | None = None
        self.best_step: int | None = None
        self.without_improvement = self.skipped = 0
        self.norms: list[float] = []
        self._losses: list[float] = []  # since the last record
        self._tokens, self._seconds = 0, 0.0
        self._saved = -1
        self._resume()
        self._saved_at = time.monotonic()
        why = "done"
        # Overflow is found by what it leads to, a loss or a norm that is not finite; NumPy need not warn of it, too.
        with asked_to_stop() as stopped, np.errstate(all="ignore"):
            while self.step < self.schedule.steps:
                if self._given_up():
                    why = "no improvement"
                    break
                self._one_step()
                last = self.step == self.schedule.steps
                if last or _due(self.step, self.settings.log_every):
                    self._record()
                if self.evaluate and (last or _due(self.step, self.settings.eval_every)):
                    self._evaluate()
                if last or stopped() or self._time_to_save():
                    self._save()
                if stopped() and not last:
                    why = "stopped"
                    break
        if why == "no improvement":
            self._save()
        return Result(self.step, why, self.best_step, self.best)

    def restore_best(self) -> None:
        """Put the weights of the best evaluation into the model; without evaluations those of the end stay."""
        if self.run is not None and self.best_step is not None and self.best_step != self.step:
            load_weights(self.run.path_of(self.best_step), self.model)

    # ---- one step ---------------------------------------------------------------------------------------------------

    def _one_step(self) -> None:
        since = time.perf_counter()
        self.optimiser.lr = self.schedule(self.step)
        first = self.step * self.settings.accumulate
        numbers = range(first, first + self.settings.accumulate)
        try:
            loss, grads = self._gradients(numbers)
            self._refuse_spike(grads)
            norm = self.optimiser.step(grads)
        except NotFinite as error:
            self._bad(error, numbers)
            return
        self.norms = [*self.norms, norm][-RECENT:]
        self._losses.append(loss)
        self.skipped = 0
        self.step += 1
        self._seconds += time.perf_counter() - since

    def _gradients(self, numbers: range) -> tuple[float, Block]:
        """The mean loss of several batches and its gradients."""
        total: Block | None = None
        losses = []
        for i in numbers:
            prepared = self.model.prepare(**self.data.batch(i))
            if not prepared.labels:
                raise InputError(f"batch {i}: expected {' and '.join(self.model.label_names)}; without labels, no loss")
            caches: dict[str, Any] = {}
            loss, _ = self.model.loss_at(self.model.parameters, prepared, caches, self._dropout_seed(i))
            if not math.isfinite(loss):
                raise NotFinite(f"the loss of batch {i} is {loss}; nothing was changed", "lower the learning rate")
            grads, _ = self.model.grads_at(prepared, caches, 1 / len(numbers))
            losses.append(float(loss))
            self._tokens += len(prepared.batch.rows)
            if total is None:
                total = grads
            else:
                total.flat += grads.flat
        assert total is not None
        return math.fsum(losses) / len(losses), total

    def _dropout_seed(self, i: int) -> int | None:
        if self.settings.seed is None:
            return None
        return int(np.random.SeedSequence([self.settings.seed, i]).generate_state(1, np.uint64)[0] >> 1)

    def _refuse_spike(self, grads: Block) -> None:
        if self.settings.spike and len(self.norms) >= RECENT // 4:
            usual, norm = statistics.median(self.norms), self.optimiser.norm(grads)
            if 0 < self.settings.spike * usual < norm:  # usually 0 tells nothing
                raise Spike(
                    f"the gradient is {norm:.3g} long, {norm / usual:.0f} times as long as is usual",
                    "lower the learning rate, or let spike be more",
                )

    def _bad(self, error: NotFinite, numbers: range) -> None:
        """A step that must not be made: what led to it is kept for a closer look, and the run goes on, or stops."""
        kept = self._keep_batches(numbers)
        hopeless = self.skipped + 1 >= HOPELESS
        if hopeless or (self.settings.on_bad == "stop" and not isinstance(error, Spike)):
            self._save()
            where = f"step {self.step}" + f", the {HOPELESS}th in a row that is skipped" * hopeless
            hint = error.hint if hopeless else f"{error.hint}, or let on_bad skip it"
            raise NotFinite(f"{where}: {error.message}", f"{kept} holds the input; {hint}" if kept else hint)
        self.skipped += 1
        self.step += 1
        self._tell({"step": self.step, "skipped": error.message})

    def _keep_batches(self, numbers: range) -> Path | None:
        if self.run is None:
            return None
        path = self.run.folder / f"bad-step-{self.step:08}.npz"
        arrays: dict[str, Any] = {
            f"{i}/{k}": v for i in numbers for k, v in self.data.batch(i).items() if v is not None
        }
        save_npz(path, {name: np.asarray(value) for name, value in arrays.items()})
        return path

    # ---- around the steps -------------------------------------------------------------------------------------------

    def _evaluate(self) -> None:
        assert self.evaluate is not None
        metrics = dict(self.evaluate(self.model))
        if self.metric not in metrics:
            raise InputError(f"metric: expected one of {', '.join(metrics)}, got {self.metric!r}")
        value = float(metrics[self.metric])
        if math.isfinite(value) and (self.best is None or (value > self.best if self.larger else value < self.best)):
            self.best, self.best_step, self.without_improvement = value, self.step, 0
        else:
            self.without_improvement += 1
        self._tell({"step": self.step, **{f"dev_{name}": float(number) for name, number in metrics.items()}})
        if self.best_step == self.step:
            self._save()

    def _given_up(self) -> bool:
        return bool(self.settings.patience) and self.without_improvement >= self.settings.patience

    def _time_to_save(self) -> bool:
        every = self.settings.save_every or self.settings.eval_every
        return _due(self.step, every) if every else time.monotonic() - self._saved_at > SAVE_AFTER

    def _save(self) -> None:
        if self.run is None or self._saved == self.step:
            return
        state = {
            "step": self.step,
            "best": self.best,
            "best_step": self.best_step,
            "without_improvement": self.without_improvement,
            "skipped": self.skipped,
            "norms": self.norms,
            "losses": self._losses,
            "threads": _threads(self.model),
            "began_with": self._fixed(),
        }
        self.run.save(self.model, self.optimiser, state, self.others, self.settings.keep)
        self._saved, self._saved_at = self.step, time.monotonic()

    def _fixed(self) -> dict[str, Any]:
        """What decides what comes out, besides the model and the optimiser."""
        settings = {name: getattr(self.settings, name) for name in Settings.RESULT}
        return {**settings, "data": self.data.fingerprint, "steps": self.schedule.steps}

    def _resume(self) -> None:
        state = self.run.load_newest(self.model, self.optimiser) if self.run else {}
        before, fixed = state.get("began_with", {}), self._fixed()
        if changed := [f"{k} was {before[k]!r} and is {fixed[k]!r}" for k in before if before[k] != fixed[k]]:
            raise InputError(f"not the same run: {'; '.join(changed)}", "it goes on only with what it began with")
        if self.run:
            self.run.forget_after(state.get("step", 0))
            self.listeners = [*self.listeners, self.run.log]
        if not state:
            return
        self.step = self._saved = state["step"]
        self.best, self.best_step = state["best"], state["best_step"]
        self.without_improvement, self.skipped = state["without_improvement"], state["skipped"]
        self.norms, self._losses = state["norms"], state["losses"]
        LOG.info("the run goes on from step %d of %d", self.step, self.schedule.steps)
        if state["threads"] != (now := _threads(self.model)):
            LOG.info("it began on %d threads and has %d: results are equal to rounding only", state["threads"], now)

    # ---- records ----------------------------------------------------------------------------------------------------

    def _record(self) -> None:
        if self._losses:  # else all steps were skipped, which has been told
            self._tell(
                {
                    "step": self.step,
                    "loss": math.fsum(self._losses) / len(self._losses),
                    "lr": self.optimiser.lr,
                    "norm": self.norms[-1],
                    "epoch": round(self.step * self.settings.accumulate / self.data.per_epoch, 4),
                    "tokens_per_second": round(self._tokens / self._seconds) if self._seconds else 0,
                }
            )
        self._losses, self._tokens, self._seconds = [], 0, 0.0

    def _tell(self, record: Mapping[str, Any]) -> None:
        for listener in self.listeners:
            listener(record)


class Spike(NotFinite):
    """A gradient so much longer than is usual that it is not applied."""


def _due(step: int, every: int) -> bool:
    return every > 0 and step % every == 0


def _threads(model: BertPreTrainedModel) -> int:
    return model.ops.workers() if hasattr(model.ops, "workers") else 1
