"""What the metrics share: counts of a class -> precision, recall and F1; and vectors, checked."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from ...errors import InputError

Array = Any
AVERAGES = ("micro", "macro", "weighted")


class Scores(NamedTuple):
    """precision = hits/predicted, recall = hits/support, f1 = 2·hits/(predicted + support); 0 where that is 0/0."""

    precision: float
    recall: float
    f1: float
    support: int  # how many there really are


def averaged(hits: Array, predicted: Array, support: Array, average: str) -> Scores:
    """Counts (C,) of each class -> one Scores.

    micro       counts of all classes added, then divided
    macro       mean of the classes' scores, each class counting the same
    weighted    mean of the classes' scores, each counting as often as it really occurs
    """
    if average not in AVERAGES:
        raise InputError(f"average: expected one of {', '.join(AVERAGES)}, got {average!r}")
    total = int(np.sum(support))
    if average == "micro":
        hits, predicted, support = (np.sum(counts, keepdims=True) for counts in (hits, predicted, support))
    weights = support if average == "weighted" else np.ones(len(support))
    scores = (_ratio(hits, predicted), _ratio(hits, support), _ratio(2 * hits, predicted + support))
    weight = weights.sum()
    precision, recall, f1 = (float(weights @ score / weight) if weight else 0.0 for score in scores)
    return Scores(precision, recall, f1, total)


def _ratio(above: Array, below: Array) -> Array:
    return np.where(below > 0, above / np.maximum(below, 1), 0.0)


def vector(name: str, values: Any, kinds: str, expected: str) -> Array:
    """`values` as an array (n,) with n >= 1 of one of NumPy's `kinds`. Raises InputError."""
    try:
        array = np.asarray(values)
    except ValueError:
        raise InputError(f"{name}: expected {expected}, one an example, got ragged rows") from None
    if array.ndim != 1:
        raise InputError(f"{name}: expected {expected}, one an example, got shape {array.shape}")
    if not len(array):
        raise InputError(f"{name}: expected {expected}, got none", "a score needs at least one example")
    if array.dtype.kind not in kinds:
        raise InputError(f"{name}: expected {expected}, got {array.dtype}")
    return array


def same_length(labels: Array, predictions: Array) -> None:
    """Raises InputError unless there are as many predictions as labels."""
    if len(labels) != len(predictions):
        raise InputError(f"predictions: expected {len(labels)}, one a label, got {len(predictions)}")
