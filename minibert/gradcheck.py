"""Gradient checking: is a hand-written backward pass the derivative of its forward pass?

    from minibert import gradcheck, ops
    print(gradcheck.check(ops.layer_norm, ops.layer_norm_backward, (x, gamma, beta, 1e-12)))

Works on any pair of functions that follows the convention  y, cache = f(*args);  grads = f_backward(dy, cache).

The idea. For a random cotangent w and a random direction v, <w, J v> computed by differentiating f must equal
<Jᵀ w, v> computed by the backward pass. Three ways to get J v:

    complex step            Im f(x + ihv)/h, h = 1e-30             no subtraction: exact to rounding, ~1e-16
    Richardson, order 4, 6  differences at h, h/2 (and h/4)        ~1e-12, for code that is not analytic
    central difference      (f(x + hv) - f(x - hv))/2h             ~1e-10, the textbook

Complex step needs analytic code: no conjugate, no cast to real, comparisons of the real part (Squire & Trapp 1998;
Martins, Sturdza & Alonso 2003). A function that drops the imaginary part, or part of it, has a wrong derivative by this
method; where differences confirm the gradient that is reported as "not analytic", never as a wrong gradient.

Directions are N(0, I), not normalised: then an error e of a gradient changes <g, v> by about ‖e‖, whatever the
dimension. A unit direction would shrink that by the square root of the dimension. Cotangents are random too: under a
plain sum the true gradient of softmax or layer normalisation is 0, and nothing can be seen.

Verdicts are |<g, v> - reference| <= relative·‖g‖ + floor·‖G‖, with G all gradients together (and the cotangent). The
floor is needed: the gradient of a key bias is exactly 0 in theory; a ratio to its own norm compares noise with noise.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

__all__ = [
    "TOLERANCES",
    "NotAnalytic",
    "Report",
    "Row",
    "Tolerance",
    "central",
    "check",
    "check_gradients",
    "complex_step",
    "derivative",
    "richardson",
]

Array = Any
STEP = 1e-30


class Tolerance(NamedTuple):
    """|error| <= relative·‖g‖ + floor·‖G‖"""

    relative: float
    floor: float


# Measured on correct code, then given headroom. Complex step: errors stay below 5e-15 for one operator and below
# 1e-3 of the tolerance for twelve layers. Differences: what truncation and rounding leave at the best steps.
TOLERANCES = {
    ("complex", "operator"): Tolerance(1e-13, 1e-15),
    ("complex", "model"): Tolerance(1e-9, 1e-13),
    ("richardson", "operator"): Tolerance(1e-9, 1e-10),
    ("richardson", "model"): Tolerance(1e-6, 1e-9),
    ("central", "operator"): Tolerance(1e-7, 1e-8),
    ("central", "model"): Tolerance(1e-5, 1e-7),
}


class NotAnalytic(TypeError):
    """The function dropped the imaginary part, so the complex step cannot differentiate it."""


# ---- derivatives along a direction ----------------------------------------------------------------------------------


def complex_step(f: Callable[[Array], Array], x: Array, v: Array, h: float = STEP) -> Array:
    """Derivative of f at x along v, Im f(x + ihv)/h. f maps an array to an array or a number; x float64."""
    y = np.asarray(f(x + 1j * h * v))
    if y.dtype.kind != "c":
        raise NotAnalytic("the result is real although the input was complex: something casts, or takes abs or max")
    return y.imag / h


def central(f: Callable[[Array], Array], x: Array, v: Array, h: float | None = None) -> Array:
    """(f(x + hv) - f(x - hv))/2h; error O(h²) + noise/h. By default h = 6e-6 in units of x's own spread over v's."""
    h = 6e-6 * _unit(x, v) if h is None else h
    return (np.asarray(f(x + h * v)) - np.asarray(f(x - h * v))) / (2 * h)


def richardson(f: Callable[[Array], Array], x: Array, v: Array, h: float | None = None, order: int = 6) -> Array:
    """Central differences at h, h/2 (and h/4), combined so that the error is O(h⁴) (order 4) or O(h⁶) (order 6)."""
    if order not in (4, 6):
        raise ValueError(f"richardson: expected order 4 or 6, got {order}")
    h = {4: 1e-3, 6: 5e-3}[order] * _unit(x, v) if h is None else h
    d = [central(f, x, v, h / 2**k) for k in range(order // 2)]
    level = [(4 * fine - coarse) / 3 for coarse, fine in itertools.pairwise(d)]
    return level[0] if order == 4 else (16 * level[1] - level[0]) / 15


def _unit(x: Array, v: Array) -> float:
    """A step of 1 in x's own scale: rows that vary little (layer normalisation!) need proportionally small steps."""
    x = np.asarray(x, dtype=np.float64)
    if not x.size:
        return 1.0
    rows = x.reshape(-1, x.shape[-1]) if x.ndim > 1 else x.reshape(1, -1)
    spread = float(np.min(rows.std(axis=1)))
    return (spread or float(np.abs(x).max(initial=0.0)) or 1.0) / (float(np.abs(v).max(initial=0.0)) or 1.0)


