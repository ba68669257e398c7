"""Activations: as operators, and fused with the bias before them and the sum over rows that is its gradient.

Each is a pair of functions of one element, value and slope. `fused` makes the kernels of a pair; FUSED has them by the
operator's name. Backward needs no more than the input, and computes the rest again: that is cheaper than reading it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numba.extending import register_jitable

from ...ops.xp import Array
from . import memory, threads
from .compile import INLINED, kernel
from .gelu import gelu_new_slope, gelu_new_value, gelu_slope, gelu_value
from .vector_math import sigmoid32, tanh32

_ONE = np.float32(1)
_PIECE = 1024
"""Elements; borders between threads are multiples of it, since the scalar rest of a vector loop may round otherwise."""

_LEAST = 64  # pieces


def relu_value(x: Any) -> Any:
    """max(x, 0)"""
    return x if x > np.float32(0) else np.float32(0)


def relu_slope(x: Any) -> Any:
    """[x > 0]"""
    return _ONE if x > np.float32(0) else np.float32(0)


def silu_value(x: Any) -> Any:
    """x·σ(x)"""
    s, _ = sigmoid32(x)
    return x * s


def silu_slope(x: Any) -> Any:
    """σ + x·σ'"""
    s, ds = sigmoid32(x)
    return s + x * ds


def tanh_value(x: Any) -> Any:
    """tanh(x)"""
    return tanh32(x)


def tanh_slope(x: Any) -> Any:
    """1 - tanh(x)²"""
    y = tanh32(x)
    return _ONE - y * y


class Fused(NamedTuple):
    """Kernels of an activation f; arrays (n, I), bias and dbias (I,)."""

    bias: Any  # (u, bias, out)      u += bias, out = f(u)
    of: Any  # (u, out)              out = f(u)
    backward: Any  # (dy, u, du)     du = dy·f'(u), not in place: a loop that may overwrite its input has no vectors


def fused(value: Callable[[Any], Any], slope: Callable[[Any], Any]) -> Fused:
    """The kernels, each of which has value or slope in its closure.

    Plain functions, not `helper`s: Numba finds a kernel on the disk by what its closure pickles to, and a compiled
    function pickles to something else in every process.
    """
    for function in value, slope:
        register_jitable(**INLINED)(function)

    def bias_value(u: Any, bias: Any, out: Any) -> None:
        for n in range(u.shape[0]):
            for i in range(u.shape[1]):
                x = u[n, i] + bias[i]
                u[n, i] = x
                out[n, i] = value(x)

    def value_of(u: Any, out: Any) -> None:
        for n in range(u.shape[0]):
            for i in range(u.shape[1]):
                out[n, i] = value(u[n, i])

    def times_slope(dy: Any, u: Any, du: Any) -> None:
        for n in range(u.shape[0]):
            for i in range(u.shape[1]):
                du[n, i] = dy[n, i] * slope(u[n, i])

    return Fused(*(kernel(f) for f in (bias_value, value_of, times_slope)))


VALUES = {"gelu": gelu_value, "gelu_new": gelu_new_value, "relu": relu_value, "silu": silu_value, "tanh": tanh_value}
_SLOPES = {"gelu": gelu_slope, "gelu_new": gelu_new_slope, "relu": relu_slope, "silu": silu_slope, "tanh": tanh_slope}
FUSED = {name: fused(VALUES[name], _SLOPES[name]) for name in VALUES}


class ActivationCache(NamedTuple):
    x: Array


def _forward(name: str, x: Array) -> tuple[Array, ActivationCache]:
    y = memory.empty(x.shape)
    _elementwise(FUSED[name].of, x, y)
    return y, ActivationCache(x)


def _backward(name: str, dy: Array, cache: ActivationCache) -> Array:
    dx = memory.empty(dy.shape)
    _elementwise(FUSED[name].backward, dy, cache.x, dx)
    return dx


def _elementwise(compiled: Any, *arrays: Array) -> None:
    """A kernel of matrices on arrays of any shape, each as one row: pieces of it are contiguous again."""
    rows = [np.ascontiguousarray(a).reshape(1, -1) for a in arrays]

    def part(start: int, stop: int) -> None:
        compiled(*(row[:, start * _PIECE : stop * _PIECE] for row in rows))

    threads.split(-(-arrays[0].size // _PIECE), _LEAST, part)


def gelu(x: Array) -> tuple[Array, ActivationCache]:
    """y = x·Φ(x)    any shape"""
    return _forward("gelu", x)


def gelu_backward(dy: Array, cache: ActivationCache) -> Array:
    """dx = dy·(Φ(x) + x·φ(x))"""
    return _backward("gelu", dy, cache)


def gelu_new(x: Array) -> tuple[Array, ActivationCache]:
    """y = x·(1 + tanh u)/2, u = √(2/π)·(x + 0.044715 x³)    any shape"""
    return _forward("gelu_new", x)


def gelu_new_backward(dy: Array, cache: ActivationCache) -> Array:
    """dx = dy·((1 + t)/2 + x·(1 - t²)/2·du/dx), t = tanh u"""
    return _backward("gelu_new", dy, cache)


def relu(x: Array) -> tuple[Array, ActivationCache]:
    """y = max(x, 0)    any shape"""
    return _forward("relu", x)


def relu_backward(dy: Array, cache: ActivationCache) -> Array:
    """dx = dy·[x > 0]"""
    return _backward("relu", dy, cache)


def silu(x: Array) -> tuple[Array, ActivationCache]:
    """y = x·σ(x)    any shape"""
    return _forward("silu", x)


def silu_backward(dy: Array, cache: ActivationCache) -> Array:
    """dx = dy·(σ + x·σ(1 - σ))"""
    return _backward("silu", dy, cache)


def tanh(x: Array) -> tuple[Array, ActivationCache]:
    """y = tanh(x)    any shape"""
    return _forward("tanh", x)


def tanh_backward(dy: Array, cache: ActivationCache) -> Array:
    """dx = dy·(1 - tanh(x)²)"""
    return _backward("tanh", dy, cache)
