"""The check of one pair of functions."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from . import references
from .analytic import contradicted
from .derivatives import METHODS
from .evidence import bad_entries
from .explain import explain_dtype, explain_not_finite, explain_shape, explain_values
from .gradients import NOT_CONFIRMED, shape_trouble
from .kinks import Kink, find_kink
from .pairs import TWO_OUTPUTS, Pair
from .purity import run
from .references import Setting, along
from .report import TOLERANCES, Reference, Report, Row, Tolerance, judge, total_norm

Array = Any

EDGE = (
    "not finite: f's derivative by differences. f and backward are finite here, f is not at points next to this one: "
    "it is at the edge of its domain, as of a root or a logarithm, or about to overflow"
)

UNSURE = 1e-3
"""Of ‖G‖: rounding leaves far less in doubt."""


def check(
    f: Callable[..., Any],
    f_backward: Callable[..., Any],
    args: Sequence[Any],
    *,
    names: Sequence[str] | None = None,
    method: str = "complex",
    directions: int = 3,
    seed: int = 0,
    tolerance: Tolerance | None = None,
    against: tuple[Callable[..., Any], Callable[..., Any]] | None = None,
) -> Report:
    """Check one function pair, in either convention; which one it is shows in what f returns:

        def f(x, w, eps):                def f(x, w, eps):
            return y, cache                  return y
        def f_backward(dy, cache):       def f_backward(dy, x, w, eps):
            return dx, dw                    return dx, dw

    A tuple of two counts as (y, cache). y is a float64 array or number. Of a layer that keeps what it needs, as
    self.x = x, check(layer.forward, layer.backward, [x]) calls layer.backward(dy) after the forward pass.

    args        of f; the float64 arrays among them are differentiated, everything else (ids, options, Python floats
                such as eps) is passed on. f_backward must return their gradients in the same order; a single one may
                come bare, and None may stand for an argument that has none.
    names       of those arrays, for the report; f's own argument names by default
    method      "complex", "richardson", "central", or "all": every reference there is (references.py), each of which
                must agree, and points with two slopes are told from errors (kinks.py)
    directions  random directions an argument
    tolerance   by default it is measured: a fixed multiple of the rounding noise of the very numbers that are compared
    against     (g, g_backward), a second implementation: values and gradients must be the same but for rounding

    Besides the values it checks that gradients have the shape and dtype of their arguments, that backward is linear in
    dy, that neither pass writes into what it was given or kept, and that both give the same bits when called again. A
    row that fails has an explanation, which print(report) shows.

    TypeError where args, f or f_backward are not of the form above; ValueError for an unknown method, no direction, or
    names that are not one for each array.
    """
    rng = _rng(seed)
    if method != "all" and method not in METHODS:
        raise ValueError(f"method: expected one of {', '.join(METHODS)}, all, got {method!r}")
    if directions < 1:
        raise ValueError(f"directions: expected at least 1, got {directions}")
    pair = Pair("check", f, f_backward, args)
    args = pair.args
    names = _named(pair, names)
    if not np.isfinite(pair.y).all():
        shapes, words = [args[i].shape for i in pair.wanted], bad_entries("The result of f", pair.y)
        row = Row("", (), math.nan, math.nan, math.nan, "not finite: the result of f", explanation=words)
        return Report(tuple(row._replace(name=n, shape=s) for n, s in zip(names, shapes, strict=True)))
    dy = np.asarray(rng.standard_normal(pair.y.shape))
    grads, trouble = run(pair, dy)
    second = Pair("check: against", *against, args) if against else None

    # each gradient is a sum of terms as large as the cotangent; where they cancel, their rounding is left
    total = total_norm([*grads, dy])
    along_v = [rng.standard_normal((directions, *args[i].shape)) for i in pair.wanted]
    fit = not trouble and all(not shape_trouble(g, args[i]) for i, g in zip(pair.wanted, grads, strict=True))
    s = references.setting(pair, dy, grads, _rng(seed, 1)) if fit else Setting(pair, dy, grads, np.array([]), [])
    rows = []
    for place, (i, name, g) in enumerate(zip(pair.wanted, names, grads, strict=True)):
        one = trouble or shape_trouble(g, args[i])
        if one or not np.isfinite(g).all():
            norm = math.nan if one else float(np.linalg.norm(g))
            row = Row(name, args[i].shape, norm, math.nan, math.nan, one or "not finite")
            rows.append(row if trouble else row._replace(explanation=_why_not(pair, place, g, dy, method)))
            continue
        if not s.near:  # another gradient has the wrong shape
            s = references.setting(pair, dy, grads, _rng(seed, 1))
        inspected = Inspection(s, second, place, name, list(along_v[place]), method, seed)
        rows.append(inspected.row(tolerance, total))
    return Report(tuple(rows))


def _named(pair: Pair, names: Sequence[str] | None) -> list[str]:
    """The names of the arrays; those given become the pair's own, which explanations use."""
    own = [pair.names[i] for i in pair.wanted]
    if names is None:
        return own
    if isinstance(names, str) or len(names) != len(own):
        raise ValueError(f"names: expected a list of {len(own)}, one for each of {', '.join(own)}; got {names!r}")
    for i, name in zip(pair.wanted, names, strict=True):
        pair.names[i] = name
    return list(names)


