"""Learning rates over the steps of a run: warm-up, then decay.

With η the peak, N steps in all, W of warm-up, and t updates done before this one:

    linear      η·t/W while t < W, then η·(N - t)/(N - W)      Hugging Face's get_linear_schedule_with_warmup
    google      η·t/W while t < W, then η·(N - t)/N            google-research/bert, optimization.py
    constant    η·t/W while t < W, then η

The first update of a warm-up has rate 0 in all of them. Google's decay counts from the first step, so the rate falls
where the warm-up ends: to 0.9 of the peak after 10 % of the steps.
"""

from __future__ import annotations

from typing import NamedTuple

from ..errors import InputError
from .optimisers import at_least_0

KINDS = ("linear", "google", "constant")


class Schedule(NamedTuple):
    """The learning rate of every update."""

    lr: float  # at its peak
    steps: int  # in all
    warmup: int = 0  # steps
    kind: str = "linear"

    def __call__(self, t: int) -> float:
        """The rate of the update before which t were done."""
        if t < self.warmup:
            return self.lr * t / self.warmup
        if self.kind == "constant":
            return self.lr
        span = self.steps - self.warmup if self.kind == "linear" else self.steps
        return self.lr * max(self.steps - t, 0) / max(span, 1)


def schedule(lr: float, steps: int, warmup: float = 0, kind: str = "linear") -> Schedule:
    """A checked schedule. warmup: steps, or a share of them if it is below 1.    -> Schedule"""
    at_least_0(lr=lr, warmup=warmup)
    if kind not in KINDS:
        raise InputError(f"schedule: expected one of {', '.join(KINDS)}, got {kind!r}")
    if not isinstance(steps, int) or steps < 1:
        raise InputError(f"steps: expected a positive integer, got {steps!r}")
    done = int(warmup * steps) if warmup < 1 else int(warmup)
    if done > steps:
        raise InputError(f"warmup: expected at most the {steps} steps of the run, got {done}")
    return Schedule(lr, steps, done, kind)
