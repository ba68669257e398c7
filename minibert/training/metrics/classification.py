"""Scores of classes: accuracy, precision, recall, F1 and Matthews' coefficient, as scikit-learn defines them.

What is 0/0 counts as 0, as there. Labels are integers or texts, one an example; no example at all is an InputError.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ...errors import InputError
from .scores import AVERAGES, Array, Scores, averaged, same_length, vector

__all__ = ["accuracy", "matthews", "multi_label_scores", "precision_recall_f1"]


def accuracy(labels: Any, predictions: Any) -> float:
    """Share of the examples whose prediction is their label.

    >>> accuracy([0, 1, 2, 1], [0, 1, 1, 1])
    0.75
    """
    labels, predictions = _classes(labels, predictions)
    return float(np.mean(labels == predictions))


def precision_recall_f1(labels: Any, predictions: Any, average: str = "binary", positive: Any = 1) -> Scores:
    """Scores of class `positive` alone ("binary"), or of all classes: "micro", "macro" or "weighted".

    All classes are those that occur, as a label or as a prediction. "binary" wants at most two, `positive` one of
    them, unless only one occurs. "micro" is then the accuracy three times over.

    >>> precision_recall_f1([0, 1, 1, 1], [1, 1, 1, 0]).precision == 2 / 3
    True
    >>> precision_recall_f1([0, 1, 2, 1], [0, 1, 1, 1], average="macro").recall == 2 / 3
    True
    """
    if average not in ("binary", *AVERAGES):
        raise InputError(f"average: expected one of binary, {', '.join(AVERAGES)}, got {average!r}")
    classes, confusion = _confusion(labels, predictions)
    hits, predicted, support = confusion.diagonal(), confusion.sum(0), confusion.sum(1)
    if average != "binary":
        return averaged(hits, predicted, support, average)
    found = classes == positive
    if len(classes) > 2:
        raise InputError(f"labels: expected two classes, got {len(classes)}", f"average: {', '.join(AVERAGES)}")
    if len(classes) == 2 and not np.any(found):
        raise InputError(f"positive: expected one of {classes.tolist()}, got {positive!r}")
    return averaged(hits[found], predicted[found], support[found], "micro")


def matthews(labels: Any, predictions: Any) -> float:
    """Matthews' correlation of labels and predictions, -1 to 1; 0 where either is always the same class.

        r = (s·c - Σ tₖpₖ) / √((s² - Σ tₖ²)(s² - Σ pₖ²))      (Gorodkin 2004, for any number of classes)

    s examples, c of them right; class k is a label tₖ times and predicted pₖ times.

    >>> matthews([0, 0, 1, 1], [0, 1, 1, 1]) == 1 / math.sqrt(3)
    True
    """
    _, confusion = _confusion(labels, predictions)
    s, c = int(confusion.sum()), int(confusion.trace())
    t, p = ([int(count) for count in confusion.sum(axis)] for axis in (1, 0))  # Python's integers: exact
    above = s * c - _dot(t, p)
    below = (s * s - _dot(t, t)) * (s * s - _dot(p, p))
    return above / math.sqrt(below) if below else 0.0


def multi_label_scores(labels: Any, predictions: Any, average: str = "micro") -> Scores:
    """Scores of examples that have any number of the C classes: (n, C) of 0 and 1, of labels and of predictions.

    >>> multi_label_scores([[1, 1, 0], [0, 1, 0]], [[1, 0, 0], [0, 1, 1]]).f1 == 2 / 3
    True
    """
    labels, predictions = _indicators("labels", labels), _indicators("predictions", predictions)
    if labels.shape != predictions.shape:
        raise InputError(f"predictions: expected shape {labels.shape} as the labels, got {predictions.shape}")
    return averaged((labels & predictions).sum(0), predictions.sum(0), labels.sum(0), average)


def _classes(labels: Any, predictions: Any) -> tuple[Array, Array]:
    labels, predictions = (
        vector(name, values, "biuU", "integers or texts")
        for name, values in (("labels", labels), ("predictions", predictions))
    )
    same_length(labels, predictions)
    if (labels.dtype.kind == "U") != (predictions.dtype.kind == "U"):
        raise InputError(f"predictions: expected {labels.dtype} as the labels, got {predictions.dtype}")
    return labels, predictions


def _confusion(labels: Any, predictions: Any) -> tuple[Array, Array]:
    """-> the classes that occur, sorted (C,); and how often class i was taken for class j (C, C)."""
    labels, predictions = _classes(labels, predictions)
    classes, ids = np.unique(np.concatenate([labels, predictions]), return_inverse=True)
    C, n = len(classes), len(labels)
    return classes, np.bincount(ids[:n] * C + ids[n:], minlength=C * C).reshape(C, C)


def _dot(a: list[int], b: list[int]) -> int:
    return sum(x * y for x, y in zip(a, b, strict=True))


def _indicators(name: str, values: Any) -> Array:
    try:
        array = np.asarray(values)
    except ValueError:
        raise InputError(f"{name}: expected shape (n, C), got ragged rows") from None
    if array.ndim != 2 or not array.size:
        raise InputError(f"{name}: expected shape (n, C) with at least one example and class, got {array.shape}")
    if array.dtype.kind not in "biuf" or not np.isin(array, (0, 1)).all():
        raise InputError(f"{name}: expected 0 and 1, got others", "take each class's probability over 0.5 as 1")
    return array.astype(bool)
