"""The operators that exercises are about: what they are called, the shapes of their backward, and arguments to try."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from ... import ops
from ...ops.xp import Array

Draw = Callable[[np.random.Generator, float], tuple[Any, ...]]

SCALES = (1.0, 0.02, 5.0, 1.0, 0.3, 1e-3)
"""Spread of the drawn arrays, one a case: small and large numbers show different mistakes."""


class Operator(NamedTuple):
    """title: in words. shapes: of the gradients, which is all the docstring that a student's backward gets. parts: of
    one argument that is several side by side, each of which is judged by itself."""

    name: str
    title: str
    shapes: str
    draw: Draw
    parts: tuple[str, ...] = ()

    @property
    def forward(self) -> Callable[..., Any]:
        return getattr(ops, self.name)  # type: ignore[no-any-return]

    @property
    def backward(self) -> Callable[..., Any]:
        return getattr(ops, f"{self.name}_backward")  # type: ignore[no-any-return]

    @property
    def adds_to(self) -> str:
        """The name of the argument that holds totals; "" if there is none."""
        return next((p for p in inspect.signature(self.backward).parameters if p.startswith("total")), "")

    def cases(self) -> list[tuple[Any, ...]]:
        """Arguments to try, the same at every call."""
        return [self.draw(np.random.default_rng([7, case]), scale) for case, scale in enumerate(SCALES)]


def _normal(rng: np.random.Generator, scale: float, *shape: int) -> Array:
    """With a mean away from 0, which hides nothing."""
    return scale * (rng.standard_normal(shape) + 0.5)


def _sizes(rng: np.random.Generator, number: int) -> list[int]:
    """From 4 to 9, all different: shapes that agree by chance hide a forgotten transpose."""
    return [int(size) for size in rng.permutation(np.arange(4, 10))[:number]]


def _cu(rng: np.random.Generator) -> Array:
    """Offsets of four sequences, one of them empty."""
    return np.cumsum([0, *rng.permutation([0, *rng.integers(1, 6, 3)])])


def _linear(rng: np.random.Generator, scale: float) -> tuple[Any, ...]:
    n, i, o = _sizes(rng, 3)
    return _normal(rng, scale, n, i), _normal(rng, scale, o, i), _normal(rng, scale, o)


def _rows(rng: np.random.Generator, scale: float) -> tuple[Any, ...]:
    v, h, n = _sizes(rng, 3)
    return _normal(rng, scale, v, h), rng.integers(0, v, 2 * n)  # so ids repeat


def _matrix(rng: np.random.Generator, scale: float) -> tuple[Any, ...]:
    return (_normal(rng, scale, *_sizes(rng, 2)),)


def _dropout(rng: np.random.Generator, scale: float) -> tuple[Any, ...]:
    return *_matrix(rng, scale), 0.3, int(rng.integers(2**63))


def _layer_norm(rng: np.random.Generator, scale: float) -> tuple[Any, ...]:
    (x,) = _matrix(rng, scale)
    return x, 1 + _normal(rng, 0.5, x.shape[1]), _normal(rng, scale, x.shape[1]), 1e-5


def _add_layer_norm(rng: np.random.Generator, scale: float) -> tuple[Any, ...]:
    x, gamma, beta, eps = _layer_norm(rng, scale)
    return x, _normal(rng, scale, *x.shape), gamma, beta, eps, 0.3, int(rng.integers(2**63))


def _feed_forward(rng: np.random.Generator, scale: float) -> tuple[Any, ...]:
    n, h, i = _sizes(rng, 3)
    weights = _normal(rng, scale, i, h), _normal(rng, scale, i), _normal(rng, scale, h, i), _normal(rng, scale, h)
    return _normal(rng, scale, n, h), *weights, str(rng.choice(["gelu", "gelu_new", "silu"]))


def _attention(rng: np.random.Generator, scale: float) -> tuple[Any, ...]:
    heads, size = int(rng.integers(2, 4)), int(rng.integers(2, 5))
    cu = _cu(rng)
    causal, rate = bool(rng.integers(2)), float(rng.choice([0.0, 0.3]))
    return _normal(rng, scale, int(cu[-1]), 3 * heads * size), cu, heads, causal, rate, int(rng.integers(2**63))


def _cross_entropy(rng: np.random.Generator, scale: float) -> tuple[Any, ...]:
    (logits,) = _matrix(rng, scale)
    labels = rng.integers(0, logits.shape[1], len(logits))
    labels[rng.permutation(len(labels))[:2]] = ops.IGNORE_INDEX
    return logits, labels


def _spans(rng: np.random.Generator, scale: float) -> tuple[Any, ...]:
    cu = np.cumsum([0, *rng.integers(1, 6, 4)])
    labels = rng.integers(0, np.diff(cu))
    labels[0] = ops.IGNORE_INDEX
    return _normal(rng, scale, int(cu[-1])), labels, cu


def _targets(rng: np.random.Generator, scale: float) -> tuple[Any, ...]:
    (x,) = _matrix(rng, scale)
    return x, rng.integers(0, 2, x.shape)


def _pairs(rng: np.random.Generator, scale: float) -> tuple[Any, ...]:
    sizes = _sizes(rng, 2)
    return _normal(rng, scale, *sizes), _normal(rng, scale, *sizes)


_SAME = "dy, any shape -> dx, the same shape"

OPERATORS = {
    operator.name: operator
    for operator in (
        Operator("linear", "the linear layer",
                 "dy (N, out) -> dx (N, in), dweight (out, in), dbias (out,)", _linear),
        Operator("embedding", "looking rows up in a table",
                 "dy (N, H) -> dtable (V, H)", _rows),
        Operator("gather_rows", "taking rows out of a matrix",
                 "dy (M, ...) -> dx (N, ...)", _rows),
        Operator("relu", "relu", _SAME, _matrix),
        Operator("silu", "silu", _SAME, _matrix),
        Operator("tanh", "tanh, the pooler's activation", _SAME, _matrix),
        Operator("gelu", "GELU, the exact form", _SAME, _matrix),
        Operator("gelu_new", "GELU, the tanh form", _SAME, _matrix),
        Operator("softmax", "softmax", "dprobs (..., T) -> dscores (..., T)", _matrix),
        Operator("dropout", "dropout", _SAME, _dropout),
        Operator("layer_norm", "layer normalisation",
                 "dy (N, H) -> dx (N, H), dgamma (H,), dbeta (H,)", _layer_norm),
        Operator("add_layer_norm", "residual sum and layer normalisation",
                 "dy (N, H) -> dx (N, H), dresidual (N, H), dgamma (H,), dbeta (H,)", _add_layer_norm),
        Operator("feed_forward", "the feed-forward network",
                 "dy (N, H) -> dx (N, H), dweight1 (I, H), dbias1 (I,), dweight2 (H, I), dbias2 (H,)", _feed_forward),
        Operator("attention", "self-attention on packed sequences",
                 "dcontext (N, H) -> dqkv (N, 3H)", _attention, ("q", "k", "v")),
        Operator("cross_entropy", "cross-entropy",
                 "dloss () -> dlogits (N, C)", _cross_entropy),
        Operator("span_cross_entropy", "cross-entropy over positions",
                 "dloss () -> dlogits (N,)", _spans),
        Operator("binary_cross_entropy", "binary cross-entropy",
                 "dloss () -> dlogits, the shape of logits", _targets),
        Operator("mean_squared_error", "mean squared error",
                 "dloss () -> dx, the shape of x", _targets),
        Operator("cosine", "the cosine of pairs of vectors",
                 "dy (Q,) -> da (Q, H), db (Q, H)", _pairs),
    )
}  # fmt: skip
