"""The complex step, a derivative without a difference; and the few helpers that keep operators analytic.

Definition. Operators are written once for NumPy and CuPy arrays of any float dtype, and also run on complex arrays:
the derivative of a real function f along v is (Squire & Trapp 1998)

    Im f(x + ihv) / h       with h so small that its square is nothing: 1e-30

exact to rounding, as long as every line is analytic. What the backward passes return can be held against it to the
last digits, where a difference of two values of f is good to about ten.

Derivation. Let f have a Taylor series, which is what analytic means. Put in ih and use i² = -1:

    f(x + ih) = f(x) + ih f'(x) - h²/2 f''(x) - ih³/6 f'''(x) + ...
    Im f(x + ih)/h = f'(x) - h²/6 f'''(x) + ...

At h = 1e-30 the second term is 60 digits below the first. No digits are lost on the way: the real part holds f, the
imaginary part hf', each with all its digits, and complex arithmetic carries the pair by the product rule,

    (a + iha')(b + ihb') = ab + ih(a'b + ab') - h²a'b'

as it does for sums and, by the chain rule, for exp, log and powers. A difference (f(x+h) - f(x-h))/2h has the error
h²/6 f''' too, but also the rounding of f, 1e-16, divided by h; at the best h, near the cube root of 1e-16, about 1e-10
is left.

In code. Hence three rules, kept everywhere in this package:
- transpose, never conjugate: z̄ has no Taylor series in z, it turns the imaginary part around;
- compare, and take maxima, of the real part only;
- scalars come from `math`: `np.sqrt` of a Python number is a float64 scalar and would promote float32 arrays.

The second rule is one function:

    return x.real if x.dtype.kind == "c" else x

By hand. f(x) = x³ at 2: (2 + ih)³ = 8 + 12ih - 6h² - ih³, so Im f/h = 12 - h².

    >>> import numpy as np
    >>> from minibert.gradcheck import complex_step
    >>> from minibert.ops.xp import added, host, namespace, real
    >>> def cube(x):
    ...     return x * x * x
    >>> ((2 + 0.5j) ** 3).imag / 0.5  # h = 1/2: 12 - 1/4
    11.75
    >>> two, one = np.array(2.0), np.array(1.0)
    >>> print(complex_step(cube, two, one))  # h = 1e-30
    12.0
    >>> difference = (cube(2 + 1e-5) - cube(2 - 1e-5)) / 2e-5
    >>> 1e-11 < abs(difference - 12) < 1e-9
    True
    >>> (cube(2 + 1e-30) - cube(2)) / 1e-30  # 2 + 1e-30 is 2
    0.0

The helpers of this file: which library arrays belong to, the same numbers in NumPy's, their real part, and the sum
where a tensor has several uses:

    >>> namespace(two, one).__name__
    'numpy'
    >>> host(two) is two  # it lies on the host already
    True
    >>> print(real(np.array([3 + 4j, 1 - 2j])).max())
    3.0
    >>> total, gradient = np.array([1.0, 2.0]), np.array([10.0, 20.0])
    >>> print(*added([total], gradient), *added(None, gradient))
    [11. 22.] [10. 20.]

Often got wrong.
- A conjugate, here in x̄·x for x². The result is complex, and its derivative silently 0. Differences see it;
  `gradcheck` asks them before it blames a gradient, and says "not analytic":

    >>> print(complex_step(lambda x: np.conj(x) * x, two, one))  # 2x = 4
    0.0

- `abs`, or a cast to real: no imaginary part is left to look at, and `complex_step` says so:

    >>> complex_step(lambda x: np.abs(x) ** 2, two, one)  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    ...
    minibert.gradcheck.derivatives.NotAnalytic: the result is real although ...

- h = 1e-8 "to be safe": safe is small. There is no subtraction that a small h could spoil.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from types import ModuleType
from typing import Any

import numpy as np

Array = Any
"""A NumPy or CuPy array; the operators ask for no more than the names the two libraries share."""


def namespace(*arrays: Array) -> ModuleType:
    """The module (numpy or cupy) that all arrays belong to. TypeError names the odd one out."""
    modules = {type(a).__module__.partition(".")[0] for a in arrays if not isinstance(a, np.ndarray | np.generic)}
    if not modules:
        return np
    if modules == {"cupy"} and not any(isinstance(a, np.ndarray) for a in arrays):
        return sys.modules["cupy"]
    raise TypeError(
        "expected arrays of one library, all numpy or all cupy; got " + ", ".join(_describe(a) for a in arrays)
    )


def host(x: Array) -> Array:
    """The same numbers as an array of NumPy's. One of a card is waited for, and copied."""
    return x.get() if type(x).__module__.partition(".")[0] == "cupy" else x


def added(totals: Sequence[Array] | None, *gradients: Array) -> Sequence[Array]:
    """The gradients of parameters; or the totals, where there are some, after the gradients were added to them.

    A tensor that is used twice, as the word embeddings are when the decoder is tied to them, gets both contributions.
    """
    if totals is None:
        return gradients
    for total, gradient in zip(totals, gradients, strict=True):
        total += gradient
    return totals


def _describe(a: Array) -> str:
    return f"{type(a).__module__}.{type(a).__qualname__}"


def real(x: Array) -> Array:
    """Re x, a view; comparisons and maxima are taken of it."""
    return x.real if x.dtype.kind == "c" else x
