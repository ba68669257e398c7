"""Verdicts: what is allowed, one row a tensor, and the table."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np

Array = Any


class Tolerance(NamedTuple):
    """|error| <= relative·‖g‖ + floor·‖G‖"""

    relative: float
    floor: float


# What correct code keeps with headroom. Complex step: hundreds of drawn examples of every operator (tests/ops), and
# twelve layers at 1e-2 of the tolerance (tests/lab). Differences: what truncation and rounding leave at the best steps.
TOLERANCES = {
    ("complex", "operator"): Tolerance(1e-13, 1e-15),
    ("complex", "model"): Tolerance(1e-9, 1e-13),
    ("richardson", "operator"): Tolerance(1e-9, 1e-10),
    ("richardson", "model"): Tolerance(1e-6, 1e-9),
    ("central", "operator"): Tolerance(1e-7, 1e-8),
    ("central", "model"): Tolerance(1e-5, 1e-7),
}


class Row(NamedTuple):
    """One tensor: the norm of its gradient, the worst error over the directions, what was allowed, the verdict."""

    name: str
    shape: tuple[int, ...]
    norm: float
    error: float
    tolerance: float
    verdict: str  # "ok", or what is wrong, in words

    @property
    def ok(self) -> bool:
        return self.verdict == "ok"

    @property
    def margin(self) -> float:
        """error / tolerance: below 1 is a pass; how far below says how good the check is."""
        return self.error / self.tolerance if self.tolerance else (0.0 if self.error == 0 else math.inf)


class Report(NamedTuple):
    """All rows of a check. `bool(report)` and `report.ok` say whether every one passed."""

    rows: tuple[Row, ...]

    @property
    def ok(self) -> bool:
        return bool(self.rows) and all(row.ok for row in self.rows)

    def __bool__(self) -> bool:
        return self.ok

    @property
    def closest(self) -> Row:
        """The row nearest to (or furthest over) its tolerance."""
        return max(self.rows, key=lambda row: (not row.ok, row.margin))

    def __str__(self) -> str:
        width = max([len("tensor"), *(len(row.name) for row in self.rows)])
        shapes = ["×".join(map(str, row.shape)) or "scalar" for row in self.rows]
        wide = max([len("shape"), *map(len, shapes)])
        lines = [f"{'tensor':{width}} {'shape':>{wide}} {'‖g‖':>7} {'error':>7} {'tolerance':>9} verdict"]
        for row, shape in zip(self.rows, shapes, strict=True):
            numbers = f"{row.norm:7.1e} {row.error:7.1e} {row.tolerance:9.1e}"
            lines.append(f"{row.name:{width}} {shape:>{wide}} {numbers} {row.verdict}")
        return "\n".join(lines)


def total_norm(gradients: Iterable[Array]) -> float:
    """‖G‖. Gradients that are not finite are left out: they fail by themselves, and would excuse or blame the rest."""
    return math.sqrt(sum(float(np.vdot(g, g)) for g in gradients if np.isfinite(g).all()))


def judge(name: str, g: Array, errors: Sequence[float], tolerance: Tolerance, total: float) -> Row:
    """The acceptance rule, in one place: worst error against relative·‖g‖ + floor·‖G‖."""
    norm = float(np.linalg.norm(g))
    error = float(np.max(errors, initial=0.0))  # unlike Python's max, never loses a NaN
    allowed = tolerance.relative * norm + tolerance.floor * total
    if not math.isfinite(error) or not math.isfinite(norm):
        verdict = "not finite"
    else:
        verdict = "ok" if error <= allowed else "wrong"
    return Row(name, g.shape, norm, error, allowed, verdict)
