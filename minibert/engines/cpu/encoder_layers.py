"""Layers of the encoder as one kernel, for inference.

With a short text an operator is done so soon that it counts to come back to Python after each, and to hand the next one
to the threads: what Python needs has been driven out of the caches by the weights. Here the threads go from operator to
operator by themselves, and share the pieces of each.
"""

from __future__ import annotations

import functools
import weakref
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from llvmlite import ir
from numba import carray  # type: ignore[attr-defined]
from numba.core import types
from numba.extending import intrinsic, register_jitable

from ...ops.xp import Array
from . import amx, blas, counters, memory, packed, threads
from .activations import VALUES
from .attention import score_counts, scratch_size
from .attention_kernels import forward_units
from .compile import FLAGS, helper, kernel
from .counters import finish, take, wait
from .dropout import mask
from .layer_norm import normalise
from .linear import LEAST

_ROWS = 4
"""Rows of a piece of what is done a row at a time."""

_MOST = 4e9
"""Multiplications of one call, some tens of milliseconds: Ctrl-C waits for its end."""

Layer = Sequence[Array]
"""Weight and bias of four linear layers (queries, keys and values; attention's output; the inner and the outer one),
then gain and bias of two normalisations (after attention; at the end)."""

_instruction: Any = intrinsic
_tables: dict[tuple[int, ...], tuple[list[Any], Array]] = {}


