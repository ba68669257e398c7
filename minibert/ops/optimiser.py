"""What happens to parameters between two training steps: the gradient's length, and an optimiser's update.

Definition. AdamW is Adam with decoupled weight decay (Loshchilov & Hutter 2019, Algorithm 2; there λ is multiplied by
the schedule alone, here, as in PyTorch, by the learning rate), for every number p by itself; step t counts from 1, m
and v begin at 0. LAMB and SGD stand below, each above its code.

    g ← scale·g        m ← β₁m + (1-β₁)g        v ← β₂v + (1-β₂)g²
    p ← (1 - lr·λ)·p - lr·(m/(1-β₁ᵗ)) / (√(v/(1-β₂ᵗ)) + eps)

Not differentiated, and in place: parameters, gradients and both moments are flat arrays of one length P, hundreds of
megabytes each, of which nobody wants a copy. `scale` is what clipping makes of the gradient: c/‖g‖ where ‖g‖ > c
(Pascanu et al. 2013, §3.2), with ‖g‖ = √(Σ g²) over all parameters together.

Derivation. Unroll m, and v likewise:

    mₜ = (1-β₁)·(gₜ + β₁gₜ₋₁ + β₁²gₜ₋₂ + ... + β₁ᵗ⁻¹g₁)

1. The weights are a geometric series, (1-β₁)(1 + β₁ + ... + β₁ᵗ⁻¹) = 1 - β₁ᵗ: short of 1, because m began at 0.
   Dividing by 1 - β₁ᵗ makes m a mean of gradients, and √v a root mean square of the same kind.
2. So the step is lr times mean over root mean square, of the size of lr: multiply every gradient by 1000, and m and √v
   both get the factor and, but for eps, the step none. At t = 1 it is lr·g/|g|, the sign of g.
3. Decay shrinks p by the factor 1 - lr·λ, beside all this, and so by the same share for every parameter.

In code.

    parameter *= 1 - lr * weight_decay
    root = (square / whole2) ** 0.5
    parameter -= lr / whole1 * mean / (root + eps)

where whole1 and whole2 are 1 - β₁ᵗ and 1 - β₂ᵗ, or 1 without bias correction.

By hand. p = 2, gradients 5 and then -1; β₁ = β₂ = 1/2, lr = 0.3, λ = 1/3, eps = 0, so that decay is a factor of 0.9.

    t = 1   m = 5/2   v = 25/2   over 1/2: 5, 25   p = 1.8 - 0.3·5/5 = 1.5
    t = 2   m = 3/4   v = 27/4   over 3/4: 1,  9   p = 1.35 - 0.3·1/3 = 1.25

    >>> import numpy as np
    >>> from minibert.ops import adamw, global_norm, lamb, sgd
    >>> half = {"lr": 0.3, "betas": (0.5, 0.5), "eps": 0.0}
    >>> p, m, v = np.array([2.0]), np.zeros(1), np.zeros(1)
    >>> for step, g in enumerate([5.0, -1.0], start=1):
    ...     adamw(p, np.array([g]), m, v, step, weight_decay=1 / 3, **half)
    ...     print(m, v, p.round(4))
    [2.5] [12.5] [1.5]
    [0.75] [6.75] [1.25]

A gradient (3, 4) is 5 long; clipped to length 1, scale is 1/5 and m gets half of (0.6, 0.8):

    >>> g = np.array([3.0, 4.0])
    >>> p, m, v = np.zeros(2), np.zeros(2), np.zeros(2)
    >>> adamw(p, g, m, v, 1, weight_decay=0.0, scale=1 / global_norm(g), **half)
    >>> print(global_norm(g), m, p)  # the first step is the sign: lr each
    5.0 [0.3 0.4] [-0.3 -0.3]

LAMB's first step, with u the sign of g as in AdamW: u is √2 long, p is 5, so that lr = 0.1 moves p by 0.5, a tenth of
its length. SGD with momentum 1/2, twice with g = 1: v = 1, then 3/2.

    >>> p, m, v = np.array([3.0, 4.0]), np.zeros(2), np.zeros(2)
    >>> lamb(p, np.array([7.0, -7.0]), m, v, 1, 0.1, (0.5, 0.5), 0.0, 0.0)
    >>> print((np.array([3.0, 4.0]) - p) * 2**0.5)
    [ 0.5 -0.5]
    >>> p, v = np.array([2.0]), np.zeros(1)
    >>> for _ in range(2):
    ...     sgd(p, np.array([1.0]), v, lr=0.1, momentum=0.5, weight_decay=0.0)
    ...     print(v, p.round(4))
    [1.] [1.9]
    [1.5] [1.75]

Often got wrong.
- λ inside g (L2 regularisation), where the division by √v undoes it. In the first step it is gone without a trace, 1.7
  with any λ, where decay gives 1.5:

    >>> p, m, v = np.array([2.0]), np.zeros(1), np.zeros(1)
    >>> adamw(p, np.array([5.0]) + p / 3, m, v, 1, weight_decay=0.0, **half)
    >>> print(p.round(4))
    [1.7]

- No bias correction: m and v are too small at first, and not equally. With BERT's β₁ = 0.9 and β₂ = 0.999 the first
  step is 0.1/√0.001 times too long. Google's own code does this, "mostly an oversight" in its author's words, and only
  the warm-up keeps it from harm; so results of BERT as published need it, and nothing else does:

    >>> p, m, v = np.zeros(1), np.zeros(1), np.zeros(1)
    >>> google = {"betas": (0.9, 0.999), "eps": 1e-6, "weight_decay": 0.01}
    >>> adamw(p, np.array([5.0]), m, v, 1, 1.0, **google, bias_correction=False)
    >>> print(p.round(2))
    [-3.16]

- t from 0: 1 - β⁰ is 0, and the step divides by it.
- Clipping every tensor by itself, which bends the direction: (3) and (4) alone become (1) and (1), not (0.6, 0.8).
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
    bias_correction: bool = True,
) -> None:
    """One step of Adam with decoupled weight decay (Loshchilov & Hutter 2019, Algorithm 2, λ as in PyTorch), in place.

        g ← scale·g    m ← β₁m + (1-β₁)g    v ← β₂v + (1-β₂)g²
        p ← (1 - lr·λ)·p - lr·(m/(1-β₁ᵗ)) / (√(v/(1-β₂ᵗ)) + eps)

    parameter, gradient, mean, square (P,); step t counts from 1; scale is what clipping makes of the gradient, which
    is itself left alone. Without bias_correction both 1 - βᵗ are 1: the Adam of google-research/bert, optimization.py.
    Common mistake: λ inside g (L2 regularisation), where the division by √v undoes it.
    """
    beta1, beta2 = betas
    g = scale * gradient
    mean *= beta1
    mean += (1 - beta1) * g
    square *= beta2
    square += (1 - beta2) * g * g
    whole1, whole2 = (1 - beta1**step, 1 - beta2**step) if bias_correction else (1.0, 1.0)
    parameter *= 1 - lr * weight_decay
    root = (square / whole2) ** 0.5
    parameter -= lr / whole1 * mean / (root + eps)


def lamb(
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
    """One step of LAMB (You et al. 2020, "Large Batch Optimization for Deep Learning", Algorithm 2), in place.

        m, v as in AdamW        u = (m/(1-β₁ᵗ)) / (√(v/(1-β₂ᵗ)) + eps) + λp        p ← p - lr·(‖p‖/‖u‖)·u

    parameter, gradient, mean, square: one tensor each, as the step is as long as the tensor, times lr. Where ‖p‖ or ‖u‖
    is 0 the ratio is 1. Common mistake: one ratio for all parameters together.
    """
    beta1, beta2 = betas
    g = scale * gradient
    mean *= beta1
    mean += (1 - beta1) * g
    square *= beta2
    square += (1 - beta2) * g * g
    update = mean / (1 - beta1**step) / ((square / (1 - beta2**step)) ** 0.5 + eps) + weight_decay * parameter
    length, change = global_norm(parameter), global_norm(update)
    parameter -= lr * (length / change if length > 0 and change > 0 else 1.0) * update


def sgd(
    parameter: Array,
    gradient: Array,
    velocity: Array,
    lr: float,
    momentum: float,
    weight_decay: float,
    scale: float = 1.0,
) -> None:
    """One step of gradient descent with momentum (Sutskever et al. 2013, as PyTorch writes it), in place.

        g ← scale·g + λp        v ← μv + g        p ← p - lr·v

    parameter, gradient, velocity (P,). Here decay is the gradient of λ‖p‖²/2, as nothing is divided by √v.
    """
    velocity *= momentum
    velocity += scale * gradient + weight_decay * parameter
    parameter -= lr * velocity
