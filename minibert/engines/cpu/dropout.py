"""Dropout's mask inside kernels: the hash of minibert.ops.dropout, bit for bit, one element at a time."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from ...ops.dropout import dropout as reference_dropout
from ...ops.xp import Array
from . import memory, threads
from .compile import helper, kernel

MOST = 2**32
"""Elements that kernels can number; from there on the reference does the work."""

_LEAST = 1 << 17  # elements


class DropoutCache(NamedTuple):
    rate: float
    key: int
    offset: int


class Mask(NamedTuple):
    """Rate and key as kernels take them; threshold 0 keeps everything."""

    key_low: Any
    key_high: Any
    threshold: Any
    scale: Any


_NOTHING_DROPPED = Mask(np.uint32(0), np.uint32(0), np.uint32(0), np.float32(1))


def mask(rate: float, key: int) -> Mask:
    """For `factor`, all 32 bits wide."""
    if rate == 0:
        return _NOTHING_DROPPED
    low, high, threshold = key & 0xFFFFFFFF, key >> 32, round(rate * 2**24)
    return Mask(np.uint32(low), np.uint32(high), np.uint32(threshold), np.float32(1 / (1 - rate)))


@helper
def keep(index: Any, key_low: Any, key_high: Any, threshold: Any) -> Any:
    """Whether element `index` is kept; everything is uint32. Numba widens every result, so every result is cut."""
    h = _mix(np.uint32(index ^ key_low))
    h = _mix(np.uint32(h + key_high))
    return np.uint32(h >> np.uint32(8)) >= threshold


@helper
def _mix(h: Any) -> Any:
    """MurmurHash3's 32-bit finaliser."""
    h = np.uint32(h ^ np.uint32(h >> np.uint32(16)))
    h = np.uint32(h * np.uint32(0x85EBCA6B))
    h = np.uint32(h ^ np.uint32(h >> np.uint32(13)))
    h = np.uint32(h * np.uint32(0xC2B2AE35))
    return np.uint32(h ^ np.uint32(h >> np.uint32(16)))


@kernel
def drop(x: Any, first: Any, key_low: Any, key_high: Any, threshold: Any, scale: Any, y: Any) -> None:
    """y = x·keep·scale, elements numbered from `first`.    x (n,), y (n,)"""
    for i in range(x.size):
        kept = keep(np.uint32(first + np.uint32(i)), key_low, key_high, threshold)
        y[i] = x[i] * (scale if kept else np.float32(0))  # a product: NaN stays NaN where it is dropped


def dropout(x: Array, rate: float, key: int, offset: int = 0) -> tuple[Array, DropoutCache]:
    """y = x·keep/(1 - rate); with rate 0, x itself.    any shape"""
    return _apply(x, rate, key, offset), DropoutCache(rate, key, offset)


def dropout_backward(dy: Array, cache: DropoutCache) -> Array:
    """dx = dy·keep/(1 - rate), the mask computed again."""
    return _apply(dy, *cache)


def _apply(x: Array, rate: float, key: int, offset: int) -> Array:
    if rate == 0:
        return x
    if offset + x.size >= MOST:
        return reference_dropout(x, rate, key, offset)[0]
    y = memory.empty(x.shape)
    source, target, numbers = np.ascontiguousarray(x).reshape(-1), y.reshape(-1), mask(rate, key)
    threads.split(
        x.size, _LEAST, lambda a, b: drop(source[a:b], np.uint32(offset + a), *numbers, target[a:b])
    )  # fmt: skip
    return y
