"""What happens to parameters between two training steps: the gradient's length, and AdamW's update.

Not differentiated, and in place: parameters, gradients and both moments are flat arrays of one length, hundreds of
megabytes each, of which nobody wants a copy.
"""

from __future__ import annotations

import math

from .xp import Array


def global_norm(gradient: Array) -> float:
    """‖g‖ over all parameters together.    gradient (P,) -> a Python float

    Pascanu et al. 2013, "On the difficulty of training recurrent neural networks", §3.2: a gradient longer than c is
    scaled to length c, which keeps its direction. Common mistake: clipping every tensor by itself, which does not.
    """
    return math.sqrt(float((gradient * gradient).sum(dtype="float64")))


def adamw(
    parameter: Array,
    gradient: Array,
    mean: Array,
    square: Array,
    step: int,
    lr: float,
    betas: tuple[float, float],
    eps: float,
    weight_decay: float,
    scale: float = 1.0,
) -> None:
    """One step of Adam with decoupled weight decay (Loshchilov & Hutter 2019, Algorithm 2), in place.

        g ← scale·g    m ← β₁m + (1-β₁)g    v ← β₂v + (1-β₂)g²
        p ← (1 - lr·λ)·p - lr·(m/(1-β₁ᵗ)) / (√(v/(1-β₂ᵗ)) + eps)

    parameter, gradient, mean, square (P,); step t counts from 1; scale is what clipping makes of the gradient, which
    is itself left alone. Common mistake: λ inside g (L2 regularisation), where the division by √v undoes it.
    """
    beta1, beta2 = betas
    g = scale * gradient
    mean *= beta1
    mean += (1 - beta1) * g
    square *= beta2
    square += (1 - beta2) * g * g
    parameter *= 1 - lr * weight_decay
    root = (square / (1 - beta2**step)) ** 0.5
    parameter -= lr / (1 - beta1**step) * mean / (root + eps)
