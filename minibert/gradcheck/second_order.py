"""Second derivatives, and the remainders of Taylor's formula.

A hand-written gradient is a function like any other: its complex step is the Hessian times a vector, with no difference
taken. It is exact where the gradient's code is analytic, as minibert's operators are in either direction.

Taylor's remainders need no tolerance: halving the step divides them by 2, 4 and 8 if value, gradient and Hessian belong
together (Farrell et al. 2013, dolfin-adjoint), and a wrong gradient makes the second fall by 2 alone.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from .derivatives import STEP, NotAnalytic, unit
from .noise import noise
from .steps import best_difference

Array = Any


def hessian_vector(gradient: Callable[[Array], Array], x: Array, v: Array) -> Array:
    """H v, the derivative of the gradient along v:  Im gradient(x + ihv)/h.    x, v float64 of one shape -> that shape

    gradient maps x to the gradient of a scalar function. NotAnalytic if it drops the imaginary part; where it returns
    real numbers because it does not depend on x, H v is 0.
    """
    x, v = np.asarray(x, dtype=np.float64), np.asarray(v, dtype=np.float64)
    g = np.asarray(gradient(x + 1j * STEP * v))
    if g.shape != x.shape:
        raise ValueError(f"hessian_vector: expected a gradient of x's shape {x.shape}, got {g.shape}")
    if g.dtype.kind == "c":
        return g.imag / STEP
    if np.array_equal(gradient(x), gradient(x + 2.0**-10 * unit(x, v) * v)):
        return np.zeros_like(x)
    raise NotAnalytic("the gradient is real although the input was complex: something casts, or takes abs or max")


class Taylor(NamedTuple):
    """Remainders at halved steps, and their rates: how often the last ones above rounding halve when the step does.

    steps (n,), R0, R1, R2 (n,) in units of f; rates (3,): near 1, 2, 3 if all is right; inf for a remainder that is
    never above rounding (R2 of a quadratic function), nan if a single one is.
    """

    steps: Array
    R0: Array  # |f(x + hv) - f(x)|
    R1: Array  # |... - h·<g, v>|
    R2: Array  # |... - h·<g, v> - h²/2·<v, Hv>|
    floor: float  # of rounding, in units of f
    rates: tuple[float, float, float]

    def __str__(self) -> str:
        lines = [f"{'step':>8} {'R0':>8} {'R1':>8} {'R2':>8}"]
        for h, *remainders in zip(self.steps, self.R0, self.R1, self.R2, strict=True):
            shown = " ".join(f"{r:8.1e}" if r > self.floor else f"{'rounding':>8}" for r in remainders)
            lines.append(f"{h:8.1e} {shown}")
        return "\n".join([*lines, f"{'rate':>8} " + " ".join(f"{rate:8.2f}" for rate in self.rates)])


def taylor(
    f: Callable[[Array], Array],
    gradient: Callable[[Array], Array],
    x: Array,
    v: Array,
    *,
    h: float | None = None,
    halvings: int = 10,
) -> Taylor:
    """The remainders of Taylor's formula along v for a scalar f, its gradient, and the gradient's own derivative.

    x, v float64 of one shape; h the first step, by default a quarter of x's own spread over v's, or less where f
    varies faster: 16 times the best step of a difference. A wrong gradient has rates 1, 1, 1.
    """
    if h is None:
        h = min(unit(x, v) / 4, 16 * best_difference(f, x, v).step)
    g, hv = gradient(x), hessian_vector(gradient, x, v)
    slope, curvature = float((g * v).sum()), float((v * hv).sum())
    at_x = float(np.sum(f(x)))
    floor = 64 * noise(f, x, v)
    steps = h / 2.0 ** np.arange(halvings + 1)
    change = np.array([float(np.sum(f(x + step * v))) - at_x for step in steps])
    first = change - steps * slope
    second = first - steps**2 / 2 * curvature
    r0, r1, r2 = (np.abs(r) for r in (change, first, second))
    return Taylor(steps, r0, r1, r2, floor, (_rate(r0, floor), _rate(r1, floor), _rate(r2, floor)))


def _rate(r: Array, floor: float) -> float:
    """log2 of the last quotient of neighbours that both stand above the floor."""
    above = int(np.argmax(~(r > floor))) if not (r > floor).all() else len(r)
    if above < 2:
        return math.inf if above == 0 else math.nan
    return math.log2(float(r[above - 2] / r[above - 1]))
