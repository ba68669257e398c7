"""Cross-entropy over many classes, one pass over the logits forward and one backward."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from ...ops.losses import IGNORE_INDEX
from ...ops.xp import Array
from . import memory, threads
from .compile import kernel
from .vector_math import exp32, row_max32

LEAST = 1 << 15
"""Logits that are worth a thread."""


class CrossEntropyCache(NamedTuple):
    logits: Array  # (N, C)
    labels: Array  # (N,)
    weight: float  # 1/n, n labelled rows
    peaks: Array  # (N,)  max x
    totals: Array  # (N,)  Σ exp(x - max x)
    ignore_index: int


def cross_entropy(logits: Array, labels: Array, ignore_index: int = IGNORE_INDEX) -> tuple[Array, CrossEntropyCache]:
    logits = np.ascontiguousarray(logits)
    rows, classes = logits.shape
    peaks, totals, losses = (np.empty(rows, np.float32) for _ in range(3))
    threads.split(
        rows,
        max(1, LEAST // max(classes, 1)),
        lambda a, b: row_losses(logits[a:b], labels[a:b], ignore_index, peaks[a:b], totals[a:b], losses[a:b]),
    )
    weight = 1 / max(int((labels != ignore_index).sum()), 1)
    loss = np.float32(losses.sum(dtype=np.float64) * weight)
    return loss, CrossEntropyCache(logits, labels, weight, peaks, totals, ignore_index)


def cross_entropy_backward(dloss: Array | float, cache: CrossEntropyCache) -> Array:
    logits, labels, weight, peaks, totals, ignore_index = cache
    factor = np.float32(float(dloss) * weight)
    dlogits = memory.empty(logits.shape)

    def part(a: int, b: int) -> None:
        row_gradients(logits[a:b], labels[a:b], ignore_index, peaks[a:b], totals[a:b], factor, dlogits[a:b])

    threads.split(len(labels), max(1, LEAST // max(logits.shape[1], 1)), part)
    return dlogits


@kernel
def row_losses(logits: Any, labels: Any, ignore_index: Any, peaks: Any, totals: Any, losses: Any) -> None:
    """log Σⱼ exp(xⱼ) - x[label] of every row; 0 where there is no label."""
    for n in range(logits.shape[0]):
        row = logits[n]
        peak = row_max32(row)
        total = np.float32(0)
        for j in range(row.shape[0]):
            total += exp32(row[j] - peak)
        peaks[n] = peak
        totals[n] = total
        losses[n] = np.float32(0)
        if labels[n] != ignore_index:
            losses[n] = np.float32(np.log(total)) - (row[labels[n]] - peak)


@kernel
def row_gradients(
    logits: Any, labels: Any, ignore_index: Any, peaks: Any, totals: Any, factor: Any, dlogits: Any
) -> None:
    """factor·(softmax(x) - onehot(label)); zeros where there is no label."""
    for n in range(logits.shape[0]):
        row, out, peak = logits[n], dlogits[n], peaks[n]
        if labels[n] == ignore_index:
            out[:] = np.float32(0)
            continue
        share = factor / totals[n]
        for j in range(row.shape[0]):
            out[j] = share * exp32(row[j] - peak)
        out[labels[n]] -= factor
