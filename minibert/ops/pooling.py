"""Pooling: one vector a text, the mean of its tokens; and vectors of length 1.

Definition. A packed batch holds N tokens of B texts, those of text b from row cu_b to row cu_(b+1), T_b of them. Its
vector is their mean; a vector's direction is the vector over its length:

    mean_pool   y_b = Σₙ xₙ/T_b             over the tokens n of text b
    unit        y = x/r                     r = ‖x‖ = √Σᵢ xᵢ²

    x (N, H), cu_seqlens (B+1,) -> y (B, H);  x (B, H) -> y (B, H)

A text of no token has no mean, and a vector of zeros no direction: both results are 0 there, and so are the gradients.
The other way to one vector a text is its first token, [CLS]: that is gather_rows (chapter embedding).

Derivation.
1. Mean: yᵢ of text b has xₙᵢ of each of its tokens with the factor 1/T_b, and of no other:

       dxₙᵢ = dy_bᵢ/T_b             b the text that token n is in

   Every token gets the same. A token of a long text gets less than one of a short text.
2. Length: ∂r/∂xⱼ = 2xⱼ/2r = yⱼ. The quotient rule, with x = r·y:

       ∂yᵢ/∂xⱼ = [i = j]/r - xᵢyⱼ/r² = ([i = j] - yᵢyⱼ)/r

3. Put into dxⱼ = Σᵢ dyᵢ ∂yᵢ/∂xⱼ:

       dx = (dy - y·Σᵢ dyᵢyᵢ)/r

   It is dy less its part along y: what only makes x longer changes no direction, so dx is at right angles to x. And
   twice as long a vector turns half as far.

In code. Padding is nowhere: rows are real tokens. The sum of a text is one slice, and its way back one repetition.

    sums[b] = x[start:end].sum(axis=0)
    return (dy * weights[:, None]).repeat(lengths, axis=0)
    return (dy - y * (dy * y).sum(axis=-1, keepdims=True)) * inverse

By hand. Two texts, of two tokens and of one:

    >>> import numpy as np
    >>> from minibert.gradcheck import complex_step
    >>> from minibert.ops import mean_pool, mean_pool_backward
    >>> from minibert.ops import unit, unit_backward
    >>> x = np.array([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]])
    >>> cu = np.array([0, 2, 3])
    >>> y, cache = mean_pool(x, cu)
    >>> print(y.tolist())
    [[2.0, 3.0], [5.0, 6.0]]
    >>> dy = np.array([[2.0, 4.0], [1.0, 1.0]])
    >>> print(mean_pool_backward(dy, cache).tolist())
    [[1.0, 2.0], [1.0, 2.0], [1.0, 1.0]]
    >>> at = np.array([[0.0, 0.0], [0.0, 1.0], [0.0, 0.0]])
    >>> print(complex_step(lambda x: (dy * mean_pool(x, cu)[0]).sum(), x, at))
    2.0

(3, 4) has the length 5. With dy = (1, 0): Σ dy·y = 3/5, dx = ((1, 0) - 3/5·(3/5, 4/5))/5 = (16, -12)/125.

    >>> x, dy = np.array([[3.0, 4.0]]), np.array([[1.0, 0.0]])
    >>> y, cache = unit(x)
    >>> print(y, unit_backward(dy, cache).round(4))
    [[0.6 0.8]] [[ 0.128 -0.096]]
    >>> at = np.array([[0.0, 1.0]])
    >>> slope = complex_step(lambda x: (dy * unit(x)[0]).sum(), x, at)
    >>> print(f"{slope:.4f}")
    -0.0960

Often got wrong.
- Padding in the mean. Its states are not 0, so a text's vector depends on what else is in the batch.
- The longest text's T for all: right wherever a batch has texts of one length. Checks need several.
- The second term dropped, dx = dy/r, as if the length were a constant. The slope along x itself shows it, which is 0:

    >>> slope = complex_step(lambda x: (dy * unit(x)[0]).sum(), x, x)
    >>> right, wrong = unit_backward(dy, cache), dy / 5
    >>> slopes = slope, (right * x).sum(), (wrong * x).sum()
    >>> print([f"{abs(s):.4f}" for s in slopes])
    ['0.0000', '0.0000', '0.6000']

- The square root at 0, whose slope is 1/0:

    >>> y, cache = unit(np.zeros((1, 2)))
    >>> print(y, unit_backward(dy, cache))
    [[0. 0.]] [[0. 0.]]
"""

from __future__ import annotations

import itertools
from typing import NamedTuple

from .xp import Array, namespace, real


class MeanPoolCache(NamedTuple):
    lengths: list[int]  # of the B texts
    weights: Array  # (B,)  one over them, 0 for a text of no token


def mean_pool(x: Array, cu_seqlens: Array) -> tuple[Array, MeanPoolCache]:
    """The mean over the tokens of each packed sequence.

    x (N, H), cu_seqlens (B+1,) -> y (B, H), 0 for a sequence of no token
    Common mistake: one length for all.
    """
    xp = namespace(x)
    borders = list(itertools.pairwise(cu_seqlens.tolist()))
    lengths = [end - start for start, end in borders]
    sums = xp.empty((len(lengths), *x.shape[1:]), x.dtype)
    for b, (start, end) in enumerate(borders):  # a loop: reduceat along this axis is 20 times slower
        sums[b] = x[start:end].sum(axis=0)
    counts = xp.asarray(lengths, dtype=real(x).dtype)
    y = sums / xp.maximum(counts, 1)[:, None]
    return y, MeanPoolCache(lengths, (counts > 0) / xp.maximum(counts, 1))


def mean_pool_backward(dy: Array, cache: MeanPoolCache) -> Array:
    """dxₙ = dy_b/T_b for the tokens n of text b.    dy (B, H) -> dx (N, H)"""
    lengths, weights = cache
    return (dy * weights[:, None]).repeat(lengths, axis=0)


class UnitCache(NamedTuple):
    y: Array  # (B, H)
    inverse: Array  # (B, 1)  1/‖x‖, 0 for a row of zeros


def unit(x: Array) -> tuple[Array, UnitCache]:
    """Every row divided by its length:  y = x/‖x‖.

    x (B, H) -> y (B, H); a row of zeros, or of numbers whose squares are too small for the dtype, becomes 0
    Common mistake: taking the length for a constant.
    """
    xp = namespace(x)
    squares = (x * x).sum(axis=-1, keepdims=True)
    nowhere = real(squares) == 0
    inverse = xp.where(nowhere, 0, 1 / xp.sqrt(xp.where(nowhere, 1, squares)))
    y = x * inverse
    return y, UnitCache(y, inverse)


def unit_backward(dy: Array, cache: UnitCache) -> Array:
    """dx = (dy - y·Σ dy·y)/‖x‖, at right angles to x.    dy (B, H) -> dx (B, H)"""
    y, inverse = cache
    return (dy - y * (dy * y).sum(axis=-1, keepdims=True)) * inverse
