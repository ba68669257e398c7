"""The error function to the precision of the dtype; NumPy has none.

    erf(x) = 2/√π ∫₀ˣ exp(-t²) dt

Two polynomials, fitted by tools/fit_erf.py, which prints these tables and the errors of the fit:
    |x| <= 1   erf(x) = x · P(x²)                    a relative error, so that erf(x) ≈ 2x/√π for tiny x
    |x| >= 1   erfc(|x|) = exp(-x²) · Q(t)           t = 1 / (1 + |x|/2); an absolute one; erf = 1 - erfc
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from .xp import Array, namespace, real

# lowest power first. float64: fit errors 8.1e-18 relative and 8.5e-18 absolute; float32: 1.3e-9 and 2.8e-10
_P64 = (
    1.1283791670955126, -0.3761263890318354, 0.11283791670945006, -0.02686617064323777, 0.0052239776071164227,
    -0.00085483259753896921, 0.00012055294904839708, -1.492473690741966e-5, 1.6447424703317362e-6,
    -1.6208483801871706e-7, 1.3720064546777686e-8, -7.7958988270021422e-10,
)  # fmt: skip
_Q64 = (
    1.6242284740077591e-7, 0.2820885729320229, 0.2822051417376623, 0.24562975816641906, 0.18531641297586197,
    0.034778976688371438, 0.19483233899524953, -0.6720587822190289, 1.3907243547276613, -2.5485795151627722,
    3.3141789939074118, -2.808469620081249, 1.4993273861992588, -0.46415031005127023, 0.064177099569977565,
)  # fmt: skip
_P32 = (
    1.1283791658483509, -0.37612626666720331, 0.11283594715160218, -0.026854212010626412, 0.005189087423433974,
    -0.00080168642871658695, 7.8758750626854883e-5,
)  # fmt: skip
_Q32 = (
    -9.5653331831143461e-5, 0.28401492059106398, 0.26551295534936734, 0.32706170302687476, -0.059844377456258504,
    0.50851586045147668, -0.4335865764553917, 0.10839819348967312,
)  # fmt: skip

_BLOCK = 32768
"""Elements worked on at a time: the dozen scratch arrays then stay in a core's cache."""


def erf(x: Array) -> Array:
    """erf of every element. Any shape, float32 or float64, or complex in the sense of the complex step.

    For x = a + ib the value is erf(a) + ib·2/√π·exp(-a²), the first-order Taylor step: exact to rounding for the
    tiny b of a complex-step derivative, and not the complex error function.
    """
    a = real(x)
    y = _blockwise(_erf_block, a)
    if x.dtype.kind == "c":
        return y + 1j * (2 / math.sqrt(math.pi) * x.imag * namespace(x).exp(-a * a))
    return y


def normal_cdf(x: Array) -> Array:
    """Φ(x) = (1 + erf(x/√2))/2, the standard normal distribution; complex x as in `erf`, with φ(a) as derivative."""
    a = real(x)
    y = _blockwise(lambda xp, block: 0.5 + 0.5 * _erf_block(xp, block * math.sqrt(0.5)), a)
    if x.dtype.kind == "c":
        return y + 1j * (1 / math.sqrt(2 * math.pi) * x.imag * namespace(x).exp(-0.5 * a * a))
    return y


def _blockwise(f: Callable[[Any, Array], Array], x: Array) -> Array:
    xp = namespace(x)
    y = xp.empty(x.shape, dtype=x.dtype)
    source, target = xp.ascontiguousarray(x).reshape(-1), y.reshape(-1)
    for start in range(0, x.size, _BLOCK):
        target[start : start + _BLOCK] = f(xp, source[start : start + _BLOCK])
    return y


def _erf_block(xp: Any, x: Array) -> Array:
    """Both pieces at once and no branch: NumPy's `where` is slow on masks without a pattern. Outside its interval each
    is held at the border, 1, where it is the smaller of the two, since erf(x)/x falls and erf rises."""
    p, q = (_P32, _Q32) if x.dtype.itemsize <= 4 else (_P64, _Q64)
    inner = xp.clip(x, -1, 1)
    outer = xp.clip(xp.abs(x), 1, 6)  # erf(6) is 1 to the last bit of a double
    erfc = xp.exp(-outer * outer)
    erfc *= _polynomial(1 / (1 + 0.5 * outer), q)
    return inner * xp.maximum(_polynomial(inner * inner, p), 1 - erfc)


def _polynomial(x: Array, coefficients: tuple[float, ...]) -> Array:
    """Horner's rule, in one scratch array."""
    total = x * coefficients[-1]
    for c in coefficients[-2:0:-1]:
        total += c
        total *= x
    total += coefficients[0]
    return total