def encoder_layers(
    x: Array, cu_seqlens: Array, num_heads: int, causal: bool, layers: Sequence[Layer], eps: float, activation: str
) -> Array | None:
    """h = LN(x + attention(x W_qkv) W_O)        y = LN(h + FFN(h))        one layer after the other

    x (N, H), cu_seqlens (B+1,), layers of one shape -> y (N, H); None where there is no kernel for it: of another dtype
    than float32, of few rows and weights that may change, or of many rows where there is no AMX.
    """
    tensors = [tensor for layer in layers for tensor in layer]
    if not tensors or not len(x) or any(t.dtype != np.float32 or not t.flags.c_contiguous for t in (x, *tensors)):
        return None
    (rows, hidden), inner, weights = x.shape, len(layers[0][4]), layers[0][:8:2]
    few = all(packed.fits(x, weight) for layer in layers for weight in layer[:8:2])
    if not few and not all(amx.pays(rows, *weight.shape) for weight in weights):
        return None
    cu_seqlens, before = score_counts(cu_seqlens, num_heads)
    most = packed.room(rows, max(hidden, inner)) if few else amx.workspace(rows, max(hidden, inner)) // 4
    most = max(most, scratch_size(cu_seqlens), hidden + 1)
    work = rows * sum(weight.size for weight in weights)
    number, at_once = threads.number(work, LEAST), max(1, int(_MOST // work))
    rounds = 4 + sum(_rounds(rows, weight.shape[1]) for weight in weights)
    space = memory.empty((rows * (7 * hidden + inner + 2 * num_heads),))
    scratch = memory.empty((number, -(-most // 16) * 16))
    batch = cu_seqlens, before, num_heads, bool(causal), np.float32(eps), mask(0.0, 0), inner
    compiled, table = _kernel(_by_panels if few else _by_tiles, activation), _table(tensors, few)
    rest = blas.address(), amx.CONSTANTS.ctypes.data, number
    for first in range(0, len(layers), at_once):
        now = table[first : first + at_once]
        counts = counters.counters(number, rounds * len(now))
        x, y = x if x.flags.carray else x.copy(), memory.empty(x.shape)  # or both kinds would be compiled

        def part(own: int, *arrays: Any) -> None:
            compiled(*arrays[:2], *batch, *rest, *arrays[2:-1], scratch[own], own)

        threads.share([functools.partial(part, own, x, y, now, counts, space, tensors) for own in range(number)])
        x = y
    return x


def _table(tensors: list[Array], few: bool) -> Array:
    """Addresses (layers, 12) of the tensors, of weights of few rows those of their panels.

    Kept for as long as the very same arrays are asked for.
    """
    key = *map(id, tensors), few
    kept, table = _tables.get(key, ([], None))
    if table is None or any(reference() is not tensor for reference, tensor in zip(kept, tensors, strict=True)):
        ready = [packed.panels(tensor) if few and tensor.ndim == 2 else tensor for tensor in tensors]
        table = np.array([array.ctypes.data for array in ready], np.int64).reshape(-1, 12)
        _tables[key] = [weakref.ref(tensor) for tensor in tensors], table
        weakref.finalize(tensors[0], _tables.pop, key, None)
    return table


@register_jitable(**FLAGS)
def _rounds(rows: int, depth: int) -> int:
    """Of counters, for a product: `amx.multiply` has the most. Python asks, too: a `helper` would be compiled for it in
    every process."""
    return (rows + amx.ROWS - 1) // amx.ROWS * ((depth + amx.MOST_DEPTH - 1) // amx.MOST_DEPTH)


@helper
def _next(counts: Array, rounds: int, parts: int) -> tuple[Array, Array]:
    """The counters of so many rounds, and those that are left."""
    size = counters.LINE * (parts + 1) * rounds
    return counts[:size], counts[size:]


@_instruction
def _pointer(typing, address):  # type: ignore[no-untyped-def]
    def write(context: Any, b: ir.IRBuilder, signature: Any, arguments: Any) -> Any:
        return b.inttoptr(arguments[0], ir.IntType(8).as_pointer())

    return types.voidptr(types.int64), write


@helper
def _array(address: int, shape: Any) -> Any:
    """What lies there, float32."""
    return carray(_pointer(address), shape, np.float32)


@helper
def _matrix(x: Any) -> Any:
    return np.int64(x.ctypes.data), x.strides[0], x.strides[1]


def _by_panels(x: Any, weight: Any, bias: Any, y: Any, scratch: Any, _: Any, counts: Any, own: Any, __: Any) -> None:
    """y = x Wᵀ + b    weight: address of `packed.panels`"""
    panels = _array(weight, ((bias.size + packed.WIDTH - 1) // packed.WIDTH, 2, x.shape[1], packed.LANES))
    packed.multiply(x, panels, bias, y, scratch, counts, own)


def _by_tiles(
    x: Any, weight: Any, bias: Any, y: Any, scratch: Any, constants: Any, counts: Any, own: Any, parts: Any
) -> None:
    """y = x Wᵀ + b    weight: address of W"""
    shape = y.shape[0], y.shape[1], x.shape[1]
    start, room = np.int64(bias.ctypes.data), np.int64(scratch.ctypes.data)
    turned = weight, 4, 4 * x.shape[1]
    amx.multiply(_matrix(x), turned, _matrix(y), shape, start, room, constants, counts, own, parts)


for _product in _by_panels, _by_tiles:
    register_jitable(**FLAGS)(_product)


@register_jitable(**FLAGS)
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
def _kernel(product: Callable[..., None], activation: str) -> Any:
    """As in `activations.fused`, what is in its closure are plain functions."""
    value = VALUES[activation]

    def layers(
        x: Any, y: Any,
        cu_seqlens: Any, before: Any, heads: Any, causal: Any, eps: Any, nothing_dropped: Any, inner: Any,
        blas: Any, constants: Any, parts: Any, table: Any, counts: Any, space: Any, scratch: Any, own: Any,
    ) -> None:  # fmt: skip
        """y = the layers of the table, one after the other, of x.    space: what follows, in this order"""
        rows, hidden = x.shape
        qkv, space = _carve(space, rows, 3 * hidden)
        context, space = _carve(space, rows, hidden)
        s, space = _carve(space, rows, hidden)  # what comes out of a sublayer
        h, space = _carve(space, rows, hidden)
        x_next, space = _carve(space, rows, hidden)
        u, space = _carve(space, rows, inner)
        peaks, space = _carve(space, heads, rows)
        inverses, space = _carve(space, heads, rows)
        narrow, wide = _rounds(rows, hidden), _rounds(rows, inner)
        pieces = (rows + _ROWS - 1) // _ROWS
        for number in range(len(table)):
            w, b = table[number, :8:2], table[number, 1:8:2]
            gamma1, beta1 = _array(table[number, 8], (hidden,)), _array(table[number, 9], (hidden,))
            gamma2, beta2 = _array(table[number, 10], (hidden,)), _array(table[number, 11], (hidden,))
            if number > 0:
                x = x_next
            out = y if number == len(table) - 1 else x_next

            now, counts = _next(counts, narrow, parts)
            product(x, w[0], _array(b[0], (3 * hidden,)), qkv, scratch, constants, now, own, parts)
            now, counts = _next(counts, 1, parts)
            forward_units(
                blas, now, own, qkv, cu_seqlens, before, causal, nothing_dropped, scratch, context, peaks, inverses
            )  # fmt: skip
            now, counts = _next(counts, narrow, parts)
            product(context, w[1], _array(b[1], (hidden,)), s, scratch, constants, now, own, parts)
            now, counts = _next(counts, 1, parts)
            _add_and_normalise(s, x, gamma1, beta1, eps, h, scratch, now, own)

            now, counts = _next(counts, narrow, parts)
            product(h, w[2], _array(b[2], (inner,)), u, scratch, constants, now, own, parts)
            now, counts = _next(counts, 1, parts)
            piece = take(now, own, pieces)
            while piece >= 0:
                for n in range(piece * _ROWS, min((piece + 1) * _ROWS, rows)):
                    row = u[n]
                    for i in range(inner):
                        row[i] = value(row[i])
                finish(now, 1)
                piece = take(now, own, pieces)
            wait(now, pieces)
            now, counts = _next(counts, wide, parts)
            product(u, w[3], _array(b[3], (hidden,)), s, scratch, constants, now, own, parts)
            now, counts = _next(counts, 1, parts)
            _add_and_normalise(s, h, gamma2, beta2, eps, out, scratch, now, own)

    return kernel(layers)


@helper
def _carve(space: Array, rows: int, columns: int) -> tuple[Array, Array]:
    """A matrix from the beginning of it, and the rest."""
    size = rows * columns
    return space[:size].reshape(rows, columns), space[size:]
