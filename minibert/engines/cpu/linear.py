"""Linear layers: products by NumPy's BLAS or by `amx`, or where rows are few by `packed` or `skinny`, a part for each
thread.

Rows of the result are cut where there are many, columns where there are few: no thread then packs much more of the
other operand than it multiplies with.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from ...ops.xp import Array
from . import amx, memory, packed, skinny, threads

LEAST = 1e6
"""Multiplications that pay for a thread: some 20 µs of work."""

ROWS = 256
"""Rows a thread should have: it then has nine tenths of the rate of 512 rows, with 128 less than that
(tools/bench_products.py); the rest goes into packing the other operand."""


class LinearCache(NamedTuple):
    x: Array  # (N, in)
    weight: Array  # (out, in)


def linear(x: Array, weight: Array, bias: Array) -> tuple[Array, LinearCache]:
    y = memory.empty((x.shape[0], weight.shape[0]))
    affine(x, weight, bias, y)
    return y, LinearCache(x, weight)


def linear_backward(dy: Array, cache: LinearCache, totals: Sequence[Array] | None = None) -> tuple[Array, Array, Array]:
    x, weight = cache
    dx = memory.empty(x.shape)
    dweight, dbias = totals or (memory.empty(weight.shape), memory.empty(weight.shape[:1]))
    threads.run([*product(dy, weight, dx), *weight_gradients(dy, x, dweight, dbias, totals is not None)])
    return dx, dweight, dbias


def affine(x: Array, weight: Array, bias: Array, y: Array) -> None:
    """y = x Wᵀ + b"""
    (rows, columns), depth = y.shape, x.shape[1]
    number = threads.number(y.size * depth, LEAST)
    if packed.fits(x, weight):
        threads.share(packed.tasks(x, weight, bias, y, number))
    elif rows < number * ROWS and amx.pays(rows, columns, depth):
        threads.share(amx.tasks(x, weight.T, y, bias, number=number))
    else:
        threads.run(_affine(x, weight, bias, y))


def _affine(x: Array, weight: Array, bias: Array, y: Array) -> Iterator[threads.Task]:
    few = 0 < len(x) <= skinny.MOST
    if few:
        x, weight, bias = (np.ascontiguousarray(array) for array in (x, weight, bias))

    def part(rows: slice, columns: slice) -> None:
        if few:
            skinny.multiply(x, weight[columns], bias[columns], y[:, columns])
        else:
            multiply(x[rows], weight[columns].T, y[rows, columns], bias[columns])

    for rows, columns in parts(y, x.shape[1]):
        yield functools.partial(part, rows, columns)


def product(a: Array, b: Array, out: Array, add: bool = False) -> Iterator[threads.Task]:
    """Tasks that together compute out = a b, or out += a b."""
    for rows, columns in parts(out, a.shape[1]):
        yield functools.partial(multiply, a[rows], b[:, columns], out[rows, columns], add=add)


def multiply(a: Array, b: Array, out: Array, bias: Array | None = None, add: bool = False) -> None:
    """out = a b + bias, or out += a b, all of it in the calling thread."""
    rows, columns = out.shape
    by_rows = out.dtype == np.float32 and out.strides[1] == out.itemsize  # amx writes to addresses; totals may be any
    if by_rows and amx.pays(rows, columns, a.shape[1]):
        amx.product(a, b, out, bias, add)
    elif add:
        np.add(out, np.matmul(a, b, out=memory.empty(out.shape)), out=out)
    else:
        np.matmul(a, b, out=out)
        if bias is not None:
            np.add(out, bias, out=out)


def parts(out: Array, depth: int) -> Iterator[tuple[slice, slice]]:
    """The pieces of a result each of whose numbers takes `depth` multiplications, one piece for each thread."""
    rows, columns = out.shape
    number = threads.number(out.size * depth, LEAST)
    everything = slice(None)
    if rows >= number * ROWS or rows >= columns:
        yield from ((piece, everything) for piece in threads.ranges(rows, number))
    else:
        yield from ((everything, piece) for piece in threads.ranges(columns, number, 4))


def weight_gradients(dy: Array, x: Array, dweight: Array, dbias: Array, add: bool) -> Iterator[threads.Task]:
    """Tasks that together compute dW = dyᵀ x and db = Σₙ dy, or add these, each for some of their numbers: nobody adds
    up what others computed, so one thread or many give the same sums."""

    def sums(outputs: slice) -> None:
        total = np.zeros(outputs.stop - outputs.start, np.float32)
        for first in range(0, len(dy), ROWS):  # one sum over a hundred thousand rows would lose the small ones
            total += dy[first : first + ROWS, outputs].sum(axis=0)
        if add:
            total += dbias[outputs]
        dbias[outputs] = total

    for outputs, inputs in parts(dweight, len(dy)):
        yield functools.partial(multiply, dy[:, outputs].T, x[:, inputs], dweight[outputs, inputs], add=add)
    for outputs in threads.ranges(len(dbias), threads.number(dy.size, LEAST), 16):
        yield functools.partial(sums, outputs)
