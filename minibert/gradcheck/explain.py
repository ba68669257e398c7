"""A wrong gradient in words: which entries, by how much, and which mistake leaves an error of this form.

Every diagnosis is a function of the evidence that returns its sentence, or "" where it does not apply. The sentence
states what turns the wrong gradient into the true one, entry by entry: that is a fact. Which line of the code is to
blame is not, since other mistakes may leave an error of the same form: an "as if", or "missing, or too many". Where no
form fits that is what is said.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from . import factors, places, terms
from .entrywise import LIMIT, entrywise, wrong_rows
from .evidence import Evidence, bad_entries, listed, norm, number
from .pairs import Pair
from .references import Setting

Array = Any

# From the most to the least telling: the first that applies is said.
DIAGNOSES: tuple[Callable[[Evidence], str], ...] = (
    factors.not_linear,
    factors.zero,
    factors.single_precision,
    factors.factor,
    places.transposed,
    places.another,
    places.permuted,
    factors.array_factor,
    terms.term,
    places.repeated_ids,
    factors.factor_of_a_part,
    factors.factor_of_rows,
    places.lacking_rows_of_dy,
    terms.constant_along,
    terms.along_rows,
    places.only_some_rows,
)

LARGEST = 2**17
"""Entries of an argument up to which anything is explained: beyond it takes minutes."""

NO_DIAGNOSIS = "The error has none of the forms that are known here: it is not explained."


def explain_values(s: Setting, place: int, tolerance: float, analytic: bool) -> str:
    """Where the gradient is wrong, the worst entries next to the true numbers, and the likely mistake."""
    x = s.pair.args[s.pair.wanted[place]]
    if x.size > LARGEST or (x.size > LIMIT and x.size // len(x) > LIMIT // 2):
        return f"Of {x.size} entries too many to be looked at one by one: check a smaller array of the same kind."
    ev = evidence(s, place, tolerance, analytic)
    wrong = ev.wrong
    looked = "" if ev.whole else f" that were looked at, of {s.grads[place].size}"
    if not wrong.any():
        return (
            f"None of the {wrong.size} entries{looked} is wrong by more than {ev.cell:.1e} alone: "
            "an error so close to rounding, or elsewhere, cannot be explained."
        )
    lines = [f"wrong in {_where(ev)}{looked}; the worst:"]
    order = np.argsort(-np.abs(ev.e), axis=None)[: min(3, int(wrong.sum()))]
    for flat in order:
        index = tuple(int(k) for k in np.unravel_index(flat, ev.g.shape))
        shown = ", ".join(str(ev.row(k) if axis == 0 else k) for axis, k in enumerate(index))
        lines.append(f"  [{shown}]  backward {ev.g[index]: .8g}   true {ev.t[index]: .8g}")
    with np.errstate(all="ignore"):  # forms that overflow do not fit
        lines.append(next((said for said in (diagnose(ev) for diagnose in DIAGNOSES) if said), NO_DIAGNOSIS))
    return "\n".join(lines)


def evidence(s: Setting, place: int, tolerance: float, analytic: bool) -> Evidence:
    """All that a diagnosis looks at. tolerance: of <g, v>, for v ~ N(0, I)."""
    pair, g = s.pair, s.grads[place]
    i = pair.wanted[place]
    x, names = pair.args[i], pair.names
    suspects = wrong_rows(pair, place, g, s.dy, tolerance) if analytic and x.size > LIMIT else []
    truth = entrywise(pair, place, s.dy, analytic, suspects)
    others = {}
    for other, j in enumerate(pair.wanted):
        if truth.whole and j != i and pair.args[j].shape == x.shape:
            others[names[j]] = entrywise(pair, other, s.dy, analytic).value
    size = float(np.abs(truth.value).max(initial=0.0))
    rest = [(names[j], a) for j, a in enumerate(pair.args) if j not in pair.wanted]
    return Evidence(
        names[i], x[truth.rows], g[truth.rows], truth.value,
        max(tolerance / np.sqrt(max(x.size, 1)), (1e-15 if analytic else 1e-7) * size),
        pair.y, s.dy, {names[j]: pair.args[j] for j in pair.wanted},
        {name: a for name, a in rest if isinstance(a, int | float) and not isinstance(a, bool)},
        {name: a for name, a in rest if isinstance(a, np.ndarray) and a.dtype.kind in "iu"},
        truth.contributions, pair.gradients(pair.args, -2 * s.dy)[place][truth.rows], others,
        None if truth.whole else np.asarray(truth.rows), truth.whole,
    )  # fmt: skip


def _where(ev: Evidence) -> str:
    wrong = ev.wrong
    count = int(wrong.sum())
    if count == wrong.size:
        return f"all {count} entries" if count > 1 else "its one entry"
    said = f"{count} of {wrong.size} entries"
    if wrong.ndim == 2:
        rows = [ev.row(int(k)) for k in np.flatnonzero(wrong.any(axis=1))]
        columns = [int(k) for k in np.flatnonzero(wrong.any(axis=0))]
        if len(rows) < wrong.shape[0] and len(rows) <= len(columns):
            said += f", in row{'s' * (len(rows) > 1)} {listed(rows)}"
        elif len(columns) < wrong.shape[1]:
            said += f", in column{'s' * (len(columns) > 1)} {listed(columns)}"
    return said


def explain_shape(pair: Pair, place: int, g: Array, dy: Array, analytic: bool) -> str:
    """What would give a gradient of this shape the shape of its argument, and whether it is then the truth."""
    x = pair.args[pair.wanted[place]]
    truth = entrywise(pair, place, dy, analytic).value if 0 < x.size <= LIMIT else None

    def proof(value: Array) -> str:
        if truth is None:
            return ""
        close = norm(value - truth) <= (1e-9 if analytic else 1e-5) * norm(truth)
        return " Then it is the truth." if close else " But that is not the truth either."

    found = []
    for count in range(1, g.ndim + 1):
        for axes in itertools.combinations(range(g.ndim), count):
            if g.sum(axis=axes).size == x.size:
                found.append((axes, g.sum(axis=axes).reshape(x.shape)))
    if found and g.size > x.size:
        axes, value = next((f for f in found if proof(f[1]) == " Then it is the truth."), found[0])
        said = proof(value)
        if said.startswith(" But"):
            return f"Summed over {_axes(axes)} it has the shape of the argument.{said}"
        return f"It is not summed over {_axes(axes)}: where forward broadcasts, backward sums. Sum it.{said}"
    if g.T.shape == x.shape and g.ndim > 1:
        return f"It is transposed: .T has the shape of the argument.{proof(g.T)}"
    if g.size == x.size:
        kept = " (keepdims keeps an axis that the argument has not)" if g.ndim > x.ndim else ""
        return f"It has as many entries as the argument: reshape it{kept}.{proof(g.reshape(x.shape))}"
    if truth is not None:
        for count in range(1, x.ndim + 1):
            for axes in itertools.combinations(range(x.ndim), count):
                summed = truth.sum(axis=axes)
                if summed.size == g.size and norm(summed.reshape(g.shape) - g) <= 1e-9 * norm(g):
                    return f"It is the truth summed over {_axes(axes)}, one sum too many."
    return "A gradient has the shape of its argument; no sum, transposition or reshaping turns this one into it."


def _axes(axes: Sequence[int]) -> str:
    return f"axis {axes[0]}" if len(axes) == 1 else f"axes {listed(list(axes))}"


def explain_not_finite(g: Array) -> str:
    return (
        f"{bad_entries('The gradient', g)} The result of f is finite: look for a division by 0, 0·inf, or a "
        "root or log of 0 in backward."
    )


def explain_dtype(g: Array) -> str:
    return f"Backward returns {g.dtype} for a float64 argument: something on the way casts, or holds {g.dtype} numbers."


__all__ = ["explain_dtype", "explain_not_finite", "explain_shape", "explain_values", "number"]
