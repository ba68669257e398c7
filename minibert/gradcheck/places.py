"""Mistakes of place: right numbers that stand elsewhere, and rows that are left out or overwritten."""

from __future__ import annotations

from typing import Any

import numpy as np

from .evidence import Evidence, listed, norm

Array = Any


def transposed(ev: Evidence) -> str:
    for a in range(ev.g.ndim):
        for b in range(a + 1, ev.g.ndim):
            if ev.whole and ev.g.shape[a] == ev.g.shape[b] > 1 and ev.fits(np.swapaxes(ev.g, a, b), ev.t):
                axes = "" if ev.g.ndim == 2 else f" in its axes {a} and {b}"
                return f"It is the truth transposed{axes}: .T is missing, or one too many."
    return ""


def another(ev: Evidence) -> str:
    """g is the true gradient of another argument."""
    for name, truth in ev.others.items():
        if ev.fits(ev.g, truth):
            return f"It is the gradient of {name}: are the returned gradients in the order of the arguments?"
    return ""


def permuted(ev: Evidence) -> str:
    """Rows, or columns, that are all there, in another order."""
    if not ev.whole:
        return ""
    for axis in range(ev.g.ndim):
        n = ev.g.shape[axis]
        if n < 2:
            continue
        order = _order(ev, axis)
        if order is None:
            continue
        what, one = ev.noun(axis), ev.noun(axis, 1)
        if (order == np.arange(n)[::-1]).all():
            return f"Its {what} stand in reverse order."
        shift = int(order[0])
        if (order == np.roll(np.arange(n), -shift)).all():
            by = min(shift, n - shift)
            return f"Its {what} are shifted by {by} round the end: {one} 0 is the truth's {shift}."
        moved = [f"{k} is the truth's {order[k]}" for k in range(n) if order[k] != k]
        return f"Its {what} are the truth's in another order: {one} {listed(moved, 3)}."
    return ""


def _order(ev: Evidence, axis: int) -> Array | None:
    """order[k]: which slice of t is slice k of g; None if g is no permutation of t."""
    g, t = (np.moveaxis(a, axis, 0).reshape(a.shape[axis], -1) for a in (ev.g, ev.t))
    distance = np.abs(g[:, None] - t[None]).max(axis=2)
    order = distance.argmin(axis=1)
    unique = len(set(order.tolist())) == len(order)
    return order if unique and ev.fits(g, t[order]) else None


def repeated_ids(ev: Evidence) -> str:
    """Rows that are used more than once: the last use overwrites, where all should be added."""
    if not ev.g.ndim:
        return ""
    bad = ev.slices(0)
    if len(bad) in (0, len(ev.g)):
        return ""
    rows = [ev.row(k) for k in bad]
    for name, ids in ev.ids.items():
        if all(np.count_nonzero(ids == row) > 1 for row in rows):
            last = ", as if"
            if ev.contributions is not None and ids.shape == ev.contributions.shape[:1]:
                uses = [int(np.flatnonzero(ids == row)[-1]) for row in rows]
                if ev.fits(ev.g[bad], np.stack([ev.contributions[u][k] for u, k in zip(uses, bad, strict=True)])):
                    last = ", and each holds what its last use contributes:"
            return (
                f"Only rows that {name} holds more than once are wrong ({listed(rows)}){last} contributions were "
                f"overwritten instead of added. np.add.at(dx, {name}, dy) adds."
            )
    return ""


def lacking_rows_of_dy(ev: Evidence) -> str:
    """g is the truth of an upstream gradient some of whose rows count 0 times, or twice."""
    if ev.contributions is None:
        return ""
    parts = ev.contributions.reshape(len(ev.contributions), -1)
    n = len(parts)
    e, counts = ev.e.reshape(-1), np.zeros(n)
    active = [k for k in range(n) if norm(parts[k]) > 0]
    if len(active) < 2 or (np.count_nonzero(parts, axis=0) < 2).all():  # nothing is summed
        return ""
    if np.linalg.matrix_rank(parts[active]) == len(active) < parts.shape[1]:
        counts[active] = np.linalg.lstsq(parts[active].T, e, rcond=None)[0]
        counts = np.where(np.abs(counts) < 1e-6, 0, counts)
        if not (np.isclose(counts, -1, atol=1e-6) | np.isclose(counts, 1, atol=1e-6) | (counts == 0)).all():
            return ""
    else:  # too few numbers to solve for: try what people do
        for rows in (range(k, m) for k, m in [*((0, j) for j in (1, 2)), *((n - j, n) for j in (1, 2))]):
            for sign in (-1.0, 1.0):
                if ev.fits(sign * parts[list(rows)].sum(axis=0), e):
                    counts[list(rows)] = sign
    if not counts.any() or not ev.fits(counts @ parts, e):
        return ""
    missing, twice = ([k for k in range(n) if round(float(counts[k])) == sign] for sign in (-1, 1))
    if len(missing) + len(twice) == len(active):
        return ""
    said = []
    if missing:
        why = ""
        if missing == list(range(n - len(missing), n)):
            why = ", as if it stopped too early"
        elif missing == list(range(n - 1)):
            why = f", all but row {n - 1}, as if = stood where += should"
        elif missing == list(range(len(missing))):
            why = ", as if it started too late"
        said.append(f"The sum over the rows of dy lacks {_rows(missing, n)}{why}")
    if twice:
        said.append(f"The sum over the rows of dy counts {_rows(twice, n)} twice")
    return f"{'; '.join(said)}. With {'them' if len(missing + twice) > 1 else 'it'} put right it is the truth."


def only_some_rows(ev: Evidence) -> str:
    """The error is confined to the first or last rows or columns."""
    for axis in range(ev.g.ndim):
        n, bad = ev.g.shape[axis], ev.slices(axis)
        if not bad or len(bad) > n // 2 or n < 3:
            continue
        end = len(bad) < 3 and bad[0] in (0, n - len(bad)) and bad[-1] - bad[0] == len(bad) - 1
        off = " That is an end: look for a slice or a sum that is off by one." if end else ""
        nothing = " What stands there is 0." if not np.take(ev.g, bad, axis).any() else ""
        where = [ev.row(k) if axis == 0 else k for k in bad]
        return f"Only {ev.noun(axis, len(bad))} {listed(where)} of {n} {_is(bad)} wrong.{nothing}{off}"
    return ""


def _is(items: list[int]) -> str:
    return "is" if len(items) == 1 else "are"


def _rows(rows: list[int], n: int) -> str:
    if rows == [n - 1]:
        return f"the last row (row {n - 1} of 0 to {n - 1})"
    if rows == [0]:
        return "the first row (row 0)"
    return f"row {rows[0]}" if len(rows) == 1 else f"rows {listed(rows)}"
