"""Gaussian error linear unit (Hendrycks & Gimpel 2016): x times the probability that a standard normal is below x.

Two functions go by the name. BERT as Hugging Face runs it, and Google until February 2019, is the exact one with erf;
later Google code and GPT-2 use the tanh form. They differ by at most 4.73e-4 (near x = ±2.70), enough to break a
comparison of hidden states at 1e-4, so which one a checkpoint was trained with is part of the checkpoint:
config "gelu" is the erf form, "gelu_new" the tanh form.
"""

from __future__ import annotations

import math
from typing import NamedTuple

from .erf import normal_cdf
from .xp import Array, namespace

_INV_SQRT_2PI = 1 / math.sqrt(2 * math.pi)
_SQRT_2_OVER_PI = math.sqrt(2 / math.pi)
_CUBIC = 0.044715


class GeluCache(NamedTuple):
    x: Array
    cdf: Array  # Φ(x)


def gelu(x: Array) -> tuple[Array, GeluCache]:
    """Exact form.    Φ(x) = (1 + erf(x/√2))/2    y = x·Φ(x)        any shape"""
    cdf = normal_cdf(x)
    return x * cdf, GeluCache(x, cdf)


def gelu_backward(dy: Array, cache: GeluCache) -> Array:
    """φ(x) = exp(-x²/2)/√(2π)    dx = dy·(Φ(x) + x·φ(x))

    Common mistake: dropping the density term, or pairing this forward with the derivative of the tanh form.
    """
    x, cdf = cache
    density = _INV_SQRT_2PI * namespace(x).exp(-0.5 * x * x)
    return dy * (cdf + x * density)


class GeluNewCache(NamedTuple):
    x: Array
    t: Array  # tanh(u)


def gelu_new(x: Array) -> tuple[Array, GeluNewCache]:
    """Tanh form.    u = √(2/π)·(x + 0.044715 x³)    y = x·(1 + tanh u)/2        any shape"""
    t = namespace(x).tanh(_SQRT_2_OVER_PI * (x + _CUBIC * x * x * x))
    return 0.5 * x * (1 + t), GeluNewCache(x, t)


def gelu_new_backward(dy: Array, cache: GeluNewCache) -> Array:
    """du/dx = √(2/π)·(1 + 3·0.044715 x²)    dx = dy·((1 + t)/2 + x·(1 - t²)/2·du/dx),  t = tanh u"""
    x, t = cache
    du = _SQRT_2_OVER_PI * (1 + 3 * _CUBIC * x * x)
    return dy * (0.5 * (1 + t) + 0.5 * x * (1 - t * t) * du)
