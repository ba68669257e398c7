"""Position-wise feed-forward network (Vaswani et al. 2017, §3.3 eq. 2): the same two linear layers for every token.

    FFN(x) = act(x W₁ᵀ + b₁) W₂ᵀ + b₂

Vaswani et al. take max(0, ·) for act, BERT takes GELU, and the inner layer is four times as wide as the outer. So its
activation is the largest tensor of a layer: an engine that has the whole network in one operator need not store it, as
it follows from u = x W₁ᵀ + b₁, which backward needs in any case.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from .activations import relu, relu_backward, silu, silu_backward, tanh, tanh_backward
from .gelu import gelu, gelu_backward, gelu_new, gelu_new_backward
from .linear import LinearCache, linear, linear_backward
from .xp import Array, added

_ACTIVATIONS: dict[str, tuple[Any, Any]] = {
    "gelu": (gelu, gelu_backward),
    "gelu_new": (gelu_new, gelu_new_backward),
    "relu": (relu, relu_backward),
    "silu": (silu, silu_backward),
    "tanh": (tanh, tanh_backward),
}


class FeedForwardCache(NamedTuple):
    inner: LinearCache
    activation: str
    activated: Any  # the activation's own cache
    outer: LinearCache


def feed_forward(
    x: Array, weight1: Array, bias1: Array, weight2: Array, bias2: Array, activation: str
) -> tuple[Array, FeedForwardCache]:
    """u = x W₁ᵀ + b₁    y = act(u) W₂ᵀ + b₂

    x (N, H), weight1 (I, H), bias1 (I,), weight2 (H, I), bias2 (H,) -> y (N, H)
    activation: "gelu", "gelu_new", "relu", "silu" or "tanh", the operators' names.
    """
    act, _ = _ACTIVATIONS[activation]
    u, inner = linear(x, weight1, bias1)
    a, activated = act(u)
    y, outer = linear(a, weight2, bias2)
    return y, FeedForwardCache(inner, activation, activated, outer)


def feed_forward_backward(
    dy: Array, cache: FeedForwardCache, totals: Sequence[Array] | None = None
) -> tuple[Array, Array, Array, Array, Array]:
    """da = dy W₂    du = da·act'(u)    dx = du W₁        and for either layer dW = (its dy)ᵀ (its x), db = Σₙ (its dy)

    dy (N, H) -> dx (N, H), dweight1 (I, H), dbias1 (I,), dweight2 (H, I), dbias2 (H,); given totals of these four
    are added to
    """
    _, act_backward = _ACTIVATIONS[cache.activation]
    da, dweight2, dbias2 = linear_backward(dy, cache.outer)
    du = act_backward(da, cache.activated)
    dx, dweight1, dbias1 = linear_backward(du, cache.inner)
    return dx, *added(totals, dweight1, dbias1, dweight2, dbias2)
