"""Moving rows. All of it is bound by memory, a few milliseconds of a training step: one thread, no sorting."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from ...ops.xp import Array
from . import memory
from .compile import kernel


class RowsCache(NamedTuple):
    rows: Array  # (M,) integers
    num_rows: int


def embedding(table: Array, ids: Array) -> tuple[Array, RowsCache]:
    return _rows_of(table, ids), RowsCache(ids, table.shape[0])


def embedding_backward(dy: Array, cache: RowsCache, total: Array | None = None) -> Array:
    if total is None:
        return scatter_rows(dy, *cache)[0]
    add_rows(dy, cache.rows, total)
    return total


def gather_rows(x: Array, rows: Array) -> tuple[Array, RowsCache]:
    return embedding(x, rows)


def gather_rows_backward(dy: Array, cache: RowsCache) -> Array:
    return scatter_rows(dy, *cache)[0]


def scatter_rows(x: Array, rows: Array, num_rows: int) -> tuple[Array, RowsCache]:
    y = np.zeros((num_rows,) + x.shape[1:], dtype=np.float32)  # lazily zero: most rows of a vocabulary stay untouched
    size = math.prod(x.shape[1:])  # -1 would not do for no rows
    add_rows(x.reshape(len(rows), size), rows, y.reshape(num_rows, size))
    return y, RowsCache(rows, num_rows)


def scatter_rows_backward(dy: Array, cache: RowsCache) -> Array:
    return _rows_of(dy, cache.rows)


def _rows_of(x: Array, rows: Array) -> Array:
    y = memory.empty((len(rows),) + x.shape[1:])
    return np.take(x, rows, axis=0, out=y, mode="clip")  # rows are checked at the door; "raise" would copy


@kernel
def add_rows(x: Any, rows: Any, y: Any) -> None:
    """y[rowsₘ] += xₘ, in the order of m: repeated rows add up in the same order on every machine."""
    for m in range(x.shape[0]):
        row = y[rows[m]]  # named, or LLVM fears that writing y changes rows
        for j in range(x.shape[1]):
            row[j] += x[m, j]