def _rng(seed: int, stream: int = 0) -> np.random.Generator:
    """Not default_rng(seed): an argument that was drawn from that would be the cotangent, number by number, and a
    product with itself is symmetric."""
    return np.random.default_rng([seed, stream, *b"check"])


class Inspection:
    """One argument's gradient: its references, the verdict that follows from them, and the explanation."""

    def __init__(
        self, s: Setting, second: Pair | None, place: int, name: str, along_v: list[Array], method: str, seed: int
    ) -> None:
        self.s, self.second, self.place, self.name = s, second, place, name
        self.along_v, self.method, self.seed = along_v, method, seed
        self.g, self.x = s.grads[place], s.pair.args[s.pair.wanted[place]]
        self.chosen = False  # the tolerance, by the user
        self.refused = ""  # why the complex step could not be taken
        self.overflows = False  # at complex points, where f and backward are finite
        self.contradicted = False  # by differences, whatever the gradient is

    def row(self, tolerance: Tolerance | None, total: float) -> Row:
        found = self.references()
        size = float(np.linalg.norm(self.g))
        self.chosen = tolerance is not None
        if tolerance is not None:
            allowed = tolerance.relative * size + tolerance.floor * total
            found = {name: r._replace(tolerance=allowed) for name, r in found.items()}
        worst = max(
            found.values(), key=lambda r: (math.isnan(r.margin), r.margin), default=Reference("", math.nan, math.nan)
        )
        row = Row(self.name, self.x.shape, size, worst.error, worst.tolerance, "", tuple(found.values()))
        row = row._replace(verdict=self.verdict(found, row))
        return row if row.ok else row._replace(explanation=self.explanation(row, found))

    def references(self) -> dict[str, Reference]:
        """By name; where the complex step refuses, without it and what needs it."""
        s, place, rng = self.s, self.place, _rng(self.seed, 2)
        found = list[Reference | None]()
        if self.method in ("complex", "all"):
            try:
                by_complex = references.by_complex(s, place, self.along_v)
                found, self.overflows = [by_complex], not math.isfinite(by_complex.error)
            except TypeError as error:  # real numbers were fine a moment ago
                self.refused = str(error)
            if self.overflows:
                found = [references.by_differences(s, place, self.along_v, 6)] if self.method == "complex" else []
            elif found and self._contradicted():
                self.contradicted = True
                if self.method == "complex":
                    found.append(references.by_differences(s, place, self.along_v, 6))
        if self.method == "central":
            found.append(references.by_differences(s, place, self.along_v, 2))
        if self.method in ("richardson", "all"):
            found.append(references.by_differences(s, place, self.along_v, 6))
        if self.method == "all":
            analytic = self._analytic()
            analytic = analytic and found[0] is not None and (found[0].ok or not (found[1] and found[1].ok))
            base = found[0 if analytic else -1]
            allowed = base.tolerance if base else 0.0
            found.append(references.by_adjoint(s, place, rng, allowed, analytic))
            found.append(references.by_entries(s, place, allowed) if analytic else None)
        if self.second is not None:
            found.append(references.by_second(s, self.second, place))
        return {r.name: r for r in found if r is not None}

    def verdict(self, found: Mapping[str, Reference], row: Row) -> str:
        if self.refused and self.method == "complex":
            return f"not analytic: {self.refused}"
        if any(not math.isfinite(r.error) for r in found.values()) and "against" not in found:
            return EDGE
        if not self._linear():
            return "wrong"
        if self.contradicted and self.method == "complex":
            kink = self.kink()
            if kink is not None:
                return f"{'kink' if kink.inside else 'wrong: kink'}: {kink.words(self.name)}"
            return NOT_CONFIRMED if found["richardson"].ok else "wrong"
        failed = [name for name, r in found.items() if not r.ok]
        if self.method == "all" and (failed or self.refused):
            kink = self.kink()
            if kink is not None and failed != ["against"]:
                return f"{'kink' if kink.inside else 'wrong: kink'}: {kink.words(self.name)}"
            return self._disagreement(failed)
        if failed == ["complex"]:
            rough = TOLERANCES["richardson", "model"]  # an error below this is nothing that differences could excuse
            if not judge("", self.g, [row.error], rough, 0.0).ok:
                by_differences = references.by_differences(self.s, self.place, self.along_v, 6)
                if not math.isfinite(by_differences.error):
                    return EDGE
                if by_differences.ok:
                    return NOT_CONFIRMED
        if failed == ["against"]:
            return self._disagreement(failed)
        if failed:
            return "wrong"
        sharpest = min((r.tolerance for name, r in found.items() if name != "against"), default=0.0)
        if not self.chosen and sharpest > UNSURE * self.s.size and sharpest > 0.1 * row.norm:
            return (
                f"unsure: f or backward is so rough near this point that an error of {sharpest:.1e} would pass, "
                f"of a gradient of {row.norm:.1e}"
            )
        if self.overflows:
            return "ok: by differences; at complex points f is not finite"
        if 0 < row.norm <= row.tolerance and not self.chosen:
            return "noise floor: the gradient is no larger than the rounding of its terms; 0 would pass as well"
        return "ok"

    def _disagreement(self, failed: Sequence[str]) -> str:
        if failed == ["against"]:
            return "wrong: every other reference confirms the gradient, the second implementation differs"
        if self.refused and not failed:
            return f"not analytic: {self.refused}; differences confirm the gradient"
        if failed == ["complex"]:
            return NOT_CONFIRMED
        if failed == ["richardson"]:
            return "not analytic: the complex step confirms the gradient, differences do not; f treats them differently"
        if failed == ["adjoint"]:
            return "wrong: right for one upstream gradient, and not for others"
        return "wrong"

    def _linear(self) -> bool:
        """backward(-2·dy) = -2·backward(dy), to the last bit but for numbers near the smallest."""
        twice = self.s.pair.gradients(self.s.pair.args, -2 * self.s.dy)[self.place]
        scale = float(np.linalg.norm(self.g)) + float(np.linalg.norm(twice))
        return float(np.linalg.norm(twice + 2 * self.g)) <= 1e-9 * scale

    def _contradicted(self) -> bool:
        s, v = self.s, self.along_v[0]
        value = float((s.dy * references.complex_jvp(s.pair, s.pair.args, s.pair.wanted[self.place], v)).sum())
        return contradicted(along(s.pair, self.place, s.dy), self.x, v, value)

    def _analytic(self) -> bool:
        return self.method in ("complex", "all") and not (self.refused or self.contradicted or self.overflows)

    def kink(self) -> Kink | None:
        return find_kink(along(self.s.pair, self.place, self.s.dy), self.x, self.g, self.along_v[0])

    def explanation(self, row: Row, found: Mapping[str, Reference]) -> str:
        if row.verdict.startswith(("not analytic", "wrong: kink", "wrong: every")):
            return ""
        if row.verdict == EDGE or row.verdict.startswith("unsure"):
            return ""
        analytic = self._analytic()
        if not analytic:
            kink = self.kink()
            if kink is not None:
                return f'kink: {kink.words(self.name)}. method="all" tells kinks from errors.'
        words = explain_values(self.s, self.place, row.tolerance, analytic)
        return f"{words}\n{TWO_OUTPUTS}" if self.s.pair.second else words


def _why_not(pair: Pair, place: int, g: Array, dy: Array, method: str) -> str:
    """The explanation where there is nothing to compare."""
    x = pair.args[pair.wanted[place]]
    if g.shape != x.shape:
        try:
            return explain_shape(pair, place, g, dy, method in ("complex", "all"))
        except TypeError:  # not analytic
            return explain_shape(pair, place, g, dy, False)
    return explain_not_finite(g) if g.dtype == x.dtype else explain_dtype(g)