_METHODS: dict[str, Callable[..., Array]] = {"complex": complex_step, "central": central, "richardson": richardson}


def derivative(f: Callable[[Array], Array], x: Array, v: Array, method: str = "complex") -> Array:
    """Derivative of f at x along v by "complex", "richardson" or "central"."""
    return _METHODS[_known(method)](f, x, v)


def _known(method: str) -> str:
    if method not in _METHODS:
        raise ValueError(f"method: expected one of {', '.join(_METHODS)}, got {method!r}")
    return method


# ---- reports --------------------------------------------------------------------------------------------------------


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
        width = max(len("tensor"), *(len(row.name) for row in self.rows))
        shapes = ["×".join(map(str, row.shape)) or "scalar" for row in self.rows]
        wide = max(len("shape"), *map(len, shapes))
        lines = [f"{'tensor':{width}} {'shape':>{wide}} {'‖g‖':>7} {'error':>7} {'tolerance':>9} verdict"]
        for row, shape in zip(self.rows, shapes, strict=True):
            numbers = f"{row.norm:7.1e} {row.error:7.1e} {row.tolerance:9.1e}"
            lines.append(f"{row.name:{width}} {shape:>{wide}} {numbers} {row.verdict}")
        return "\n".join(lines)


# ---- checks ---------------------------------------------------------------------------------------------------------


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
) -> Report:
    """Check one function pair,  y, cache = f(*args);  grads = f_backward(dy, cache).

    args        of f; the float64 arrays among them are differentiated, everything else (ids, options) is passed on.
                f_backward must return their gradients in the same order; a single one may come bare.
    names       of those arrays, for the report; f's own argument names by default
    tolerance   TOLERANCES[method, "operator"] by default

    Besides the values it checks that gradients have the shape and dtype of their arguments, that neither pass writes
    into what it was given, and that both give the same bits when called again.
    """
    rng = np.random.default_rng(seed)
    args = list(args)
    wanted = [i for i, a in enumerate(args) if isinstance(a, np.ndarray) and a.dtype.kind == "f"]
    if not wanted or any(args[i].dtype != np.float64 for i in wanted):
        raise TypeError("check: expected at least one float64 array in args, and no other float dtype")
    names = names or [_argument_names(f)[i] if i < len(_argument_names(f)) else f"argument {i}" for i in wanted]

    before = [np.array(a) if isinstance(a, np.ndarray) else a for a in args]
    y, cache = f(*args)
    y = np.asarray(y)
    first = y.copy()
    dy = rng.standard_normal(y.shape)
    dy_before = dy.copy()
    grads = _as_tuple(f_backward(dy if y.shape else dy[()], cache))
    copies = [np.array(g) for g in grads]
    again = [np.array(g) for g in _as_tuple(f_backward(dy if y.shape else dy[()], cache))]
    trouble = ""
    if len(grads) != len(wanted):
        raise TypeError(f"check: {len(wanted)} float arguments, but backward returned {len(grads)} gradients")
    if any(isinstance(a, np.ndarray) and not _same(a, b) for a, b in zip(args, before, strict=True)):
        trouble = "impure: an argument was written to"
    elif not np.array_equal(dy, dy_before):
        trouble = "impure: the upstream gradient was written to"
    elif not _same(np.asarray(f(*args)[0]), first):
        trouble = "not deterministic: forward differs when called again"
    elif not all(_same(a, b) for a, b in zip(copies, again, strict=True)):
        trouble = "not repeatable: backward differs when called again"

    # each gradient is a sum of terms as large as the cotangent; where they cancel, their rounding is left
    total = total_norm([*copies, dy])
    rows = []
    for i, name, g in zip(wanted, names, copies, strict=True):
        one = trouble or _shape_trouble(g, args[i])
        if one:
            rows.append(Row(name, args[i].shape, math.nan, math.nan, math.nan, one))
            continue

        def along(x: Array, i: int = i) -> Array:
            return (dy * f(*args[:i], x, *args[i + 1 :])[0]).sum()

        pairs = [(v, along) for v in rng.standard_normal((directions, *args[i].shape))]
        rows.append(_row(name, args[i], g, pairs, method, tolerance or TOLERANCES[_known(method), "operator"], total))
    return Report(tuple(rows))


