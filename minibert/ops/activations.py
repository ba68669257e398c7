"""The plain activations: relu, silu, tanh. Every one maps any shape to itself; GELU has a chapter of its own."""

from __future__ import annotations

from typing import NamedTuple

from .xp import Array, namespace, real


class ReluCache(NamedTuple):
    positive: Array  # boolean


def relu(x: Array) -> tuple[Array, ReluCache]:
    """y = max(x, 0).  Not differentiable at 0; the gradient there is taken as 0, as in the frameworks."""
    positive = real(x) > 0
    return namespace(x).where(positive, x, 0), ReluCache(positive)


def relu_backward(dy: Array, cache: ReluCache) -> Array:
    """dx = dy·[x > 0]"""
    return dy * cache.positive


class SiluCache(NamedTuple):
    x: Array
    s: Array  # σ(x)


def silu(x: Array) -> tuple[Array, SiluCache]:
    """Sigmoid linear unit, also called swish.    σ(x) = 1/(1 + exp(-x))    y = x·σ(x)"""
    s = sigmoid(x)
    return x * s, SiluCache(x, s)


def silu_backward(dy: Array, cache: SiluCache) -> Array:
    """σ' = σ(1-σ)    dx = dy·(σ + x·σ(1-σ))"""
    x, s = cache
    return dy * (s + x * s * (1 - s))


class TanhCache(NamedTuple):
    y: Array


def tanh(x: Array) -> tuple[Array, TanhCache]:
    """y = tanh(x), the pooler's activation."""
    y = namespace(x).tanh(x)
    return y, TanhCache(y)


def tanh_backward(dy: Array, cache: TanhCache) -> Array:
    """dx = dy·(1 - y²)"""
    y = cache.y
    return dy * (1 - y * y)


def sigmoid(x: Array) -> Array:
    """σ(x) = 1/(1 + exp(-x)), as exp(x)/(1 + exp(x)) for negative x: exp never sees a positive number, no overflow."""
    xp = namespace(x)
    negative = real(x) < 0
    e = xp.exp(xp.where(negative, x, -x))
    return xp.where(negative, e, 1) / (1 + e)
