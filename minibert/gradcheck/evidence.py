"""What is known of a wrong gradient, and what "fits" means."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

Array = Any


class Evidence(NamedTuple):
    """A gradient g next to the truth t, and all that may explain their difference. x, g and t are of one shape."""

    name: str
    x: Array
    g: Array
    t: Array
    cell: float  # an error of one entry up to this is rounding
    y: Array
    dy: Array
    arrays: Mapping[str, Array]  # the float arguments, all of them, by name
    options: Mapping[str, Any]  # numbers among the other arguments
    ids: Mapping[str, Array]  # integer arrays among them
    contributions: Array | None = None  # of each row of dy to t
    scaled: Array | None = None  # what backward returns for -2·dy
    others: Mapping[str, Array] = {}  # true gradients of other arguments of this shape
    rows: Array | None = None  # where the gradient was sampled: the numbers of its rows
    whole: bool = True

    @property
    def e(self) -> Array:
        return self.g - self.t

    @property
    def wrong(self) -> Array:
        """Boolean: which entries are wrong."""
        return ~(np.abs(self.e) <= self.cell)

    def fits(self, a: Array, b: Array) -> bool:
        """a is b: every entry up to a millionth of itself, all up to a millionth of the error to be explained, and both
        up to rounding."""
        each = np.abs(a - b) <= 1e-6 * np.maximum(np.abs(a), np.abs(b)) + 8 * self.cell
        return bool(each.all()) and norm(a - b) <= 1e-6 * norm(self.e) + self.cell * float(np.sqrt(np.size(a)))

    @property
    def result(self) -> str:
        """What y is called here."""
        return "the result" if "y" in self.arrays else "y"

    def slices(self, axis: int) -> list[int]:
        """The slices along an axis that hold a wrong entry."""
        return [int(k) for k in np.flatnonzero(np.moveaxis(self.wrong, axis, 0).reshape(self.g.shape[axis], -1).any(1))]

    def noun(self, axis: int, count: int = 2) -> str:
        """What a slice along an axis is called: row, column, entry; in the plural for more than one."""
        if self.g.ndim == 1:
            return "entry" if count == 1 else "entries"
        word = {0: "row", self.g.ndim - 1: "column"}.get(axis, f"slice of axis {axis},")
        return word if count == 1 else word.replace("slice", "slices") + "s" * (not word.startswith("slice"))

    def line(self, axis: int) -> str:
        """What runs along an axis: a row along the last one."""
        return {0: "column", self.g.ndim - 1: "row"}.get(axis, "slice") if self.g.ndim > 1 else "array"

    def row(self, k: int) -> int:
        """The number of row k in the whole gradient."""
        return int(self.rows[k]) if self.rows is not None else k


def spread_over(a: Array, x: Array) -> list[Array]:
    """a in the shape of x: as NumPy spreads it, or with one number for each row, or both, or not at all."""
    found = []
    for shape in dict.fromkeys((a.shape, a.shape + (1,) * (x.ndim - a.ndim))):
        with contextlib.suppress(ValueError):
            found.append(np.broadcast_to(a.reshape(shape), x.shape))
    return found


def multiple(e: Array, basis: Array) -> float:
    """c, for which c·basis is nearest to e."""
    size = float((basis * basis).sum())
    return float((e * basis).sum()) / size if size else 0.0


def norm(x: Array) -> float:
    return float(np.linalg.norm(x))


def bad_entries(what: str, a: Array) -> str:
    """How many entries of an array are not finite, and the first of them."""
    bad = ~np.isfinite(a)
    first = tuple(int(k) for k in np.argwhere(bad)[0])
    shown = f"its entry [{', '.join(map(str, first))}]" if first else "it"
    return f"{what} is not finite in {int(bad.sum())} of {bad.size} entries: {shown} is {a[first]}."


def number(x: float) -> str:
    """A number as people write it: up to six digits, 1e-5 and not 1.00000e-05."""
    return f"{x:.6g}".replace("e-0", "e-").replace("e+0", "e")


def listed(items: list[Any], most: int = 4) -> str:
    """ "1, 4 and 7"; "1, 4, 7, 9 and 12 more"."""
    words = [str(i) for i in items]
    if len(words) > most:
        words = [*words[:most], f"{len(words) - most} more"]
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"
