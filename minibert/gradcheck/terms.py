"""Mistakes that are a term: the error itself has a form."""

from __future__ import annotations

from typing import Any

import numpy as np

from .evidence import Evidence, multiple, norm, number, spread_over

Array = Any

ORTHOGONAL = 1e-3
"""Cosine of an angle. Not 0: the eps of a normalisation turns its gradient by about eps over the variance."""


def term(ev: Evidence) -> str:
    """The error is c·dy, or c·dy times an array that is at hand; c·dy also where only some entries are wrong."""
    wrong = ev.wrong
    if not ev.whole or wrong.sum() < 2:
        return ""
    for dy in spread_over(ev.dy, ev.x):
        for name, array in (("", np.ones(())), *ev.arrays.items(), (ev.result, ev.y)):
            for a in spread_over(array, ev.x):
                basis = dy * a * wrong
                c = multiple(ev.e * wrong, basis)
                if not c or not ev.fits(ev.e * wrong, c * basis) or (name and not wrong.all()):
                    continue
                if name and _orthogonal(ev, basis):  # a projection: along_rows says so
                    continue
                product = "·".join([number(abs(c))] * (abs(abs(c) - 1) > 1e-6) + ["dy"] + [name] * bool(name))
                where = "" if wrong.all() else " where it is wrong"
                done, missing, much = ("taken away", "-", "") if c > 0 else ("added", "", "-")
                like = "" if product != "dy" or where or c > 0 else ", such as that of x in x + f(x)"
                return (
                    f"With {product} {done}{where} it is the truth: a term {missing}{product} is missing{like}, or "
                    f"{much}{product} is too much."
                )
    return ""


def constant_along(ev: Evidence) -> str:
    """LayerNorm without its mean term, centring without the sum: one number too much for each row."""
    for axis, n in _axes(ev, 3):
        mean = ev.e.mean(axis=axis, keepdims=True)
        if not ev.fits(ev.e, np.broadcast_to(mean, ev.e.shape)):
            continue
        said = f"The error is constant along axis {axis}: the same number throughout a {ev.line(axis)}"
        if _vanishes(ev, ev.t.sum(axis=axis)):
            sums = number(float(np.abs(ev.g.sum(axis=axis)).max()))
            return (
                f"{said}. Along it the true gradient sums to 0, this one to as much as {sums}: less its mean over "
                f"axis {axis} it is the truth, as if the path through a mean, a term -mean(...), were missing."
            )
        if _vanishes(ev, ev.g.sum(axis=axis)):
            return (
                f"{said}. Along it this gradient sums to 0 and the true one does not: it is the truth less its mean "
                f"over axis {axis}."
            )
        return f"{said}, of {n} entries, as if a term with a sum over axis {axis} were missing, or one too many."
    return ""


def along_rows(ev: Evidence) -> str:
    """The error of every row is a multiple of a row of something: a projection is missing."""
    y = ev.y if ev.rows is None or ev.y.shape != ev.arrays[ev.name].shape else ev.y[ev.rows]
    dy = ev.dy if y is ev.y else ev.dy[ev.rows]
    inputs = [(ev.name, ev.x)]
    same = [name for name, a in ev.arrays.items() if a.shape == ev.x.shape]
    if len(same) > 1:  # as "Add & Norm" has
        inputs.append((" + ".join(same), np.sum([ev.arrays[name] for name in same], axis=0)))
    for axis, _ in _axes(ev, 3):
        if y.shape == ev.x.shape:
            basis = y * (dy * y).sum(axis=axis, keepdims=True)
            c = multiple(ev.e, basis)
            if c and ev.fits(ev.e, c * basis):
                times = "" if abs(c - 1) < 1e-6 else f"{number(c)} times "
                return (
                    f"The error is {times}{ev.result}·sum(dy·{ev.result}) over axis {axis}: a term of softmax, whose "
                    "gradient is y·(dy - sum(dy·y))."
                )
        for name, x in inputs:
            whole = f"({name})" if " + " in name else name
            centred, one = x - x.mean(axis=axis, keepdims=True), np.ones_like(x)
            if _orthogonal(ev, centred, axis) and _spans(ev, axis, centred):
                return (
                    f"Along axis {axis} the error is a multiple of {whole} - mean({name}), and the true gradient is "
                    "orthogonal to that: as if the path through a variance, x̂·mean(dx̂·x̂) in LayerNorm, were missing "
                    "or had a wrong factor."
                )
            if _orthogonal(ev, x, axis) and _spans(ev, axis, x):
                return (
                    f"Along axis {axis} the error is a multiple of {whole}, and the true gradient is orthogonal to "
                    "that: as if the path through a norm, x·sum(dy·x) in RMSNorm, unit vectors and cosines, were "
                    "missing or had a wrong factor."
                )
            both = _orthogonal(ev, centred, axis) and _orthogonal(ev, one, axis)
            if both and ev.g.shape[axis] > 3 and _spans(ev, axis, centred, one):
                return (
                    f"Along axis {axis} the error is a constant plus a multiple of {whole} - mean({name}), and the "
                    "true gradient is orthogonal to either: as if the paths through a mean and through a variance were "
                    "missing, or had wrong factors."
                )
        for name, a in ((ev.name, ev.x), (ev.result, y)):
            if a.shape == ev.x.shape and _spans(ev, axis, a):
                return f"Along axis {axis} the error is {name} times one number, for each {ev.line(axis)} another."
    return ""


def _orthogonal(ev: Evidence, basis: Array, axis: int | None = None) -> bool:
    """The true gradient has no part along the basis, in any slice."""
    products, t, b = (np.sum(p * q, axis=axis) for p, q in ((ev.t, basis), (ev.t, ev.t), (basis, basis)))
    return bool(np.all(np.abs(products) <= ORTHOGONAL * np.sqrt(t * b)))


def _spans(ev: Evidence, axis: int, *basis: Array) -> bool:
    """Every slice of the error along the axis is a combination of the slices of the basis."""
    e, *parts = (np.moveaxis(a, axis, -1).reshape(-1, a.shape[axis]) for a in (ev.e, *basis))
    fitted = np.zeros_like(e)
    for k, row in enumerate(e):
        matrix = np.stack([part[k] for part in parts], axis=1)
        fitted[k] = matrix @ np.linalg.lstsq(matrix, row, rcond=None)[0]
    return ev.fits(e, fitted)


def _axes(ev: Evidence, least: int) -> list[tuple[int, int]]:
    """(axis, its length), the last first; axes too short to tell a form from anything else are left out, and the first
    axis of a gradient of which only some rows are known."""
    axes = [(a, ev.g.shape[a]) for a in reversed(range(ev.g.ndim)) if ev.g.shape[a] >= least]
    return axes if ev.whole else [(a, n) for a, n in axes if a > 0]


def _vanishes(ev: Evidence, sums: Array) -> bool:
    return norm(sums) <= 1e-9 * norm(ev.e) + ev.cell * float(np.sqrt(ev.e.size))
