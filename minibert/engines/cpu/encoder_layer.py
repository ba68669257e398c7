"""A whole layer of the encoder as one kernel, for inference.

With a short text an operator takes some hundred microseconds, and to come back to Python after each, and to hand the
next one to the threads, takes nearly as long: what Python needs has been driven out of the caches by the weights. Here
the threads go from operator to operator by themselves, and share the pieces of each.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numba.extending import register_jitable

from ...ops.xp import Array
from . import amx, blas, counters, memory, packed, threads
from .activations import VALUES
from .attention import score_counts, scratch_size
from .attention_kernels import forward_units
from .compile import INLINED, helper, kernel
from .counters import finish, take, wait
from .dropout import mask
from .layer_norm import normalise
from .linear import LEAST

_ROWS = 4
"""Rows of a piece of what is done a row at a time."""


def encoder_layer(
    x: Array,
    cu_seqlens: Array,
    num_heads: int,
    causal: bool,
    weights: Sequence[Array],
    biases: Sequence[Array],
    norms: Sequence[Array],
    eps: float,
    activation: str,
) -> Array | None:
    """h = LN(x + attention(x W_qkv) W_O)        y = LN(h + FFN(h))        None where there is no kernel for it.

    x (N, H), cu_seqlens (B+1,); weights and biases of the linear layers: queries, keys and values, attention's output,
    the inner one and the outer one; norms: gain and bias after attention, and at the end -> y (N, H)
    """
    everything = (x, *weights, *biases, *norms)
    if not len(x) or any(array.dtype != np.float32 for array in everything):
        return None
    (rows, hidden), inner = x.shape, len(weights[2])
    product: Callable[..., None]
    ready: tuple[Any, ...]
    if all(packed.fits(x, weight) for weight in weights):
        product, ready = _by_panels, tuple(packed.panels(weight) for weight in weights)
        most = packed.WIDTH * rows
    elif all(amx.pays(rows, *weight.shape) for weight in weights):
        product, ready = _by_tiles, tuple(amx.matrix(weight.T) for weight in weights)
        most = amx.workspace(rows, max(hidden, inner)) // 4
    else:
        return None
    cu_seqlens, before = score_counts(cu_seqlens, num_heads)
    most = max(most, scratch_size(cu_seqlens), hidden + 1)
    number = threads.number(rows * sum(weight.size for weight in weights), LEAST)
    rounds = 4 + sum(_rounds(rows, weight.shape[1]) for weight in weights)
    counts = counters.counters(number, rounds)
    space = memory.empty((rows * (6 * hidden + 2 * inner + 2 * num_heads),))
    scratch = memory.empty((number, -(-most // 16) * 16))
    y = memory.empty(x.shape)
    x = x if x.flags.carray else x.copy()  # one type of everything, or each mixture would be compiled for itself
    batch = x, cu_seqlens, before, num_heads, bool(causal), np.float32(eps), mask(0.0, 0)
    model = ready, _read_only(biases), _read_only(norms)
    rest = blas.address(), amx.CONSTANTS.ctypes.data, number, counts, space
    compiled = _layer(product, activation)

    def part(own: int, *_: Array) -> None:
        compiled(*batch, *model, *rest, scratch[own], own, y)

    threads.share([functools.partial(part, own, *weights) for own in range(number)])  # addresses keep nothing alive
    return y


def _read_only(arrays: Sequence[Array]) -> tuple[Array, ...]:
    views = tuple(np.ascontiguousarray(array).view() for array in arrays)
    for view in views:
        view.flags.writeable = False
    return views


@helper
def _rounds(rows: int, depth: int) -> int:
    """Of counters, for a product: `amx.multiply` has the most."""
    return (rows + amx.ROWS - 1) // amx.ROWS * ((depth + amx.MOST_DEPTH - 1) // amx.MOST_DEPTH)


@helper
def _next(counts: Array, rounds: int, parts: int) -> tuple[Array, Array]:
    """The counters of so many rounds, and those that are left."""
    size = counters.LINE * (parts + 1) * rounds
    return counts[:size], counts[size:]


@helper
def _matrix(x: Any) -> Any:
    return np.int64(x.ctypes.data), x.strides[0], x.strides[1]


def _by_panels(x: Any, weight: Any, bias: Any, y: Any, scratch: Any, _: Any, counts: Any, own: Any, __: Any) -> None:
    """y = x Wᵀ + b    weight: `packed.panels`"""
    few = scratch[: len(x) * packed.WIDTH].reshape(len(x), packed.WIDTH)
    packed.multiply(x, weight, bias, y, few, counts, own)


def _by_tiles(
    x: Any, weight: Any, bias: Any, y: Any, scratch: Any, constants: Any, counts: Any, own: Any, parts: Any
) -> None:
    """y = x Wᵀ + b    weight: `amx.matrix` of Wᵀ"""
    shape = y.shape[0], y.shape[1], x.shape[1]
    start, room = np.int64(bias.ctypes.data), np.int64(scratch.ctypes.data)
    amx.multiply(_matrix(x), weight, _matrix(y), shape, start, room, constants, counts, own, parts)


for _product in _by_panels, _by_tiles:
    register_jitable(**INLINED)(_product)


@helper
def _add_and_normalise(
    x: Array, residual: Array, gamma: Array, beta: Array, eps: Any, y: Array, scratch: Array, counts: Array, own: int
) -> None:
    """y = LN(x + residual)"""
    pieces = (len(x) + _ROWS - 1) // _ROWS
    xhat, rstd = scratch[: x.shape[1]].reshape(1, x.shape[1]), scratch[x.shape[1] : x.shape[1] + 1]
    zero, piece = np.uint32(0), take(counts, own, pieces)
    while piece >= 0:
        n = slice(piece * _ROWS, min((piece + 1) * _ROWS, len(x)))
        normalise(
            x[n], scratch[:0], residual[n], gamma, beta, eps, zero, zero, zero, zero, np.float32(1), y[n], xhat, rstd
        )  # fmt: skip
        finish(counts, 1)
        piece = take(counts, own, pieces)
    wait(counts, pieces)


@functools.cache
def _layer(product: Callable[..., None], activation: str) -> Any:
    """The kernel. As in `activations.fused`, what is in its closure are plain functions."""
    value = VALUES[activation]

    def layer(
        x: Any, cu_seqlens: Any, before: Any, heads: Any, causal: Any, eps: Any, nothing_dropped: Any,
        weights: Any, biases: Any, norms: Any,
        blas: Any, constants: Any, parts: Any, counts: Any, space: Any, scratch: Any, own: Any, y: Any,
    ) -> None:  # fmt: skip
        (rows, hidden), inner = x.shape, biases[2].size
        qkv, space = _carve(space, rows, 3 * hidden)
        context, space = _carve(space, rows, hidden)
        s, space = _carve(space, rows, hidden)  # what comes out of a sublayer
        h, space = _carve(space, rows, hidden)
        u, space = _carve(space, rows, inner)
        a, space = _carve(space, rows, inner)
        peaks, space = _carve(space, heads, rows)
        inverses, space = _carve(space, heads, rows)
        wide, narrow = _rounds(rows, inner), _rounds(rows, hidden)

        now, counts = _next(counts, narrow, parts)
        product(x, weights[0], biases[0], qkv, scratch, constants, now, own, parts)
        now, counts = _next(counts, 1, parts)
        forward_units(
            blas, now, own, qkv, cu_seqlens, before, causal, nothing_dropped, scratch, context, peaks, inverses
        )  # fmt: skip
        now, counts = _next(counts, narrow, parts)
        product(context, weights[1], biases[1], s, scratch, constants, now, own, parts)
        now, counts = _next(counts, 1, parts)
        _add_and_normalise(s, x, norms[0], norms[1], eps, h, scratch, now, own)

        now, counts = _next(counts, narrow, parts)
        product(h, weights[2], biases[2], u, scratch, constants, now, own, parts)
        now, counts = _next(counts, 1, parts)
        pieces = (rows + _ROWS - 1) // _ROWS
        piece = take(now, own, pieces)
        while piece >= 0:
            for n in range(piece * _ROWS, min((piece + 1) * _ROWS, rows)):
                before_it, after_it = u[n], a[n]
                for i in range(inner):
                    after_it[i] = value(before_it[i])
            finish(now, 1)
            piece = take(now, own, pieces)
        wait(now, pieces)
        now, counts = _next(counts, wide, parts)
        product(a, weights[3], biases[3], s, scratch, constants, now, own, parts)
        now, counts = _next(counts, 1, parts)
        _add_and_normalise(s, h, norms[2], norms[3], eps, y, scratch, now, own)

    return kernel(layer)


@helper
def _carve(space: Array, rows: int, columns: int) -> tuple[Array, Array]:
    """A matrix from the beginning of it, and the rest."""
    size = rows * columns
    return space[:size].reshape(rows, columns), space[size:]
