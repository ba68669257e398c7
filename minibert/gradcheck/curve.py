"""The error of numerical derivatives against the step: the picture behind every choice of one.

Coming from large steps the error falls as h^p (truncation; p is the method's order), and below the best step it rises
as 1/h (the noise e_f of f, divided by ever smaller steps). The complex step has no subtraction, so it never rises.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from .derivatives import central, complex_step, richardson
from .noise import ROUNDING, noise
from .steps import NOISE_WEIGHT, best_difference

Array = Any


def forward(f: Callable[[Array], Array], x: Array, v: Array, h: float) -> Array:
    """(f(x + hv) - f(x))/h; error O(h) + noise/h."""
    return (np.asarray(f(x + h * v)) - np.asarray(f(x))) / h


DERIVATIVES: dict[str, tuple[int, Callable[..., Array]]] = {
    "forward": (1, forward),
    "central": (2, central),
    "Richardson 4": (4, lambda f, x, v, h: richardson(f, x, v, h, order=4)),
    "Richardson 6": (6, lambda f, x, v, h: richardson(f, x, v, h, order=6)),
    "complex step": (2, complex_step),
}
"""Name -> (order of the truncation error, the derivative at a step)."""


class Line(NamedTuple):
    """One method: its errors at the curve's steps, relative to the derivative, and what its two slopes predict."""

    name: str
    order: int
    errors: Array  # (steps,)
    slope: float  # measured where truncation rules, near `order`; nan if it never does
    best_step: float  # where truncation and noise are predicted to balance; nan without a slope
    best_error: float  # predicted there


class Curve(NamedTuple):
    """Errors against steps. `print(curve)` draws it in 80 columns, `curve.save("curve.png")` as a picture."""

    steps: Array  # (n,), falling
    lines: tuple[Line, ...]
    truth: float  # the derivative, by complex step; by Richardson at its best step if f is not analytic
    analytic: bool
    noise: float  # e_f, of one evaluation, in units of f

    def line(self, name: str) -> Line:
        """The method of that name; KeyError with the names there are."""
        for line in self.lines:
            if line.name == name:
                return line
        raise KeyError(f"{name!r}: expected one of {', '.join(line.name for line in self.lines)}")

    def __str__(self) -> str:
        from .drawing import terminal

        return terminal(self)

    def save(self, path: str | Path) -> None:
        """Writes the picture, PNG or what else the name ends in. Needs matplotlib: ImportError says how to get it."""
        from .drawing import save

        save(self, path)


def curve(f: Callable[[Array], Array], x: Array, v: Array, *, steps: Array | None = None) -> Curve:
    """Errors of forward, central, Richardson (4 and 6) and complex-step derivatives of f at x along v, by step.

    f maps an array to a number (of an array the sum is taken); x, v float64 of one shape; steps (n,) falling, three a
    decade from 1e-1 to 1e-14 by default. A function that is not analytic has no line for the complex step.
    """

    def total(x: Array) -> Any:
        return np.sum(f(x))

    steps = 10.0 ** (-np.arange(3, 43) / 3) if steps is None else np.asarray(steps, dtype=np.float64)
    if steps.ndim != 1 or not steps.size or not (steps > 0).all():
        raise ValueError(f"curve: expected steps of shape (n,), n at least 1, all positive; got {steps}")
    best = best_difference(total, x, v)
    try:
        truth = float(complex_step(total, x, v))
        off = abs(truth - best.value)  # a function that drops part of the imaginary numbers is not analytic either
        analytic = not off > 1e-6 * abs(best.value) + 32 * best.noise + 4 * best.truncation
    except TypeError:
        analytic = False
    truth = truth if analytic else best.value
    e_f = noise(total, x, v)
    scale = abs(truth) or 1.0
    lines = []
    for name, (order, derivative) in DERIVATIVES.items():
        if name == "complex step" and not analytic:
            continue
        with np.errstate(all="ignore"):  # steps that leave the domain of f have no error
            errors = np.array([abs(float(derivative(total, x, v, h)) - truth) / scale for h in steps])
        rounding = ROUNDING if name == "complex step" else NOISE_WEIGHT[order] * e_f / steps / scale
        slope, constant = _truncation(steps, errors, order, np.broadcast_to(rounding, steps.shape))
        step = best_error = math.nan
        if name == "complex step":
            step, best_error = 0.0, ROUNDING
        elif constant > 0:
            weight = NOISE_WEIGHT[order] * e_f / scale
            step = (weight / (order * constant)) ** (1 / (order + 1))
            best_error = constant * step**order + weight / step
        lines.append(Line(name, order, errors, slope, step, best_error))
    return Curve(steps, tuple(lines), truth, analytic, e_f)


def _truncation(steps: Array, errors: Array, order: int, rounding: Array) -> tuple[float, float]:
    """(slope, C) of C·h^order: by the errors well above rounding, where the slope is within a half of the order."""
    ok = np.isfinite(errors) & (errors > 30 * rounding)
    local = np.full(len(steps), np.nan)
    with np.errstate(all="ignore"):
        local[1:] = np.diff(np.log(errors)) / np.diff(np.log(steps))
    ok[1:] &= ok[:-1] & (np.abs(local[1:] - order) < 0.5)
    ok[0] = False
    if ok.sum() < 1:
        return math.nan, math.nan
    return float(np.median(local[ok])), float(np.exp(np.median(np.log(errors[ok] / steps[ok] ** order))))
