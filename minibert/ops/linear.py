"""Linear layer.

The paper writes xW + b. Here, as in every published PyTorch or Hugging Face checkpoint, the weight is stored
(out, in), so y = x Wᵀ + b; TensorFlow kernels are stored (in, out) and are transposed when they are converted.
The square ones (query, key, value, attention output, pooler) have the same shape either way: a forgotten transpose
loads without complaint and only shows in the numbers.

Derivation. yₙₒ = Σᵢ xₙᵢ Wₒᵢ + bₒ, so ∂yₙₒ/∂xₙᵢ = Wₒᵢ, ∂yₙₒ/∂Wₒᵢ = xₙᵢ and ∂yₙₒ/∂bₒ = 1. Multiply by dyₙₒ and sum
over the indices that the variable does not have.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from .xp import Array, added, namespace


class LinearCache(NamedTuple):
    x: Array  # (N, in)
    weight: Array  # (out, in)


def linear(x: Array, weight: Array, bias: Array) -> tuple[Array, LinearCache]:
    """Affine map of every row:  y = x Wᵀ + b.

    x (N, in), weight (out, in), bias (out,) -> y (N, out)
    """
    y = (x @ weight.T).astype(namespace(x).result_type(x, weight, bias), copy=False)
    y += bias  # in place: y is the largest array there is
    return y, LinearCache(x, weight)


def linear_backward(dy: Array, cache: LinearCache, totals: Sequence[Array] | None = None) -> tuple[Array, Array, Array]:
    """dx = dy W    dW = dyᵀ x    db = Σₙ dy

    dy (N, out) -> dx (N, in), dweight (out, in), dbias (out,); given totals (dweight, dbias) are added to
    Common mistake: dW = xᵀ dy, which is the gradient of the transposed weight.
    """
    x, weight = cache
    dweight, dbias = added(totals, dy.T @ x, dy.sum(axis=0))
    return dy @ weight, dweight, dbias
