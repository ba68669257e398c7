"""Kinks: points where a function has two slopes, one from either side, as relu, abs, max and clip have.

There is no derivative at such a point; any number between the two slopes is a subgradient, and a backward pass may
return any of them (relu's 0 at 0 is a convention). So the two slopes are measured separately, by differences that stay
on their side. A kink that is nearer than the smallest useful step looks the same as one at the point.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from .derivatives import unit
from .steps import Difference, best_difference, one_sided

Array = Any

SEARCHED = 4096
"""Entries of an array up to which the coordinate that sits on the kink is looked for: two evaluations each."""

_DIRECTIONS = 6
_FACTOR = 32  # of the noise of differences, as in references.py


class Kink(NamedTuple):
    """Two slopes of f, along a coordinate (its index) or, where it was not found, along a random direction (None)."""

    left: float
    right: float
    gradient: float  # of the backward pass, along the same
    inside: bool  # it is a subgradient, and away from the kinks it is the derivative
    where: tuple[tuple[int, ...], ...] = ()  # the coordinates on the kink
    together: bool = False  # the slopes are along a direction that moves several of them

    def words(self, name: str) -> str:
        """The verdict's sentence."""
        relation = "lies between, a subgradient" if self.inside else "lies outside"
        if not self.inside and min(self.left, self.right) <= self.gradient <= max(self.left, self.right):
            relation = "lies between, but the rest of the gradient is wrong"
        left, right, gradient = (f"{number + 0.0:.4g}" for number in (self.left, self.right, self.gradient))  # no -0
        slopes = f"left slope {left}, right slope {right}; the gradient {gradient} {relation}"
        if not self.where:
            return f"{slopes}; along a random direction"
        at = ", ".join(f"{name}[{', '.join(map(str, index))}]" for index in self.where[:3])
        more = f" and {len(self.where) - 3} more" if len(self.where) > 3 else ""
        return f"{slopes}; at {at}{more}{', moved together' if self.together else ''}"


def slopes(f: Callable[[Array], Array], x: Array, v: Array) -> tuple[Difference, Difference]:
    """(left, right): the slopes of t -> f(x + tv) at 0, each measured on its side."""
    back = one_sided(f, x, -v)
    return back._replace(value=-back.value), one_sided(f, x, v)


def find_kink(f: Callable[[Array], Array], x: Array, g: Array, v: Array) -> Kink | None:
    """The kink of the scalar function f at x, and whether g is a subgradient there; None if f is smooth along v.

    Where coordinates were found, g is held to each one's two slopes, off them to the derivative, and on them to the
    slopes along directions that move several: of a maximum that two share either may have the gradient, but not both.
    """
    left, right = slopes(f, x, v)
    if not _differ(left, right):
        return None
    found = _coordinates(f, x) if x.size <= SEARCHED else []
    if not found:
        return _held(left, right, float((g * v).sum()))
    rest = v.copy()
    each = []
    for index in found:
        e = np.zeros_like(x)
        e[index], rest[index] = 1.0, 0.0
        each.append(_held(*slopes(f, x, e), float(g[index])))
    off = best_difference(f, x, rest)
    smooth = abs(float((g * rest).sum()) - off.value) <= _allowed(off, off)
    bends = [kink.right > kink.left for kink in each]
    for convex in set(bends):  # apart: what one has too much the other may have too little
        group = [index for index, bend in zip(found, bends, strict=True) if bend == convex]
        joint = [_held(*slopes(f, x, d), float((g * d).sum())) for d in _together(x, group)]
        each += [kink._replace(together=True, where=tuple(group)) for kink in joint]
    worst = next((kink for kink in each if not kink.inside), each[0])
    inside = smooth and all(kink.inside for kink in each)
    if len(set(bends)) == 1:  # convex, or concave: the slopes along v bound <g, v> too
        inside = inside and _held(left, right, float((g * v).sum())).inside
    return worst._replace(inside=inside, where=worst.where or tuple(found))


def _together(x: Array, group: list[tuple[int, ...]]) -> list[Array]:
    """Directions that move several coordinates: all of them evenly, and a few random ones."""
    if len(group) < 2:
        return []
    directions = np.zeros((_DIRECTIONS, *x.shape))
    random = np.random.default_rng(0).standard_normal((_DIRECTIONS, len(group)))
    random[0] = 1.0
    for k, index in enumerate(group):
        directions.reshape(_DIRECTIONS, -1)[:, np.ravel_multi_index(index, x.shape)] = random[:, k]
    return list(directions)


def _held(left: Difference, right: Difference, gradient: float) -> Kink:
    allowed = _allowed(left, right)
    low, high = sorted((left.value, right.value))
    return Kink(left.value, right.value, gradient, low - allowed <= gradient <= high + allowed)


def _differ(left: Difference, right: Difference) -> bool:
    scale = abs(left.value) + abs(right.value)
    return abs(right.value - left.value) > _allowed(left, right) + 1e-6 * scale


def _allowed(left: Difference, right: Difference) -> float:
    return _FACTOR * (left.noise + right.noise) + 4 * (left.truncation + right.truncation)


def _coordinates(f: Callable[[Array], Array], x: Array) -> list[tuple[int, ...]]:
    """Coordinates along which the slope jumps: the second difference over h does not shrink with h."""
    at_x, found = float(np.sum(f(x))), []
    for place in range(x.size):
        e = np.zeros(x.size)
        e[place] = 1.0
        e = e.reshape(x.shape)
        h = 2.0**-17 * unit(x, e)
        jumps = [(float(np.sum(f(x + s * e))) - 2 * at_x + float(np.sum(f(x - s * e)))) / s for s in (h, h / 8)]
        slope = abs(float(np.sum(f(x + h * e))) - at_x) / h + abs(at_x - float(np.sum(f(x - h * e)))) / h
        if abs(jumps[1]) > 0.5 * abs(jumps[0]) and abs(jumps[1]) > 1e-3 * slope:
            found.append(tuple(int(k) for k in np.unravel_index(place, x.shape)))
    return found
