"""exp and what is made of it, on float32 scalars, in a form that LLVM turns into vector instructions.

Calls of the C library's expf, erff and tanhf stay scalar, one call an element. These are polynomials, selections and
integer shifts only, without branches; in a loop over an array they become eight or sixteen lanes wide. Every constant
is a float32, since an untyped one would drag the loop into double precision.

tools/fit_vector_math.py fits the polynomials, and prints their constants and relative errors: exp 1.0e-8, tanh 1.7e-8,
the tail of the normal distribution 3.9e-8; half a unit in the last place is 6e-8.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numba
import numpy as np

from .compile import INLINED, helper

_LOWEST, _HIGHEST = np.float32(-87.3365), np.float32(89)  # exp is subnormal below and infinite above
_LOG2_E = np.float32(1 / math.log(2))
_LN2_HIGH = np.float32(0.693359375)  # nine bits: times a whole number it is exact
_LN2_LOW = np.float32(math.log(2) - 0.693359375)
_HALF, _ONE = np.float32(0.5), np.float32(1)


def _in_order(function: Callable[..., Any]) -> Any:
    """A helper whose sums are not regrouped: (x - n·a) - n·b would become x - n·(a + b), and lose what b is for."""
    return numba.njit(**{**INLINED, "fastmath": {"contract", "nsz"}})(function)


@_in_order
def exp32(x: Any) -> Any:
    """exp(x) = 2ⁿ·exp(r), n = round(x/ln 2), |r| <= ln(2)/2; at most one unit in the last place off.

    As in exact arithmetic exp(-inf) = 0, exp(inf) = inf, and NaN stays NaN; what would be subnormal, below
    1.2e-38, is 0: on such numbers processors spend a hundred cycles each.
    """
    low = x < _LOWEST
    x = _LOWEST if low else x  # in this form NaN passes
    x = _HIGHEST if x > _HIGHEST else x
    n = np.floor(x * _LOG2_E + _HALF)
    r = x - n * _LN2_HIGH - n * _LN2_LOW
    p = np.float32(0.0013926176119935579)
    p = p * r + np.float32(0.0083631730745137109)
    p = p * r + np.float32(0.041666554662050534)
    p = p * r + np.float32(0.16666577025597988)
    p = p * r + _HALF
    p = p * r + _ONE
    p = p * r + _ONE
    whole = np.int32(n if n == n else np.float32(0))  # NaN has no integer
    half = np.int32(whole >> np.int32(1))
    # 2ⁿ in two factors: n runs from -126 to 128, the exponent of one float32 from -126 to 127
    y = p * _power_of_2(half) * _power_of_2(np.int32(whole - half))
    return np.float32(0) if low else y


@helper
def _power_of_2(n: Any) -> Any:
    """2ⁿ for -126 <= n <= 127, written straight into the exponent."""
    return np.int32(np.int32(n + np.int32(127)) << np.int32(23)).view(np.float32)


@helper
def row_max32(row: Any) -> Any:
    """The largest element of a contiguous float32 array, -inf when there is none. A NaN wins or is passed over.

    A maximum of floats stays scalar; so it is one of integers: the bits of a float are in its order when those of the
    negative ones, but for the sign, are turned over.
    """
    bits = row.view(np.int32)
    largest = np.int32(-2139095041)  # -inf
    for i in range(bits.size):
        key = np.int32(bits[i] ^ np.int32(np.int32(bits[i] >> np.int32(31)) & np.int32(0x7FFFFFFF)))
        largest = key if key > largest else largest
    return np.int32(largest ^ np.int32(np.int32(largest >> np.int32(31)) & np.int32(0x7FFFFFFF))).view(np.float32)


@helper
def normal32(x: Any) -> Any:
    """Φ(x), the standard normal distribution, and its density φ(x) = exp(-x²/2)/√(2π).

    Φ(-|x|) = exp(-x²/2)·(1 - v)·T(v), v = a/(1 + a), a = 0.35|x|; v is small where x is, and its rounding harmless.
    Errors of Φ: 1.4e-7 absolute; 8e-7 relative as far as x = -5, which is what x·Φ(x) inherits.
    """
    e = exp32(-_HALF * x * x)
    a = abs(x)
    a = np.float32(0.35) * (np.float32(14) if a > np.float32(14) else a)  # beyond 14 exp(-x²/2) is 0; inf·0 is not
    t = _ONE / (_ONE + a)
    v = a * t
    p = np.float32(-0.029679522004471566)
    p = p * v + np.float32(0.090890345742855316)
    p = p * v + np.float32(-0.066167032369717617)
    p = p * v + np.float32(-0.014692829988377528)
    p = p * v + np.float32(-0.064672533466327319)
    p = p * v + np.float32(0.10273562479685302)
    p = p * v + np.float32(0.26103638420807884)
    p = p * v + np.float32(-0.63983170707076335)
    p = p * v + np.float32(0.49999998271291445)
    tail = e * (p * t)
    return (_ONE - tail if x > np.float32(0) else tail), e * np.float32(1 / math.sqrt(2 * math.pi))


@helper
def sigmoid32(x: Any) -> Any:
    """σ(x) = 1/(1 + exp(-x)) and its derivative σ(1 - σ); relative errors at most 2e-7 and 3e-7.

    With e = exp(-|x|) the derivative is e/(1 + e)², without the cancellation of 1 - σ.
    """
    e = exp32(-abs(x))
    inverse = _ONE / (_ONE + e)
    return (e if x < np.float32(0) else _ONE) * inverse, e * inverse * inverse


@helper
def tanh32(x: Any) -> Any:
    """x + x³·P(x²) for |x| < 0.625, sign(x)·(1 - 2/(exp(2|x|) + 1)) beyond; relative error at most 1.4e-7."""
    a = abs(x)
    z = x * x
    p = np.float32(-0.0060967141659081976)
    p = p * z + np.float32(0.020997178999074751)
    p = p * z + np.float32(-0.053850909578513581)
    p = p * z + np.float32(0.13332769736976328)
    p = p * z + np.float32(-0.33333328944134255)
    small = x + x * z * p
    large = _ONE - np.float32(2) / (exp32(a + a) + _ONE)
    large = -large if x < np.float32(0) else large
    return small if a < np.float32(0.625) else large
