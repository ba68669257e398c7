"""The true derivative, by up to five independent routes, each with the error that rounding allows it.

complex      <w, J v> by the complex step against <g, v>
richardson   <w, J v> by differences at their best step against <g, v>
central      the same without extrapolation
adjoint      <J v, w'> against <v, backward(w')> for fresh pairs v, w'
entries      the whole Jacobian of a tiny instance: its columns by complex step, its rows by backward, and ‖difference‖
against      values and gradients of a second implementation

Tolerances. Let σ be the standard deviations of the rounding errors (noise.py) of the two numbers that are compared,
both measured at the very point. Allowed is

    FACTOR · (σ of <g, v> + σ of the reference + u·(‖g∘v‖ + ‖w∘Jv‖ + S))    and for differences 4 times their truncation

The last term is rounding that moves no number when the arguments move a little, so that no measurement can do without
it: that of the two final sums; and what saturation swallows. Far out tanh is 1, as it is at all points near, and so
1 - tanh² is 0 for backward but not for the complex step. S is the size the gradient would have without saturation:
‖g‖ with this argument, or all of them, divided by 64 and by 128, every entry followed back as a power of the divisor.
It counts up to 10·‖G‖, of all gradients and the cotangent.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from .derivatives import STEP, NotAnalytic, quiet
from .noise import ROUNDING, neighbours, scatter
from .pairs import Pair, replaced
from .report import Reference
from .steps import best_difference

Array = Any

FACTOR = 32
"""Of the measured noise: σ is estimated from a handful of points, so it may be several times too small itself."""

NEIGHBOURS = 10
"""Neighbours of the point at which rounding is measured."""

TINY = 64
"""Entries of an argument and of the result up to which the whole Jacobian is compared."""


class Setting(NamedTuple):
    """What all references of one check share."""

    pair: Pair
    dy: Array
    grads: list[Array]
    t: Array  # the places of
    near: list[Point]  # points so near to the one in question that rounding alone changes

    @property
    def size(self) -> float:
        """‖G‖"""
        return math.hypot(norm(self.dy), *(norm(g) for g in self.grads if np.isfinite(g).all()))

    def sigma(self, value: Callable[[Point], float]) -> float:
        """The standard deviation of the rounding error of a number that is computed at a point.

        Where all errors are equal nothing was measured: then u·‖G‖.
        """
        with np.errstate(all="ignore"):
            return scatter(self.t, [value(point) for point in self.near]) or ROUNDING * self.size

    def unsaturated(self, place: int) -> float:
        """S"""
        largest = 0.0
        for divided in ([self.pair.wanted[place]], self.pair.wanted):
            with np.errstate(all="ignore"):
                near, far = (np.abs(self._divided(place, divided, divisor)) for divisor in (64, 128))
                # as every entry would be here if it had grown by the same power of the arguments all the way
                size = norm(far * 128 ** np.clip(np.nan_to_num(np.log2(near / far)), 0, 3))
            largest = max(largest, size) if math.isfinite(size) else largest
        return min(largest, 10 * self.size)

    def _divided(self, place: int, divided: Sequence[int], divisor: int) -> Array:
        """The gradient with some arguments divided; 0 where f does not take them."""
        args = [a / divisor if j in divided else a for j, a in enumerate(self.pair.args)]
        try:
            return self.pair.gradients(args, self.dy)[place]
        except Exception:  # of whatever kind the precondition of a user's function raises
            return np.zeros_like(self.grads[place])


class Point(NamedTuple):
    """Arguments, and what backward makes of them."""

    args: list[Any]
    grads: list[Array]


def setting(pair: Pair, dy: Array, grads: list[Array], rng: np.random.Generator) -> Setting:
    """The point and its neighbours."""
    t = np.sort(rng.choice(np.arange(1, 2**10), NEIGHBOURS, replace=False))
    moved = {i: neighbours(pair.args[i], t, rng) for i in pair.wanted}
    near = []
    with np.errstate(all="ignore"):
        for k in range(len(t)):
            args = [moved[i][k] if i in moved else a for i, a in enumerate(pair.args)]
            near.append(Point(args, pair.gradients(args, dy)))
    return Setting(pair, dy, grads, t, near)


def complex_jvp(pair: Pair, args: Sequence[Any], i: int, v: Array) -> Array:
    """J v, in the shape of y: the derivative of y along v in argument i by complex step."""
    with quiet():
        y = np.asarray(pair.value(replaced(args, i, args[i] + 1j * STEP * v)))
    if y.dtype.kind != "c":
        raise NotAnalytic("the result is real although the input was complex: something casts, or takes abs or max")
    return y.imag / STEP


def gradient_noise(s: Setting, place: int, v: Array) -> float:
    """σ of <g, v>."""
    return s.sigma(lambda point: float((point.grads[place] * v).sum()))


def by_complex(s: Setting, place: int, directions: Sequence[Array]) -> Reference:
    """The worst of the directions; noise measured along the first."""
    i, g = s.pair.wanted[place], s.grads[place]
    errors, sums = [], []
    for v in directions:
        terms = s.dy * complex_jvp(s.pair, s.pair.args, i, v)
        errors.append(abs(float((g * v).sum()) - float(terms.sum())))
        sums.append(norm(g * v) + norm(terms))
    reference = s.sigma(lambda point: float((s.dy * complex_jvp(s.pair, point.args, i, directions[0])).sum()))
    own = math.sqrt(sum(gradient_noise(s, place, v) ** 2 for v in directions) / len(directions))
    allowed = FACTOR * (own + reference + ROUNDING * (max(sums, default=0.0) + s.unsaturated(place)))
    return Reference("complex", worst(errors), allowed)


def by_differences(s: Setting, place: int, directions: Sequence[Array], order: int) -> Reference:
    """The worst of the directions, in units of what its own noise and truncation allow."""
    g, found = s.grads[place], []
    for v in directions:
        d = best_difference(along(s.pair, place, s.dy), s.pair.args[s.pair.wanted[place]], v, order)
        own = gradient_noise(s, place, v) + ROUNDING * (norm(g * v) + s.unsaturated(place))
        error = abs(float((g * v).sum()) - d.value)
        found.append(Reference(NAMES[order], error, FACTOR * (own + d.noise) + 4 * d.truncation))
    return max(found, key=lambda r: (not math.isfinite(r.error), r.margin))


NAMES = {2: "central", 6: "richardson"}


def along(pair: Pair, place: int, w: Array) -> Callable[[Array], Array]:
    """x -> <w, f(x)>, a function of one argument."""
    i = pair.wanted[place]
    return lambda x: (w * pair.value(replaced(pair.args, i, x))).sum()


def by_adjoint(
    s: Setting, place: int, rng: np.random.Generator, tolerance: float, analytic: bool, pairs: int = 3
) -> Reference:
    """Fresh cotangents: what backward does to one dy says nothing of another, unless it is linear in it."""
    i, errors = s.pair.wanted[place], []
    x = s.pair.args[i]
    for _ in range(pairs):
        v, w = (np.asarray(rng.standard_normal(a.shape)) for a in (x, s.dy))
        g = s.pair.gradients(s.pair.args, w)[place]
        if analytic:
            truth = float((complex_jvp(s.pair, s.pair.args, i, v) * w).sum())
        else:
            truth = best_difference(along(s.pair, place, w), x, v).value
        errors.append(abs(truth - float((g * v).sum())))
    # the tolerance was measured with one draw of v and w; another may be somewhat larger
    return Reference("adjoint", worst(errors), 2 * tolerance)


def by_entries(s: Setting, place: int, tolerance: float) -> Reference | None:
    """None where the instance is not tiny. ‖E‖ is compared with what was measured for <w, E v>: its mean square."""
    x, y = s.pair.args[s.pair.wanted[place]], s.dy
    if not 0 < x.size <= TINY or not 0 < y.size <= TINY:
        return None
    columns = np.stack([complex_jvp(s.pair, s.pair.args, s.pair.wanted[place], e).reshape(-1) for e in units(x)], 1)
    rows = np.stack([s.pair.gradients(s.pair.args, e)[place].reshape(-1) for e in units(y)])
    return Reference("entries", norm(columns - rows), 2 * tolerance)


def by_second(s: Setting, second: Pair, place: int) -> Reference:
    """Equal values, and equal gradients along dy, up to the noise of both."""
    y, other = s.pair.y, second.y
    if y.shape != other.shape:
        return Reference("against", math.inf, 0.0, f"values of shapes {y.shape} and {other.shape}")
    own, theirs = _value_noise(s, s.pair), _value_noise(s, second)
    allowed = FACTOR * (own + theirs + ROUNDING * (norm(y) + norm(other)))
    value = Reference("against", norm(y - other), allowed, "values")
    g, h = s.grads[place], second.gradients(s.pair.args, s.dy)[place]
    if np.shape(h) != g.shape:
        return Reference("against", math.inf, 0.0, f"its gradient is {np.shape(h)}")
    v = np.random.default_rng(0).standard_normal(g.shape)
    theirs = s.sigma(lambda point: float((second.gradients(point.args, s.dy)[place] * v).sum()))
    allowed = FACTOR * (gradient_noise(s, place, v) + theirs + ROUNDING * (norm(g) + norm(h)))
    gradient = Reference("against", norm(g - h), allowed, "gradients")
    return max(value, gradient, key=lambda r: r.margin)


def _value_noise(s: Setting, pair: Pair) -> float:
    return s.sigma(lambda point: float((s.dy * pair.value(point.args)).sum()))


def units(x: Array) -> Array:
    """The unit arrays of x's shape, one after another."""
    return np.eye(x.size).reshape(x.size, *x.shape)


def norm(x: Array) -> float:
    return float(np.linalg.norm(x))


def worst(errors: Sequence[float]) -> float:
    return float(np.max(errors, initial=0.0))  # unlike Python's max, never loses a NaN
