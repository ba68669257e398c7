"""Products with few rows, where BLAS spends its time on copying the weights into the order it likes.

    y = x Wᵀ + b        W (out, in) as it lies in memory: rows of x and rows of W are multiplied side by side

Four rows of each at a time: every number that is read serves four products, and sixteen sums stay in registers.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .compile import kernel

MOST = 32
"""Rows up to which this beats OpenBLAS: tools/bench_products.py prints 51 GFLOP/s against 34 at 16 rows, 61 against 56
at 32, and 77 against 84 at 64."""


@kernel
def multiply(x: Any, weight: Any, bias: Any, y: Any) -> None:
    """x (M, in), weight (out, in), bias (out,), y (M, out) or columns of such."""
    rows, inputs = x.shape
    outputs = weight.shape[0]
    full_rows, full_outputs = rows - rows % 4, outputs - outputs % 4
    zero = np.float32(0)
    for o in range(0, full_outputs, 4):
        w0, w1, w2, w3 = weight[o], weight[o + 1], weight[o + 2], weight[o + 3]
        for n in range(0, full_rows, 4):
            x0, x1, x2, x3 = x[n], x[n + 1], x[n + 2], x[n + 3]
            a00 = a01 = a02 = a03 = a10 = a11 = a12 = a13 = zero
            a20 = a21 = a22 = a23 = a30 = a31 = a32 = a33 = zero
            for k in range(inputs):
                v0, v1, v2, v3 = w0[k], w1[k], w2[k], w3[k]
                u = x0[k]
                a00 += u * v0
                a01 += u * v1
                a02 += u * v2
                a03 += u * v3
                u = x1[k]
                a10 += u * v0
                a11 += u * v1
                a12 += u * v2
                a13 += u * v3
                u = x2[k]
                a20 += u * v0
                a21 += u * v1
                a22 += u * v2
                a23 += u * v3
                u = x3[k]
                a30 += u * v0
                a31 += u * v1
                a32 += u * v2
                a33 += u * v3
            y[n, o], y[n, o + 1], y[n, o + 2], y[n, o + 3] = a00, a01, a02, a03
            y[n + 1, o], y[n + 1, o + 1], y[n + 1, o + 2], y[n + 1, o + 3] = a10, a11, a12, a13
            y[n + 2, o], y[n + 2, o + 1], y[n + 2, o + 2], y[n + 2, o + 3] = a20, a21, a22, a23
            y[n + 3, o], y[n + 3, o + 1], y[n + 3, o + 2], y[n + 3, o + 3] = a30, a31, a32, a33
        for n in range(full_rows, rows):
            x0 = x[n]
            a00 = a01 = a02 = a03 = zero
            for k in range(inputs):
                u = x0[k]
                a00 += u * w0[k]
                a01 += u * w1[k]
                a02 += u * w2[k]
                a03 += u * w3[k]
            y[n, o], y[n, o + 1], y[n, o + 2], y[n, o + 3] = a00, a01, a02, a03
    for o in range(full_outputs, outputs):
        w0 = weight[o]
        for n in range(rows):
            x0 = x[n]
            a00 = zero
            for k in range(inputs):
                a00 += x0[k] * w0[k]
            y[n, o] = a00
    for n in range(rows):
        for o in range(outputs):
            y[n, o] += bias[o]
