"""The checks: of one pair of functions, and of the gradients of a function of many tensors."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from .derivatives import derivative, known
from .report import TOLERANCES, Report, Row, Tolerance, judge, total_norm

Array = Any


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
        raise TypeError(
            "check: expected args to be a list with at least one float64 array and no other float dtype; "
            f"got {', '.join(map(_kind, args)) or 'nothing'} (x.astype(np.float64) makes one of x)"
        )
    names = names or [_argument_names(f)[i] if i < len(_argument_names(f)) else f"argument {i}" for i in wanted]

    result = f(*args)
    if not isinstance(result, tuple) or len(result) != 2:
        raise TypeError(f"check: expected f to return (y, cache), got {_kind(result)}")
    dy = rng.standard_normal(np.shape(result[0]))
    grads, trouble = _run(f, f_backward, args, dy)
    if len(grads) != len(wanted):
        raise TypeError(
            f"check: expected a gradient for each of {', '.join(names)}, and none for other arguments; "
            f"backward returned {len(grads)}"
        )

    # each gradient is a sum of terms as large as the cotangent; where they cancel, their rounding is left
    total = total_norm([*grads, dy])
    rows = []
    for i, name, g in zip(wanted, names, grads, strict=True):
        one = trouble or _shape_trouble(g, args[i])
        if one:
            rows.append(Row(name, args[i].shape, math.nan, math.nan, math.nan, one))
            continue

        def along(x: Array, i: int = i) -> Array:
            return (dy * f(*args[:i], x, *args[i + 1 :])[0]).sum()

        pairs = [(v, along) for v in rng.standard_normal((directions, *args[i].shape))]
        rows.append(_row(name, args[i], g, pairs, method, tolerance or TOLERANCES[known(method), "operator"], total))
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
        rows.append(_row(name, x, g, pairs, method, tolerance or TOLERANCES[known(method), "model"], total))
    return Report(tuple(rows))


def _run(
    f: Callable[..., Any], f_backward: Callable[..., Any], args: Sequence[Any], dy: Array
) -> tuple[list[Array], str]:
    """The gradients of one run, and what the functions did that they must not do; empty if nothing."""
    args_before = [np.array(a) if isinstance(a, np.ndarray) else a for a in args]
    upstream = dy.copy()[()]  # a scalar function gets a scalar
    y, cache = f(*args)
    first = np.array(y)
    returned = _as_tuple(f_backward(upstream, cache))
    if any(not hasattr(g, "dtype") for g in returned):
        raise TypeError(f"check: expected backward to return arrays, got {', '.join(map(_kind, returned))}")
    grads = [np.array(g) for g in returned]
    again = [np.array(g) for g in _as_tuple(f_backward(upstream, cache))]
    if not all(_same(a, b) for a, b in zip(args, args_before, strict=True) if isinstance(a, np.ndarray)):
        return grads, "impure: an argument was written to"
    if not _same(upstream, dy):
        return grads, "impure: the upstream gradient was written to"
    if not _same(np.asarray(f(*args)[0]), first):
        return grads, "not deterministic: forward differs when called again"
    if not all(_same(a, b) for a, b in zip(grads, again, strict=True)):
        return grads, "not repeatable: backward differs when called again"
    return grads, ""


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
        if method != "complex":
            raise
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


def _kind(value: Any) -> str:
    return f"{value.dtype} array" if isinstance(value, np.ndarray) else type(value).__name__


def _same(a: Array, b: Array) -> bool:
    return np.array_equal(a, b, equal_nan=a.dtype.kind in "fc")


def _as_tuple(grads: Any) -> tuple[Array, ...]:
    return tuple(grads) if isinstance(grads, tuple | list) else (grads,)


def _argument_names(f: Callable[..., Any]) -> list[str]:
    try:
        return list(inspect.signature(f).parameters)
    except (TypeError, ValueError):  # some callables have no signature
        return []
