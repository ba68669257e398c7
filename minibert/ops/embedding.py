"""Embedding: look rows up by id, and its transpose, scatter-add.

A lookup is a product with a one-hot matrix S (N, V), Sₙᵥ = [idₙ = v]:  y = S E, hence dE = Sᵀ dy. Nobody forms S: the
product is a gather, its transpose a scatter that adds. The same pair moves rows of any matrix (`gather_rows`), which
is how the masked-LM head sees only the asked places and the pooler only the first token of each sequence.

PyTorch drops the lookup gradient of the padding row by convention (`padding_idx`). That is not the derivative of what
was computed; here the gradient is the derivative, and padding never enters a packed batch anyway.
"""

from __future__ import annotations

from typing import NamedTuple

from .xp import Array, added, namespace


class EmbeddingCache(NamedTuple):
    ids: Array  # (N,) integers
    num_rows: int  # V


def embedding(table: Array, ids: Array) -> tuple[Array, EmbeddingCache]:
    """One row of the table for each id:  yₙ = E[idₙ].

    table (V, H), ids (N,) with 0 <= id < V -> y (N, H)
    Ids are checked at the model's door: NumPy would let -1 mean the last row, CuPy wraps, Numba reads foreign memory.
    """
    return table[ids], EmbeddingCache(ids, table.shape[0])


def embedding_backward(dy: Array, cache: EmbeddingCache, total: Array | None = None) -> Array:
    """dE[v] = Σ of dyₙ over all n with idₙ = v

    dy (N, H) -> dtable (V, H); a given total is added to
    Common mistake: `dtable[ids] += dy` keeps one of several rows with the same id; the sum needs `add.at`.
    """
    dtable, _ = scatter_rows(dy, *cache)
    return dtable if total is None else added([total], dtable)[0]


class RowsCache(NamedTuple):
    rows: Array  # (M,) integers
    num_rows: int  # N


def gather_rows(x: Array, rows: Array) -> tuple[Array, RowsCache]:
    """The asked rows, in the asked order:  yₘ = x[rowsₘ].    x (N, ...), rows (M,) -> y (M, ...)"""
    return x[rows], RowsCache(rows, x.shape[0])


def gather_rows_backward(dy: Array, cache: RowsCache) -> Array:
    """The transpose: add each row of dy where it came from.    dy (M, ...) -> dx (N, ...)"""
    dx, _ = scatter_rows(dy, *cache)
    return dx


def scatter_rows(x: Array, rows: Array, num_rows: int) -> tuple[Array, RowsCache]:
    """Zeros, with each row added at its place:  y[rowsₘ] += xₘ.    x (M, ...), rows (M,) -> y (num_rows, ...)"""
    xp = namespace(x)
    y = xp.zeros((num_rows,) + x.shape[1:], dtype=x.dtype)
    xp.add.at(y, rows, x)
    return y, RowsCache(rows, num_rows)


def scatter_rows_backward(dy: Array, cache: RowsCache) -> Array:
    """The transpose: gather.    dy (num_rows, ...) -> dx (M, ...)"""
    return dy[cache.rows]
