"""The check of the gradients of one scalar function of many tensors."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from .analytic import contradicted
from .derivatives import derivative, known
from .report import TOLERANCES, Report, Row, Tolerance, judge, total_norm

Array = Any

NOT_CONFIRMED = (
    "not analytic: differences confirm the gradient; something takes conj or abs, as np.abs, np.var, np.std and "
    'np.linalg.norm do. method="richardson" does without the complex step'
)


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
    step. One row a tensor: its directional derivative against <gradient, v>, within TOLERANCES[method, "model"] unless
    a tolerance is given.
    """
    rough = [name for name, x in point.items() if x.dtype != np.float64]
    if rough:
        raise TypeError(f"check_gradients: expected float64 arrays, {', '.join(rough)} has another dtype")
    rng = np.random.default_rng(seed)
    allowed = tolerance or TOLERANCES[known(method), "model"]
    total = total_norm(gradients.values())
    rows = []
    for name, x in point.items():
        g = np.asarray(gradients[name])
        trouble = shape_trouble(g, x)
        if trouble:
            rows.append(Row(name, x.shape, math.nan, math.nan, math.nan, trouble))
            continue

        def along_x(value: Array, name: str = name) -> Array:
            return f({**point, name: value})

        rows.append(
            _row(name, x, g, along_x, list(rng.standard_normal((directions, *x.shape))), method, allowed, total)
        )
    return Report(tuple(rows))


def _row(
    name: str,
    x: Array,
    g: Array,
    along_x: Callable[[Array], Array],
    along_v: Sequence[Array],
    method: str,
    tolerance: Tolerance,
    total: float,
) -> Row:
    def errors(method: str) -> list[float]:
        return [abs(float((g * v).sum()) - float(derivative(along_x, x, v, method))) for v in along_v]

    try:
        row = judge(name, g, errors(method), tolerance, total)
    except TypeError as error:  # real numbers were fine a moment ago
        if method != "complex":
            raise
        return Row(name, x.shape, float(np.linalg.norm(g)), math.nan, math.nan, f"not analytic: {error}")
    v = along_v[0]
    if method == "complex" and row.ok and contradicted(along_x, x, v, float(derivative(along_x, x, v, method))):
        rough = TOLERANCES["richardson", "model"]
        by_differences = judge(name, g, errors("richardson"), rough, total)
        return by_differences._replace(verdict=NOT_CONFIRMED) if by_differences.ok else by_differences
    if method == "complex" and row.verdict == "wrong":
        rough = TOLERANCES["richardson", "model"]  # an error below this is nothing that differences could excuse
        if not judge(name, g, [row.error], rough, total).ok and judge(name, g, errors("richardson"), rough, total).ok:
            return row._replace(verdict=NOT_CONFIRMED)
    return row


def shape_trouble(g: Array, x: Array) -> str:
    if g.shape != x.shape:
        return f"shape: the gradient is {g.shape}, the tensor {x.shape}"
    return "" if g.dtype == x.dtype else f"dtype: the gradient is {g.dtype}, the tensor {x.dtype}"
