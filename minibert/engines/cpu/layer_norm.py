"""Layer normalisation and what stands before it in a block, a row at a time: bias, dropout and residual are added while
the row is in the cache.

Sums over rows (dγ, dβ) are taken over blocks of rows and the blocks' sums added in order, so that they do not depend on
the number of threads, and small contributions are not lost in a large sum.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from ...ops.dropout import dropout as reference_dropout
from ...ops.xp import Array
from . import memory, threads
from .compile import kernel
from .dropout import MOST, keep, mask

_ROWS = 64  # of a block
_LEAST = 1 << 16  # elements
_NOTHING = np.empty(0, np.float32)
_NO_ROWS = np.empty((0, 0), np.float32)


class LayerNormCache(NamedTuple):
    xhat: Array  # (N, H)
    rstd: Array  # (N,)
    gamma: Array  # (H,)
    dropout_rate: float = 0.0
    dropout_key: int = 0


@kernel
def normalise(
    x: Any, bias: Any, residual: Any, gamma: Any, beta: Any, eps: Any,
    first: Any, key_low: Any, key_high: Any, threshold: Any, scale: Any,
    y: Any, xhat: Any, rstd: Any,
) -> None:  # fmt: skip
    """y = LN(drop(x + bias) + residual).    x, residual, y, xhat (n, H); bias, gamma, beta (H,); rstd (n,)

    An empty bias or residual is none, a threshold of 0 no dropout. `first` is the number of x[0, 0] among the elements
    that dropout counts. Where no backward follows, xhat may have one row and rstd one element, as scratch.
    """
    width = x.shape[1]
    count = np.float32(width)
    for n in range(x.shape[0]):
        row = min(n, xhat.shape[0] - 1)
        if bias.size:
            for j in range(width):
                xhat[row, j] = x[n, j] + bias[j]
        else:
            for j in range(width):
                xhat[row, j] = x[n, j]
        if threshold:
            start = np.uint32(first + np.uint32(n * width))
            for j in range(width):
                kept = keep(np.uint32(start + np.uint32(j)), key_low, key_high, threshold)
                xhat[row, j] *= scale if kept else np.float32(0)
        if residual.size:
            for j in range(width):
                xhat[row, j] += residual[n, j]
        total = np.float32(0)
        for j in range(width):
            total += xhat[row, j]
        mean = total / count
        total = np.float32(0)
        for j in range(width):
            centred = xhat[row, j] - mean
            total += centred * centred
        r = np.float32(1) / np.sqrt(total / count + eps)
        rstd[row] = r
        for j in range(width):
            normalised = (xhat[row, j] - mean) * r
            xhat[row, j] = normalised
            y[n, j] = gamma[j] * normalised + beta[j]


@kernel
def gradients(
    dy: Any, xhat: Any, rstd: Any, gamma: Any,
    first: Any, key_low: Any, key_high: Any, threshold: Any, scale: Any,
    dresidual: Any, dx: Any, dgammas: Any, dbetas: Any,
) -> None:  # fmt: skip
    """dx̂ = dy·γ, dresidual = r·(dx̂ - mean(dx̂) - x̂·mean(dx̂·x̂)), dx = dresidual·keep·scale unless the threshold is 0.

    dy, xhat, dresidual, dx (n, H), of which dx may be empty; dgammas, dbetas (⌈n/64⌉, H), a row for every 64
    """
    width = dy.shape[1]
    count = np.float32(width)
    for block in range(dgammas.shape[0]):
        dgammas[block] = np.float32(0)
        dbetas[block] = np.float32(0)
        for n in range(block * _ROWS, min((block + 1) * _ROWS, dy.shape[0])):
            along_one, along_xhat = np.float32(0), np.float32(0)
            for j in range(width):
                dxhat = dy[n, j] * gamma[j]
                along_one += dxhat
                along_xhat += dxhat * xhat[n, j]
                dgammas[block, j] += dy[n, j] * xhat[n, j]
                dbetas[block, j] += dy[n, j]
            along_one /= count
            along_xhat /= count
            for j in range(width):
                dresidual[n, j] = rstd[n] * (dy[n, j] * gamma[j] - along_one - xhat[n, j] * along_xhat)
            if threshold:
                start = np.uint32(first + np.uint32(n * width))
                for j in range(width):
                    kept = keep(np.uint32(start + np.uint32(j)), key_low, key_high, threshold)
                    dx[n, j] = dresidual[n, j] * (scale if kept else np.float32(0))


def layer_norm(x: Array, gamma: Array, beta: Array, eps: float) -> tuple[Array, LayerNormCache]:
    """y = γ·(x-μ)/√(σ² + eps) + β, a row at a time.    x (N, H), gamma (H,), beta (H,) -> y (N, H)"""
    return _forward(x, _NO_ROWS, gamma, beta, eps, 0.0, 0)


def layer_norm_backward(dy: Array, cache: LayerNormCache) -> tuple[Array, Array, Array]:
    """dy (N, H) -> dx (N, H), dgamma (H,), dbeta (H,)"""
    _, dx, dgamma, dbeta = add_layer_norm_backward(dy, cache)
    return dx, dgamma, dbeta


def add_layer_norm(
    x: Array,
    residual: Array,
    gamma: Array,
    beta: Array,
    eps: float,
    dropout_rate: float = 0.0,
    dropout_key: int = 0,
) -> tuple[Array, LayerNormCache]:
    """y = LN(drop(x) + residual).    x (N, H), residual (N, H), gamma (H,), beta (H,) -> y (N, H)"""
    return _forward(x, residual, gamma, beta, eps, dropout_rate, dropout_key)


def add_layer_norm_backward(dy: Array, cache: LayerNormCache) -> tuple[Array, Array, Array, Array]:
    """dresidual as in layer_norm, dx = dresidual·keep/(1 - rate); without dropout they are the same array.

    dy (N, H) -> dx (N, H), dresidual (N, H), dgamma (H,), dbeta (H,)
    """
    xhat, rstd, gamma, rate, key = cache
    rows, width = dy.shape
    fused = _fused(dy, rate)
    blocks = -(-rows // _ROWS)
    dy, numbers = np.ascontiguousarray(dy), mask(rate if fused else 0.0, key)
    dresidual, sums = memory.empty(dy.shape), memory.empty((2, blocks, width))
    dx = memory.empty(dy.shape) if fused else _NO_ROWS

    def part(start: int, stop: int) -> None:
        n = slice(start * _ROWS, min(stop * _ROWS, rows))
        first = np.uint32(n.start * width if fused else 0)
        b = slice(start, stop)
        gradients(dy[n], xhat[n], rstd[n], gamma, first, *numbers, dresidual[n], dx[n], sums[0, b], sums[1, b])

    threads.split(blocks, _LEAST // (_ROWS * max(width, 1)), part)
    dgamma, dbeta = sums.sum(axis=1)
    if not fused:
        dx = reference_dropout(dresidual, rate, key)[0]
    return dx, dresidual, dgamma, dbeta


def _forward(
    x: Array, residual: Array, gamma: Array, beta: Array, eps: float, rate: float, key: int
) -> tuple[Array, LayerNormCache]:
    fused = _fused(x, rate)
    if not fused:
        x = reference_dropout(x, rate, key)[0]
    rows, width = x.shape
    numbers = mask(rate if fused else 0.0, key)
    x, residual = np.ascontiguousarray(x), np.ascontiguousarray(residual)
    gain, offset = gamma.copy(), beta.copy()  # those of a file are read-only, another type: it would be compiled, too
    y, xhat, rstd = memory.empty(x.shape), memory.empty(x.shape), memory.empty((rows,))

    def part(start: int, stop: int) -> None:
        n = slice(start, stop)
        first = np.uint32(start * width if fused else 0)
        normalise(
            x[n], _NOTHING, residual[n], gain, offset, np.float32(eps), first, *numbers, y[n], xhat[n], rstd[n]
        )  # fmt: skip

    threads.split(rows, _LEAST // max(width, 1), part)
    return y, LayerNormCache(xhat, rstd, gamma, rate, key)


def _fused(x: Array, rate: float) -> bool:
    """Whether the kernel does the dropout; otherwise the reference, on too many elements or because it is next to none.

    A rate below 2⁻²⁵ has a threshold of 0, which tells the kernel that there is no dropout.
    """
    return bool(mask(rate, 0).threshold > 0) and x.size < MOST
