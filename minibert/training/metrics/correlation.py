"""Scores of numbers: how two rows of them rise and fall together, -1 to 1, as scipy computes it.

Where a row is constant there is nothing to correlate, and the result is nan; so it is where a row holds a nan, and for
Pearson's an infinity. These are scipy's results, without its warnings: a model that gives every text the same number
is worth a nan in the log, no crash.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ...errors import InputError
from .scores import Array, same_length, vector

__all__ = ["pearson", "spearman"]


def pearson(labels: Any, predictions: Any) -> float:
    """Pearson's r = Σ (x - x̄)(y - ȳ) / (‖x - x̄‖ ‖y - ȳ‖): 1 when the predictions lie on a rising line.

    >>> pearson([1, 2, 3, 4], [5, 7, 9, 11]), pearson([1, 2, 3], [4, 4, 4])
    (1.0, nan)
    """
    return _correlation(*_numbers(labels, predictions))


def spearman(labels: Any, predictions: Any) -> float:
    """Spearman's ρ: Pearson's r of the ranks; equal numbers share the mean of their ranks.

    >>> spearman([1, 2, 3, 4], [1, 10, 100, 1000]), spearman([1, 2, 3], [4, 4, 4])
    (1.0, nan)
    """
    x, y = _numbers(labels, predictions)
    if np.isnan(x).any() or np.isnan(y).any():
        return math.nan
    return _correlation(_ranks(x), _ranks(y))


def _correlation(x: Array, y: Array) -> float:
    for row in (x, y):
        if not np.isfinite(row).all() or (row == row[0]).all():
            return math.nan
    x, y = _direction(x), _direction(y)
    return float(np.clip(x @ y, -1, 1))  # rounding may leave the ends


def _direction(row: Array) -> Array:
    """The row about its mean, with length 1. Divided by its largest number first: squares overflow."""
    row = row / np.abs(row).max()
    row = row - row.mean()
    return row / np.linalg.norm(row)


def _ranks(row: Array) -> Array:
    """Places in the sorted row, from 1; those of equal numbers are averaged."""
    _, place, counts = np.unique(row, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    return (last - (counts - 1) / 2)[place]


def _numbers(labels: Any, predictions: Any) -> tuple[Array, Array]:
    x, y = (
        vector(name, values, "biuf", "numbers").astype(np.float64)
        for name, values in (("labels", labels), ("predictions", predictions))
    )
    same_length(x, y)
    if len(x) < 2:
        raise InputError("labels: expected at least two numbers, got one", "one point has no direction")
    return x, y