def check_gradients(
    f: Callable[[Mapping[str, Array]], Array],
    point: Mapping[str, Array],
    gradients: Mapping[str, Array],
    *,
    method: str = "complex",
    directions: int = 1,
    seed: int = 0,
    tolerance: Tolerance | None = None,
) -> Report:
    """Check the gradients of a scalar function of many named tensors, tensor by tensor.

    f(point) -> scalar, for any mapping with the names of `point`; float64 arrays, or complex ones under the complex
    step. One row a tensor: its directional derivative against <gradient, v>.
    """
    rough = [name for name, x in point.items() if x.dtype != np.float64]
    if rough:
        raise TypeError(f"check_gradients: expected float64 arrays, {', '.join(rough)} has another dtype")
    rng = np.random.default_rng(seed)
    total = total_norm(gradients.values())
    rows = []
    for name, x in point.items():
        g = np.asarray(gradients[name])
        trouble = _shape_trouble(g, x)
        if trouble:
            rows.append(Row(name, x.shape, math.nan, math.nan, math.nan, trouble))
            continue

        def along(value: Array, name: str = name) -> Array:
            return f({**point, name: value})

        pairs = [(v, along) for v in rng.standard_normal((directions, *x.shape))]
        rows.append(_row(name, x, g, pairs, method, tolerance or TOLERANCES[_known(method), "model"], total))
    return Report(tuple(rows))


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


def _row(
    name: str,
    x: Array,
    g: Array,
    pairs: Sequence[tuple[Array, Callable[[Array], Array]]],
    method: str,
    tolerance: Tolerance,
    total: float,
) -> Row:
    def errors(method: str) -> list[float]:
        return [abs(float((g * v).sum()) - float(derivative(along, x, v, method))) for v, along in pairs]

    try:
        row = judge(name, g, errors(method), tolerance, total)
    except TypeError as error:  # real numbers were fine a moment ago
        return Row(name, x.shape, float(np.linalg.norm(g)), math.nan, math.nan, f"not analytic: {error}")
    if method == "complex" and row.verdict == "wrong":
        rough = TOLERANCES["richardson", "model"]  # an error below this is nothing that differences could excuse
        if not judge(name, g, [row.error], rough, total).ok and judge(name, g, errors("richardson"), rough, total).ok:
            return row._replace(verdict="not analytic: differences confirm the gradient; something takes conj or abs")
    return row


def _shape_trouble(g: Array, x: Array) -> str:
    if g.shape != x.shape:
        return f"shape: the gradient is {g.shape}, the tensor {x.shape}"
    return "" if g.dtype == x.dtype else f"dtype: the gradient is {g.dtype}, the tensor {x.dtype}"


def _same(a: Array, b: Array) -> bool:
    return np.array_equal(a, b, equal_nan=a.dtype.kind in "fc")


def _as_tuple(grads: Any) -> tuple[Array, ...]:
    return tuple(grads) if isinstance(grads, tuple | list) else (grads,)


def _argument_names(f: Callable[..., Any]) -> list[str]:
    import inspect

    try:
        return list(inspect.signature(f).parameters)
    except (TypeError, ValueError):  # some callables have no signature
        return []
