"""Dropout (Srivastava et al. 2014) whose mask is a pure function of (key, element index).

    keep[i] = (hash(key, i) >> 8) >= rate·2²⁴        y = x·keep/(1 - rate)

The key is made from the seed and the name of the site (`dropout_key`). Nothing is stored: backward computes the same
mask again. The mask does not depend on the engine, the number of threads or the order of evaluation, and a gradient
check works with dropout on, because the function it differentiates stays the same from one call to the next.

The hash is two rounds of the 32-bit finaliser of MurmurHash3 over the low word of the index, keyed before the first
round and between the two; the high word of the index enters with the second key. 32-bit multiplications are what
vector units have, on CPUs and GPUs alike.
"""

from __future__ import annotations

import hashlib
from typing import Any, NamedTuple

import numpy as np

from .xp import Array, namespace

_WORD = 0xFFFFFFFF


def dropout_key(*parts: int | str) -> int:
    """64-bit key from a seed, a step, the name of a site, ...: the same in every process and on every machine."""
    return int.from_bytes(hashlib.blake2b(repr(parts).encode(), digest_size=8).digest(), "little")


def dropout_keep(xp: Any, size: int, rate: float, key: int, offset: int = 0) -> Array:
    """Boolean (size,): which of the elements offset, offset + 1, ... are kept. xp is numpy or cupy."""
    if offset + size <= 2**32:  # the usual case: the high word is 0, and half the memory does
        h, high = xp.arange(offset, offset + size, dtype=np.uint32), None
    else:
        index = xp.arange(offset, offset + size, dtype=np.uint64)
        h, high = index.astype(np.uint32), (index >> np.uint64(32)).astype(np.uint32)
    h ^= np.uint32(key & _WORD)
    _mix(h)
    h += np.uint32(key >> 32)
    if high is not None:
        h ^= high * np.uint32(0x9E3779B9)
    _mix(h)
    return (h >> np.uint32(8)) >= np.uint32(round(rate * 2**24))


def _mix(h: Array) -> None:
    """MurmurHash3's 32-bit finaliser, in place (Appleby 2011)."""
    h ^= h >> np.uint32(16)
    h *= np.uint32(0x85EBCA6B)
    h ^= h >> np.uint32(13)
    h *= np.uint32(0xC2B2AE35)
    h ^= h >> np.uint32(16)


class DropoutCache(NamedTuple):
    rate: float
    key: int
    offset: int


def dropout(x: Array, rate: float, key: int, offset: int = 0) -> tuple[Array, DropoutCache]:
    """y = x·keep/(1 - rate); with rate 0, x itself.    any shape

    Elements are numbered in C order, starting at `offset`. 0 <= rate < 1. Dividing by 1 - rate at training time keeps
    the expectation, so nothing is done at inference.
    """
    return _apply(x, rate, key, offset), DropoutCache(rate, key, offset)


def dropout_backward(dy: Array, cache: DropoutCache) -> Array:
    """dx = dy·keep/(1 - rate), the mask computed again.    Common mistake: forgetting the scale."""
    return _apply(dy, *cache)


def _apply(x: Array, rate: float, key: int, offset: int) -> Array:
    if rate == 0:
        return x
    keep = dropout_keep(namespace(x), x.size, rate, key, offset).reshape(x.shape)
    return x * keep * (1 / (1 - rate))
