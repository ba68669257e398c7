"""Similarity: the cosine of two texts' vectors, and the two losses that sentence vectors are trained with.

Definition. The cosine of the angle between two vectors is the product of their directions (unit, chapter pooling):

    cosine          s_q = Σᵢ u_qᵢ v_qᵢ          u = a/‖a‖, v = b/‖b‖, of pair q
    cosine_matrix   x_qc = λ·Σᵢ u_qᵢ v_cᵢ       of every a with every b, times λ

    a, b (Q, H) -> s (Q,);  a (Q, H), b (C, H), scale λ -> x (Q, C)

No loss of its own is needed, as cosines are numbers, and rows of a matrix are logits (chapter losses):

    regression      mean_squared_error(s, scores): the cosine is to be the score
    ranking         cross_entropy(x, [0, 1, 2, ...]): each a picks its own b

Ranking takes pairs alone, without scores or wrong answers: those are the other texts of the batch (Henderson et al.
2017, §4.4). A cosine is at most 1, so without λ no softmax over C texts could get sure; λ is 20 where nothing else is
said. Turned around, each b picks its a: the same with the matrix transposed; symmetric is the mean of the two.

Derivation.
1. A product of two gives each factor the other one. Of pairs, and of the matrix, where each u meets all v:

       du_q = ds_q·v_q                  dv_q = ds_q·u_q
       du_q = λ·Σ_c dx_qc v_c           dv_c = λ·Σ_q dx_qc u_q
       du = λ·dx v                      dv = λ·dxᵀu

2. From u to a and from v to b by unit's backward, da = (du - u·Σ du·u)/‖a‖. For pairs Σ du·u = ds·s, and so

       da = ds·(v - s·u)/‖a‖            db = ds·(u - s·v)/‖b‖

   a turns towards b, and its length has no say. Where they point the same way already there is nothing to turn.
3. Ranking: dx = (p - [q = c])/Q, by cross-entropy. So du_q is λ/Q times Σ_c p_qc v_c - v_q, the mean of all b, each as
   often as it is taken for the right one, less the right one.

In code.

    du, dv = dy[:, None] * v, dy[:, None] * u
    du, dv = scale * (dy @ v), scale * (dy.T @ u)

By hand. a = (3, 4), b = (1, 0): s = 3/5; da = ((1, 0) - 3/5·(3/5, 4/5))/5 and db = (3/5, 4/5) - 3/5·(1, 0).

    >>> import math
    >>> import numpy as np
    >>> from minibert.gradcheck import complex_step
    >>> from minibert.ops import cosine, cosine_backward
    >>> a, b = np.array([[3.0, 4.0]]), np.array([[1.0, 0.0]])
    >>> s, cache = cosine(a, b)
    >>> da, db = cosine_backward(np.ones(1), cache)
    >>> print(s.round(4), da.round(4), db.round(4))
    [0.6] [[ 0.128 -0.096]] [[0.  0.8]]
    >>> at = np.array([[0.0, 1.0]])
    >>> slope = complex_step(lambda a: cosine(a, b)[0].sum(), a, at)
    >>> print(f"{slope:.4f}")
    -0.0960

If people say these two are alike by 0.1, the loss is 0.5², and its slope 2·0.5 turns a away from b:

    >>> from minibert.ops import mean_squared_error as mse
    >>> from minibert.ops import mean_squared_error_backward as mse_backward
    >>> loss, error = mse(s, np.array([0.1]))
    >>> da, _ = cosine_backward(mse_backward(1.0, error), cache)
    >>> print(f"{loss:.4f}", da.round(4))
    0.2500 [[ 0.128 -0.096]]

Ranking two pairs that are right, at right angles to one another. With λ = log 3 the logits are log 3 and 0: 3/4 for
the right one, the loss log 4/3. dx = (p - [q = c])/2 is 1/8 and -1/8; of da only what turns is left, log 3/8.

    >>> from minibert.ops import cosine_matrix, cosine_matrix_backward
    >>> from minibert.ops import cross_entropy, cross_entropy_backward
    >>> a, b, right = np.eye(2), np.eye(2), np.array([0, 1])
    >>> x, cache = cosine_matrix(a, b, math.log(3))
    >>> loss, picked = cross_entropy(x, right)
    >>> print(f"{loss:.4f} {math.log(4 / 3):.4f}")
    0.2877 0.2877
    >>> dx = cross_entropy_backward(1.0, picked)
    >>> da, db = cosine_matrix_backward(dx, cache)
    >>> print(dx.round(4).tolist(), f"{math.log(3) / 8:.4f}")
    [[-0.125, 0.125], [0.125, -0.125]] 0.1373
    >>> print(da.round(4).tolist())
    [[0.0, 0.1373], [0.1373, 0.0]]

Often got wrong.
- Products without lengths: then the loss falls by vectors that grow.
- λ on the way forward and not on the way back: a rate of 1/20. And λ as temperature, divided by: 400 times as much.
- dx v for both: shapes allow it, as there are as many a as b. The complex step does not.
- A text twice in a batch. Ranking then calls a right answer wrong, and two equal ones cannot both be picked:

    >>> x, _ = cosine_matrix(np.ones((2, 3)), np.ones((2, 3)), 20.0)
    >>> print(f"{cross_entropy(x, right)[0]:.4f} {math.log(2):.4f}")
    0.6931 0.6931
"""

from __future__ import annotations

from typing import NamedTuple

from .pooling import UnitCache, unit, unit_backward
from .xp import Array


class CosineCache(NamedTuple):
    u: UnitCache
    v: UnitCache


def cosine(a: Array, b: Array) -> tuple[Array, CosineCache]:
    """The cosine of the angle between the rows of each pair:  s = Σ u·v, u = a/‖a‖, v = b/‖b‖.

    a, b (Q, H) -> s (Q,), 0 where one of the two is all zeros
    """
    u, u_cache = unit(a)
    v, v_cache = unit(b)
    return (u * v).sum(axis=-1), CosineCache(u_cache, v_cache)


def cosine_backward(dy: Array, cache: CosineCache) -> tuple[Array, Array]:
    """da = ds·(v - s·u)/‖a‖    db = ds·(u - s·v)/‖b‖

    dy (Q,) -> da (Q, H), db (Q, H)
    """
    u, v = cache.u.y, cache.v.y
    du, dv = dy[:, None] * v, dy[:, None] * u
    return unit_backward(du, cache.u), unit_backward(dv, cache.v)


class CosineMatrixCache(NamedTuple):
    u: UnitCache
    v: UnitCache
    scale: float


def cosine_matrix(a: Array, b: Array, scale: float = 1.0) -> tuple[Array, CosineMatrixCache]:
    """The cosines of every row of a with every row of b, times the scale:  x = scale·u vᵀ.

    a (Q, H), b (C, H) -> x (Q, C). With its own b at the same place, cross_entropy of x ranks (chapter similarity).
    Common mistake: dividing by the scale.
    """
    u, u_cache = unit(a)
    v, v_cache = unit(b)
    return scale * (u @ v.T), CosineMatrixCache(u_cache, v_cache, scale)


def cosine_matrix_backward(dy: Array, cache: CosineMatrixCache) -> tuple[Array, Array]:
    """du = scale·dx v    dv = scale·dxᵀu, and on to a and b as `unit` does

    dy (Q, C) -> da (Q, H), db (C, H)
    """
    u, v, scale = cache.u.y, cache.v.y, cache.scale
    du, dv = scale * (dy @ v), scale * (dy.T @ u)
    return unit_backward(du, cache.u), unit_backward(dv, cache.v)
