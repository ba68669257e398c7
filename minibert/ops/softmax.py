"""Softmax over the last axis.

Derivation. pᵢ = exp(sᵢ)/Σⱼexp(sⱼ) has ∂pᵢ/∂sⱼ = pᵢ(δᵢⱼ - pⱼ), so dsⱼ = Σᵢ dpᵢ ∂pᵢ/∂sⱼ = pⱼ·(dpⱼ - Σᵢ dpᵢ pᵢ).
Every row of ds sums to 0: a common shift of the scores changes nothing. In attention this makes the gradient of
key.bias exactly zero, since q·b adds the same number to every key's score.
"""

from __future__ import annotations

from typing import NamedTuple

from .xp import Array, namespace, real


class SoftmaxCache(NamedTuple):
    probs: Array


def softmax(scores: Array) -> tuple[Array, SoftmaxCache]:
    """p = exp(s - max s) / Σ exp(s - max s).    scores (..., T) -> probs (..., T)

    The maximum is subtracted so that exp cannot overflow; it cancels, so for the gradient it is a constant. A score of
    -inf gets probability exactly 0; a row of nothing but -inf has no softmax and gives NaN.
    """
    probs = scores - real(scores).max(axis=-1, keepdims=True)
    namespace(probs).exp(probs, out=probs)
    probs /= probs.sum(axis=-1, keepdims=True)
    return probs, SoftmaxCache(probs)


def softmax_backward(dprobs: Array, cache: SoftmaxCache) -> Array:
    """ds = p·(dp - Σ dp·p)        (..., T) -> (..., T)

    Common mistake: leaving out the sum, which is right for a sigmoid.
    """
    probs = cache.probs
    return probs * (dprobs - (dprobs * probs).sum(axis=-1, keepdims=True))
