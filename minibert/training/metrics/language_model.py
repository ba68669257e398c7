"""Scores of pre-training. Batches are added up as sums and divided once: a mean of means would weight them wrongly."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from ...errors import InputError
from ...ops.losses import IGNORE_INDEX
from .scores import Array

__all__ = ["MaskedScores", "masked_correct", "masked_scores", "next_sentence_accuracy"]


class MaskedScores(NamedTuple):
    """loss is the mean over hidden tokens, perplexity = exp(loss); inf where float64 cannot hold it."""

    loss: float
    perplexity: float
    accuracy: float


def masked_correct(labels: Any, predictions: Any) -> tuple[int, int]:
    """Ids of any one shape -> how many predictions are right, and out of how many: labels that are not IGNORE_INDEX.

    >>> masked_correct([[-100, 7, 8]], [[5, 7, 9]])
    (1, 2)
    """
    labels, predictions = np.asarray(labels), np.asarray(predictions)
    if labels.shape != predictions.shape:
        raise InputError(f"predictions: expected shape {labels.shape} as the labels, got {predictions.shape}")
    counted: Array = labels != IGNORE_INDEX
    return int(np.sum((labels == predictions) & counted)), int(np.sum(counted))


def masked_scores(loss: float, correct: int, count: int) -> MaskedScores:
    """Sums over all batches: of the tokens' losses, of right predictions, of hidden tokens -> their scores.

    >>> masked_scores(loss=4 * math.log(50), correct=1, count=4).accuracy
    0.25
    """
    if count < 1 or not 0 <= correct <= count:
        raise InputError(f"expected 0 <= correct <= count and a count of at least 1, got {correct} and {count}")
    mean = loss / count
    try:
        perplexity = math.exp(mean)
    except OverflowError:
        perplexity = math.inf
    return MaskedScores(mean, perplexity, correct / count)


def next_sentence_accuracy(labels: Any, predictions: Any) -> float:
    """Share of the pairs judged rightly; those labelled IGNORE_INDEX do not count.

    >>> next_sentence_accuracy([0, 1, -100, 1], [0, 1, 1, 0]) == 2 / 3
    True
    """
    correct, count = masked_correct(labels, predictions)
    if not count:
        raise InputError("labels: expected at least one pair with a label, got none")
    return correct / count
