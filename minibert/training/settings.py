"""How a run goes, apart from its model, its data and its optimiser."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

from ..errors import InputError


@dataclass
class Settings:
    """How a run goes. A run goes on only with the same `RESULT`, as they decide what comes out; the others may change.

    accumulate    batches a step
    seed          of dropout; None turns it off
    eval_every    steps between evaluations; 0: at the end only
    save_every    steps between checkpoints; 0: at evaluations and at the end, or, without any on the way, after ten
                  minutes
    patience      evaluations without improvement after which the run ends; 0: never
    spike         a gradient so many times as long as the median of the last 64 is not applied; 0: all are
    on_bad        "stop" at a loss or gradient that is not finite, or "skip" the step; 16 skipped in a row end a run
    log_every     steps between records
    keep          checkpoints to keep, beside the best
    """

    accumulate: int = 1
    seed: int | None = 0
    eval_every: int = 0
    save_every: int = 0
    patience: int = 0
    spike: float = 0.0
    on_bad: str = "stop"
    log_every: int = 10
    keep: int = 2

    RESULT: ClassVar = ("accumulate", "seed", "eval_every", "patience", "spike")

    def __post_init__(self) -> None:
        for name, least in {"accumulate": 1, "log_every": 1, "keep": 1}.items():
            self._integer(name, least)
        for name in ("eval_every", "save_every", "patience"):
            self._integer(name, 0)
        if self.seed is not None:
            self._integer("seed", 0)
        if self.spike != 0 and not 1 < self.spike < math.inf:
            raise InputError(f"spike: expected 0, or a number above 1, got {self.spike!r}")
        if self.on_bad not in ("stop", "skip"):
            raise InputError(f"on_bad: expected stop or skip, got {self.on_bad!r}")

    def _integer(self, name: str, least: int) -> None:
        value = getattr(self, name)
        if isinstance(value, bool) or not isinstance(value, int) or value < least:
            raise InputError(f"{name}: expected an integer of at least {least}, got {value!r}")
