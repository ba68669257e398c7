"""Derivatives along a direction, by complex step and by differences."""

from __future__ import annotations

import contextlib
import itertools
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

Array = Any

STEP = 1e-30
"""Of the complex step: there is no subtraction, so smaller is better, down to the smallest numbers."""


class NotAnalytic(TypeError):
    """The function dropped the imaginary part, so the complex step cannot differentiate it."""


def complex_step(f: Callable[[Array], Array], x: Array, v: Array, h: float = STEP) -> Array:
    """Derivative of f at x along v, Im f(x + ihv)/h. f maps an array to an array or a number; x float64."""
    with quiet():
        y = np.asarray(f(x + 1j * h * v))
    if y.dtype.kind != "c":
        raise NotAnalytic("the result is real although the input was complex: something casts, or takes abs or max")
    return y.imag / h


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """At complex points no warnings: not of overflow, and not of casts to real, which analytic.py sees."""
    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore", np.exceptions.ComplexWarning)
        yield


def central(f: Callable[[Array], Array], x: Array, v: Array, h: float | None = None) -> Array:
    """(f(x + hv) - f(x - hv))/2h; error O(h²) + noise/h. By default h = 6e-6 in units of x's own spread over v's."""
    h = 6e-6 * unit(x, v) if h is None else h
    return (np.asarray(f(x + h * v)) - np.asarray(f(x - h * v))) / (2 * h)


def richardson(f: Callable[[Array], Array], x: Array, v: Array, h: float | None = None, order: int = 6) -> Array:
    """Central differences at h, h/2 (and h/4), combined so that the error is O(h⁴) (order 4) or O(h⁶) (order 6)."""
    if order not in (4, 6):
        raise ValueError(f"richardson: expected order 4 or 6, got {order}")
    h = {4: 1e-3, 6: 5e-3}[order] * unit(x, v) if h is None else h
    d = [central(f, x, v, h / 2**k) for k in range(order // 2)]
    level = [(4 * fine - coarse) / 3 for coarse, fine in itertools.pairwise(d)]
    return level[0] if order == 4 else (16 * level[1] - level[0]) / 15


def unit(x: Array, v: Array) -> float:
    """A step of 1 in x's own scale: rows that vary little (layer normalisation!) need proportionally small steps."""
    x = np.asarray(x, dtype=np.float64)
    if not x.size:
        return 1.0
    rows = x.reshape(-1, x.shape[-1]) if x.ndim > 1 else x.reshape(1, -1)
    spread = float(np.min(rows.std(axis=1)))
    return (spread or float(np.abs(x).max(initial=0.0)) or 1.0) / (float(np.abs(v).max(initial=0.0)) or 1.0)


METHODS: dict[str, Callable[..., Array]] = {"complex": complex_step, "central": central, "richardson": richardson}


def derivative(f: Callable[[Array], Array], x: Array, v: Array, method: str = "complex") -> Array:
    """Derivative of f at x along v by "complex", "richardson" or "central"."""
    return METHODS[known(method)](f, x, v)


def known(method: str) -> str:
    if method not in METHODS:
        raise ValueError(f"method: expected one of {', '.join(METHODS)}, got {method!r}")
    return method
