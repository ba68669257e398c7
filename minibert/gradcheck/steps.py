"""Differences with the best step, chosen from the measured error model instead of typed in.

A difference of order p has the error C·h^p + c·e_f/h: truncation, which shrinks with the step, and the noise e_f of f,
which a smaller step blows up. e_f is measured (noise.py), the truncation is what two levels of Richardson's
extrapolation differ by, and the step is the one of a ladder h, h/2, h/4 ... where their sum is smallest.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from .derivatives import central, unit
from .noise import noise, resolution

Array = Any

# The noise of a difference in units of e_f/h, by its order: the root of the sum of its squared weights. 3: one-sided.
NOISE_WEIGHT = {
    1: math.sqrt(2),
    2: math.sqrt(1 / 2),
    3: math.sqrt((32**2 + 12**2 + 1 + 21**2) / 9),
    4: math.sqrt(65 / 18),
    6: math.sqrt(67137 / 4050),
}

_APART = 6  # halvings between the steps that are compared in the end
_HALVINGS = 40  # from one unit of the argument's own scale; the noise ends the ladder long before


class Difference(NamedTuple):
    """A derivative by differences, the step taken, and its two errors: noise (one σ) and truncation (an estimate).

    unsure: they allow an error as large as half of the value. So may they where the derivative is 0.
    """

    value: float
    step: float
    noise: float
    truncation: float

    @property
    def unsure(self) -> bool:
        return not 32 * self.noise + 4 * self.truncation <= 0.5 * abs(self.value)


def best_difference(f: Callable[[Array], Array], x: Array, v: Array, order: int = 6) -> Difference:
    """Derivative of f at x along v by differences of order 2 (central), 4 or 6 (Richardson) at the best step.

    f maps an array to a number (of an array the sum is taken); x, v float64 of one shape. About 40 evaluations.
    Steps that leave the domain of f (NaN, inf) are passed over; NaN if all of them do.
    """
    if order not in (2, 4, 6):
        raise ValueError(f"best_difference: expected order 2, 4 or 6, got {order}")

    def levels(h: float) -> float:
        return float(np.sum(central(f, x, v, h)))

    return _best(levels, _CENTRAL[order], f, x, v, order)


def one_sided(f: Callable[[Array], Array], x: Array, v: Array) -> Difference:
    """Slope of f at x in the direction v, from evaluations on that side alone: forward differences, extrapolated
    twice, at the best step. The slope from the left is that along -v, negated."""
    at_x = float(np.sum(f(x)))

    def levels(h: float) -> float:
        return (float(np.sum(f(x + h * v))) - at_x) / h

    return _best(levels, _forward, f, x, v, 3)


def _best(
    difference: Callable[[float], float],
    extrapolated: Callable[[float, float, float], tuple[float, float]],
    f: Callable[[Array], Array],
    x: Array,
    v: Array,
    order: int,
) -> Difference:
    """The rung of the ladder with the smallest sum of noise and truncation.

    Steps longer than a function's period agree with each other and not with the slope. So what was found is compared
    with a few much shorter steps, as long as noise lets them say something; if they differ, the ladder begins below.
    """
    with np.errstate(all="ignore"):  # far out f may overflow: such steps lose
        e_f, h, least = noise(f, x, v), unit(x, v), 64 * resolution(x, v)
        while True:
            best = _ladder(difference, extrapolated, h, e_f, order, least)
            for k in range(_APART, _HALVINGS, _APART):
                shorter = best.step / 2**k
                value, rounding = difference(shorter), NOISE_WEIGHT[order] * e_f / shorter
                size = abs(value) + abs(best.value)
                differ = abs(value - best.value) > 32 * rounding + 1e-2 * size
                lost = rounding > 1e-3 * size or shorter < least
                if lost or differ:
                    break
            else:
                return best
            if lost or not math.isfinite(best.value):
                if differ and shorter >= least:  # nothing shorter decides which of them is right
                    best = best._replace(truncation=max(best.truncation, abs(value - best.value)))
                return best
            h = best.step / 2**_APART


def _ladder(
    difference: Callable[[float], float],
    extrapolated: Callable[[float, float, float], tuple[float, float]],
    h: float,
    e_f: float,
    order: int,
    least: float,
) -> Difference:
    ladder = [difference(h / 2**k) for k in range(3)]
    best = Difference(math.nan, h, math.inf, math.inf)
    coarser = 0.0
    for k in range(_HALVINGS):
        value, estimate = extrapolated(*ladder[k : k + 3])
        truncation = max(estimate, coarser / _SHRINKS[order])  # two levels may meet by chance; those before did not
        coarser = estimate if math.isfinite(estimate) else 0.0
        tried = Difference(value, h / 2**k, NOISE_WEIGHT[order] * e_f / (h / 2**k), truncation)
        if math.isfinite(value) and tried.noise + truncation < best.noise + best.truncation:
            best = tried
        if (
            tried.noise > 10 * (best.noise + best.truncation)
            or best.noise + best.truncation == 0
            or h / 2 ** (k + 3) < least
        ):
            break
        ladder.append(difference(h / 2 ** (k + 3)))
    return best


def _second(c0: float, c1: float, c2: float) -> tuple[float, float]:
    """(value, truncation) from central differences at h, h/2 and h/4; so do the next two."""
    return c0, abs(c0 - (4 * c1 - c0) / 3)


def _fourth(c0: float, c1: float, c2: float) -> tuple[float, float]:
    coarse = (4 * c1 - c0) / 3
    return coarse, abs(coarse - _sixth(c0, c1, c2)[0])


def _sixth(c0: float, c1: float, c2: float) -> tuple[float, float]:
    coarse, fine = (4 * c1 - c0) / 3, (4 * c2 - c1) / 3
    value = (16 * fine - coarse) / 15
    return value, abs(value - fine)


_SHRINKS = {2: 4, 3: 4, 4: 16, 6: 16}  # by how much the estimates above do, from rung to rung
_CENTRAL = {2: _second, 4: _fourth, 6: _sixth}


def _forward(d0: float, d1: float, d2: float) -> tuple[float, float]:
    """The same from forward differences, whose error has all powers of h."""
    coarse, fine = 2 * d1 - d0, 2 * d2 - d1
    value = (4 * fine - coarse) / 3
    return value, abs(value - fine)
