"""Matrix products by NumPy's BLAS, cut into one part for each thread.

Rows of the result are cut where there are many, columns where there are few: no thread then packs much more of the
other operand than it multiplies with. Small products stay whole, on BLAS's own threads.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from ...ops.xp import Array
from . import memory, threads

SMALL = 1e9
"""Floating-point operations below which a product is not cut."""

ROWS = 256
"""Rows a thread should have; with fewer, packing the other operand costs more than a tenth of the product."""


class LinearCache(NamedTuple):
    x: Array  # (N, in)
    weight: Array  # (out, in)


def linear(x: Array, weight: Array, bias: Array) -> tuple[Array, LinearCache]:
    y = memory.empty((x.shape[0], weight.shape[0]))
    if is_small(x, weight):
        np.matmul(x, weight.T, out=y)
        y += bias
    else:
        threads.run(product_with_bias(x, weight, bias, y))
    return y, LinearCache(x, weight)


def linear_backward(dy: Array, cache: LinearCache) -> tuple[Array, Array, Array]:
    x, weight = cache
    dx, dweight, dbias = memory.empty(x.shape), memory.empty(weight.shape), memory.empty(weight.shape[:1])
    if is_small(x, weight):
        np.matmul(dy, weight, out=dx)
        weight_gradient(dy, x, dweight, dbias, 0, len(dbias))
    else:
        threads.run([*product(dy, weight, dx), *weight_gradients(dy, x, dweight, dbias)])
    return dx, dweight, dbias


def is_small(x: Array, weight: Array) -> bool:
    return bool(2.0 * x.shape[0] * weight.size < SMALL)


def product(a: Array, b: Array, out: Array) -> Iterator[threads.Task]:
    """Tasks that together compute out = a b."""
    for rows, columns in parts(out):
        yield functools.partial(np.matmul, a[rows], b[:, columns], out=out[rows, columns])


def product_with_bias(x: Array, weight: Array, bias: Array, y: Array) -> Iterator[threads.Task]:
    """Tasks that together compute y = x Wᵀ + b."""

    def part(rows: slice, columns: slice) -> None:
        out = y[rows, columns]
        np.matmul(x[rows], weight[columns].T, out=out)
        np.add(out, bias[columns], out=out)

    for rows, columns in parts(y):
        yield functools.partial(part, rows, columns)


def parts(out: Array) -> Iterator[tuple[slice, slice]]:
    """The pieces of a result, one for each thread."""
    rows, columns = out.shape
    number = threads.count()
    everything = slice(None)
    if rows >= number * ROWS or rows >= columns:
        yield from ((piece, everything) for piece in threads.ranges(rows, number))
    else:
        yield from ((everything, piece) for piece in threads.ranges(columns, number))


def weight_gradients(dy: Array, x: Array, dweight: Array, dbias: Array) -> Iterator[threads.Task]:
    """Tasks that together compute dW = dyᵀ x and db = Σₙ dy, each for some of the outputs: nobody adds up what others
    computed, so one thread or many give the same sums."""
    for outputs in threads.ranges(len(dbias), threads.count()):
        yield functools.partial(weight_gradient, dy, x, dweight, dbias, outputs.start, outputs.stop)


def weight_gradient(dy: Array, x: Array, dweight: Array, dbias: Array, start: int, stop: int) -> None:
    """Outputs start to stop."""
    np.matmul(dy[:, start:stop].T, x, out=dweight[start:stop])
    np.sum(dy[:, start:stop], axis=0, out=dbias[start:stop])
