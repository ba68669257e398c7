"""Texts longer than the model: windows that overlap, and which of them sees a token best."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..ops.xp import Array

__all__ = ["spans_of", "widest"]

Span = tuple[int, int]


def spans_of(size: int, room: int, step: int) -> list[Span]:
    """Windows (start, stop) of up to `room` of `size` tokens, each `step` further, until one has the last token."""
    spans = [(0, min(room, size))]
    while spans[-1][1] < size:
        start = spans[-1][0] + step
        spans.append((start, min(start + room, size)))
    return spans


def widest(spans: Sequence[Span]) -> Array:
    """For each token the window in which it has most context: the smaller of what is left and right of it decides.

    Of equals the longer window, then the first. Google's rule ("max context") with its score: min(left, right) + a
    hundredth of the window's length.
    """
    size = spans[-1][1]
    best = np.full(size, -1.0)
    window = np.zeros(size, np.int64)
    for number, (start, stop) in enumerate(spans):
        left = np.arange(stop - start)
        context = np.minimum(left, left[::-1]) + 0.01 * (stop - start)
        better = context > best[start:stop]
        best[start:stop][better] = context[better]
        window[start:stop][better] = number
    return window
