"""Which array library an operator's arguments belong to, and the few helpers that keep operators analytic.

Operators are written once for NumPy and CuPy arrays of any float dtype, and also run on complex arrays: the
derivative of a real function is Im f(x + ih·v) / h to full precision (Squire & Trapp 1998), as long as every line
is analytic. Hence three rules, kept everywhere in this package:
- transpose, never conjugate;
- compare, and take maxima, of the real part only;
- scalars come from `math`: `np.sqrt` of a Python number is a float64 scalar and would promote float32 arrays.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from types import ModuleType
from typing import Any

import numpy as np

Array = Any
"""A NumPy or CuPy array; the operators ask for no more than the names the two libraries share."""


def namespace(*arrays: Array) -> ModuleType:
    """The module (numpy or cupy) that all arrays belong to. TypeError names the odd one out."""
    modules = {type(a).__module__.partition(".")[0] for a in arrays if not isinstance(a, np.ndarray | np.generic)}
    if not modules:
        return np
    if modules == {"cupy"} and not any(isinstance(a, np.ndarray) for a in arrays):
        return sys.modules["cupy"]
    raise TypeError(
        "expected arrays of one library, all numpy or all cupy; got " + ", ".join(_describe(a) for a in arrays)
    )


def added(totals: Sequence[Array] | None, *gradients: Array) -> Sequence[Array]:
    """The gradients of parameters; or the totals, where there are some, after the gradients were added to them.

    A tensor that is used twice, as the word embeddings are when the decoder is tied to them, gets both contributions.
    """
    if totals is None:
        return gradients
    for total, gradient in zip(totals, gradients, strict=True):
        total += gradient
    return totals


def _describe(a: Array) -> str:
    return f"{type(a).__module__}.{type(a).__qualname__}"


def real(x: Array) -> Array:
    """Re x, a view; comparisons and maxima are taken of it."""
    return x.real if x.dtype.kind == "c" else x
