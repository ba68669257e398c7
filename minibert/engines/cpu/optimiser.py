"""Gradient norm and AdamW as single passes over flat arrays: 28 bytes a parameter, at the speed of memory."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ...ops.xp import Array
from . import threads
from .compile import kernel

BLOCK = 4096
"""Elements summed in float32; the sums of blocks are added in float64, in the order of the blocks."""

LEAST = 1 << 16
"""Elements that are worth a thread."""


def global_norm(gradient: Array) -> float:
    gradient = np.ascontiguousarray(gradient)
    blocks = -(-len(gradient) // BLOCK)
    sums = np.empty(blocks)
    threads.split(blocks, LEAST // BLOCK, lambda a, b: square_sums(gradient[a * BLOCK : b * BLOCK], sums[a:b]))
    return math.sqrt(float(sums.sum()))


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
    beta1, beta2 = betas
    whole1, whole2 = (1 - beta1**step, 1 - beta2**step) if bias_correction else (1.0, 1.0)
    numbers = [scale, beta1, 1 - beta1, beta2, 1 - beta2, 1 - lr * weight_decay]
    numbers += [lr / whole1, 1 / math.sqrt(whole2), eps]
    constants = np.array(numbers, np.float32)

    def part(start: int, stop: int) -> None:
        adamw_pass(parameter[start:stop], gradient[start:stop], mean[start:stop], square[start:stop], constants)

    threads.split(len(parameter), LEAST, part)


@kernel
def square_sums(x: Any, sums: Any) -> None:
    """sums[i] = Σ x² over block i."""
    for i in range(sums.shape[0]):
        block = x[i * BLOCK : (i + 1) * BLOCK]
        total = np.float32(0)
        for j in range(block.shape[0]):
            total += block[j] * block[j]
        sums[i] = total


@kernel
def adamw_pass(p: Any, g: Any, m: Any, v: Any, constants: Any) -> None:
    scale, beta1, rest1, beta2, rest2, decay, rate, correction, eps = constants
    for i in range(p.shape[0]):
        gi = scale * g[i]
        mi = beta1 * m[i] + rest1 * gi
        vi = beta2 * v[i] + rest2 * gi * gi
        m[i] = mi
        v[i] = vi
        p[i] = decay * p[i] - rate * mi / (np.sqrt(vi) * correction + eps)
