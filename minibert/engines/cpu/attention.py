"""Attention on packed sequences, its scores never stored; `minibert.ops.attention` has the mathematics.

Of each row of probabilities forward keeps the largest score and the inverse of the sum under the fraction. Backward
makes the row again from them and from queries and keys, by the same products in the same order, and so to the last
bit. What exists of the scores at any time is, for each thread, a block of at most 256 queries by all keys. Nor is the
mask of dropout kept: it is a function of the element's number.

Backward needs δ = Σ dprobs·probs over the keys. With dprobs = drop(do vᵀ) it is do·(drop(probs) v) = Σ do·context,
a sum over the numbers of one head.

A unit of work is one head of one sequence. Whoever computes it does it alone and in the same way, so results do not
depend on the number of threads.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from ...ops.xp import Array
from . import blas, counters, threads
from .attention_kernels import BLOCK, ROUND, all_probs, backward_units, forward_units
from .dropout import mask
from .memory import empty

_LEAST = 4_000_000
"""Multiplications worth a thread of their own: some 100 µs."""


class AttentionCache(NamedTuple):
    qkv: Array  # (N, 3H)
    context: Array  # (N, H)
    peaks: Array  # (A, N), the largest score of each row
    inverses: Array  # (A, N), 1/Σ exp(score - peak)
    cu_seqlens: Array  # (B+1,), int64
    causal: bool
    dropout_rate: float
    dropout_key: int


def attention(
    qkv: Array,
    cu_seqlens: Array,
    num_heads: int,
    causal: bool = False,
    dropout_rate: float = 0.0,
    dropout_key: int = 0,
) -> tuple[Array, AttentionCache]:
    """context = drop(softmax(q kᵀ/√D)) v of every sequence and head.    qkv (N, 3H), cu_seqlens (B+1,) -> (N, H)"""
    tokens = len(qkv)
    cache = AttentionCache(
        np.ascontiguousarray(qkv),
        empty((tokens, qkv.shape[1] // 3)),
        empty((num_heads, tokens)),
        empty((num_heads, tokens)),
        np.array(cu_seqlens, np.int64),
        bool(causal),
        dropout_rate,
        dropout_key,
    )

    def part(counts: Array, own: int, *batch: Any) -> None:
        forward_units(blas.address(), counts, own, *batch, cache.context, cache.peaks, cache.inverses)

    _share(cache, 2, part)
    return cache.context, cache


def attention_backward(dcontext: Array, cache: AttentionCache) -> Array:
    """dv = Pᵀ do    dP = do vᵀ    dscores = probs·(drop(dP) - δ)    dq = dscores k/√D    dk = dscoresᵀ q/√D

    dcontext (N, H) -> dqkv (N, 3H).    P = drop(probs)
    """
    dcontext, dqkv = np.ascontiguousarray(dcontext), empty(cache.qkv.shape)

    def part(counts: Array, own: int, *batch: Any) -> None:
        kept = (cache.context, cache.peaks, cache.inverses)
        backward_units(blas.address(), counts, own, *batch, *kept, _scratch(cache), dcontext, dqkv)

    _share(cache, 5, part)
    return dqkv


def attention_probs(cache: AttentionCache) -> list[Array]:
    """What the model attended to: one (A, T, T) array a sequence, rows summing to 1, before dropout."""
    result = []
    for start, end in itertools.pairwise(cache.cu_seqlens.tolist()):
        if end > start:
            probs = empty((len(cache.peaks), end - start, end - start))
            with threads.held():
                all_probs(blas.address(), start, cache.qkv, cache.causal, cache.peaks, cache.inverses, probs)
            result.append(probs)
    return result


def _share(cache: AttentionCache, products: int, part: Callable[..., object]) -> None:
    """part(counts, own, the batch as kernels take it) in each thread; they share the units.

    BLAS is held even if the calling thread does it all: it would wake its own threads for every product of a head.
    """
    heads, width = len(cache.peaks), cache.context.shape[1] // len(cache.peaks)
    lengths = np.diff(cache.cu_seqlens)
    work = heads * products * int((lengths * (lengths + 16)).sum()) * (width + 16)  # 16: what is not products
    if not work:
        return
    cu_seqlens, before = score_counts(cache.cu_seqlens, heads)
    dropout = mask(cache.dropout_rate, cache.dropout_key)
    number = threads.number(work, _LEAST)
    counts = counters.counters(number)

    def task(own: int) -> None:
        part(counts, own, cache.qkv, cu_seqlens, before, cache.causal, dropout, _scratch(cache))

    with threads.held():
        threads.share([functools.partial(task, own) for own in range(number)])


def score_counts(cu_seqlens: Array, heads: int) -> tuple[Array, Array]:
    """cu_seqlens as kernels take it, and how many scores earlier sequences have: that numbers them for dropout."""
    cu_seqlens = np.asarray(cu_seqlens, np.int64)
    before = np.zeros(len(cu_seqlens), np.int64)
    np.cumsum(heads * np.diff(cu_seqlens) ** 2, out=before[1:])
    return cu_seqlens, before


def scratch_size(cu_seqlens: Array) -> int:
    """Of the largest block of scores, its rows rounded up."""
    longest = int(np.diff(cu_seqlens).max())
    return min(longest, BLOCK) * (longest + ROUND - 1)


def _scratch(cache: AttentionCache) -> Array:
    return empty((scratch_size(cache.cu_seqlens),))
