"""How noisy is a computed number? The difference table of Hamming, as Moré & Wild ("Estimating computational noise",
SIAM J. Sci. Comput. 33, 2011) use it.

Evaluate at a few points so close together that the exact function is a polynomial there: differences of order k of a
polynomial of lower degree are 0, those of independent errors with standard deviation σ have variance σ²·(2k)!/(k!)². So
the k-th differences show the rounding errors alone, whatever the function, its size and its slope.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from .derivatives import unit

Array = Any

POINTS = 7
"""Evaluations for one estimate: six orders of differences."""

ROUNDING = 2.0**-53
"""Unit roundoff u of float64."""


def spread(values: Sequence[float]) -> float:
    """σ of the errors in the values of a smooth function at closely and equally spaced points; 0 if one is not finite.

    Orders of differences are gone through from 2 up, until three in turn agree within a factor of 4 and have both
    signs: then what they show is noise. Where none do, the highest order is the best there is.
    """
    d = np.asarray(values, dtype=np.float64)
    if not np.isfinite(d).all():
        return 0.0
    levels, signs = [], []
    for k in range(1, len(d)):
        d = np.diff(d)
        size = float(np.abs(d).max()) or 1.0  # squares of numbers near the smallest would vanish
        levels.append(size * math.sqrt(float(((d / size) ** 2).mean()) / math.comb(2 * k, k)))
        signs.append(d.min() < 0 < d.max())
    for k in range(1, len(levels) - 2):
        three = levels[k : k + 3]
        if signs[k] and max(three) <= 4 * min(three):
            return three[1]
    return levels[-1]


def noise(f: Callable[[Array], Array], x: Array, v: Array) -> float:
    """e_f, the standard deviation of the rounding error of one evaluation of f near x, for points x + tv.

    f maps an array to a number (of an array the sum is taken); x and v float64 of one shape. In units of f. It holds
    the rounding of x + tv too, which differences suffer from. Where neighbouring points all have one value, as if f
    were rounded to float32, points further apart are taken: up to 1.5e-5 in units of x's own scale.
    """
    own, one = unit(x, v), 1 / (float(np.abs(v).max(initial=0.0)) or 1.0)
    h = max(2.0**-30 * min(own, one), 16 * resolution(x, v))  # a large number may stand in a function of period 1
    while True:
        estimates, flat = list[float](), True
        for factor in (1, 7.3, 53):  # of one spacing all errors may be equal
            values = [float(np.sum(f(x + k * factor * h * v))) for k in range(1, POINTS + 1)]
            estimates += [spread(values), ROUNDING * abs(values[0])]
            flat = flat and len(set(values)) < POINTS // 2
        if not flat or h > 2.0**-19 * own:
            return float(np.nanmax(estimates, initial=0.0))
        h *= 8


def resolution(x: Array, v: Array) -> float:
    """The step along v that moves the largest number of x by one unit of its last place."""
    largest = float(np.abs(x).max(initial=0.0))
    return float(np.spacing(largest)) / (float(np.abs(v).max(initial=0.0)) or 1.0) if math.isfinite(largest) else 0.0


def scatter(t: Array, values: Sequence[float]) -> float:
    """σ of the errors in the values of a smooth function at closely but unevenly spaced points t: what a cubic leaves.

    At even steps the rounding errors of a single number may all be equal; at uneven ones they are as good as random.
    0 if a value is not finite.
    """
    d = np.asarray(values, dtype=np.float64)
    if not np.isfinite(d).all():
        return 0.0
    d = d - d[0]
    size = float(np.abs(d).max()) or 1.0  # squares of numbers near the smallest would vanish
    cubic = np.vander(t / np.max(t), 4)
    left = d / size - cubic @ np.linalg.lstsq(cubic, d / size, rcond=None)[0]
    return size * math.sqrt(float(left @ left) / (len(d) - 4))


def neighbours(x: Array, t: Array, rng: np.random.Generator) -> list[Array]:
    """Arrays near x on a line, one for each of the whole numbers t (up to 2^10), all exact: no number was rounded.

    Every element moves by whole units of its last place, up to some billionth of itself, by a number of its own; zeros
    stay. With t > 0 x itself is not among them: if it lies on a kink, all of them lie on the same side.
    """
    steps = rng.integers(2**9, 2**12, x.shape) * rng.choice([-1, 1], x.shape) * np.spacing(np.abs(x))
    steps = np.where(x == 0, 0.0, steps)
    return [x + k * steps for k in t]
