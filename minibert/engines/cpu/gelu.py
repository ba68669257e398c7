"""The two GELUs of minibert.ops.gelu and their slopes, one element at a time, for the kernels of `activations.py`."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from .vector_math import normal32, sigmoid32

_2_SQRT_2_OVER_PI = np.float32(2 * math.sqrt(2 / math.pi))
_CUBIC = np.float32(0.044715)
_ONE = np.float32(1)


def gelu_value(x: Any) -> Any:
    """x·Φ(x)"""
    cdf, _ = normal32(x)
    return x * cdf


def gelu_slope(x: Any) -> Any:
    """Φ(x) + x·φ(x)"""
    cdf, density = normal32(x)
    return cdf + x * density


def gelu_new_value(x: Any) -> Any:
    """x·(1 + tanh u)/2 = x·σ(2u), u = √(2/π)·(x + 0.044715 x³): no cancellation where tanh u is near -1."""
    s, _ = sigmoid32(_2_SQRT_2_OVER_PI * (x + _CUBIC * x * x * x))
    return x * s


def gelu_new_slope(x: Any) -> Any:
    """σ(2u) + x·σ'(2u)·2du/dx"""
    s, ds = sigmoid32(_2_SQRT_2_OVER_PI * (x + _CUBIC * x * x * x))
    return s + x * ds * (_2_SQRT_2_OVER_PI * (_ONE + np.float32(3) * _CUBIC * x * x))
