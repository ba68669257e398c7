"""The kernels of attention, over units: unit s·A + a is head a of sequence s.

A sentence has twenty tokens or so, and of a loop with twenty steps a compiler makes mostly the scalar rest of a vector
loop. So the rows of a block of scores lie a multiple of 32 apart, and loops run over that; what is beyond the keys is
-inf or of no interest, and products do not see it.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ...ops.xp import Array
from .blas import sgemm
from .compile import helper, kernel
from .counters import finish, take, wait
from .dropout import Mask, _mix
from .vector_math import exp32

BLOCK = 256
"""Query rows of one block. Of 512 tokens 256 are faster than 128, since products of more rows are."""

ROUND = 32
"""Rows of scores are this many numbers long, or a multiple: four vectors, the step of an unrolled loop."""

_ZERO, _ONE, _NEVER = np.float32(0), np.float32(1), np.float32(-np.inf)
_NEXT = np.uint32(1)
_KEYED = np.uint32(0x9E3779B9)
_SIGN, _REST, _LEAST_KEY = np.int32(31), np.int32(0x7FFFFFFF), np.int32(-2139095041)


@helper
def _key(bits: Any) -> Any:
    """Its own inverse: bits of floats to integers in the same order."""
    return np.int32(bits ^ np.int32(np.int32(bits >> _SIGN) & _REST))


@helper
def _factor(index: Any, high: Any, mask: Mask) -> Any:
    """What dropout multiplies element high·2³² + index by."""
    h = np.uint32(_mix(np.uint32(index ^ mask.key_low)) + mask.key_high)
    h = _mix(np.uint32(h ^ np.uint32(high * _KEYED)))
    return mask.scale if np.uint32(h >> np.uint32(8)) >= mask.threshold else _ZERO


@helper
def _hide(scores: Array, keys: int, top: int, causal: bool) -> None:
    """-inf beyond the keys and, where causal, beyond each row's own token; rows count from token `top`."""
    for i in range(scores.shape[0]):
        for j in range(top + i + 1 if causal else keys, scores.shape[1]):
            scores[i, j] = _NEVER


@helper
def _exponentials(scores: Array, bits: Array, peak: Array, inverse: Array) -> None:
    """score -> exp(score - peak) in place; peak (R,) the largest of each row, inverse (R,) = 1/Σ.    scores (R, ·)

    bits: the same memory as int32; a maximum of floats would not be vectorised.
    """
    for i in range(scores.shape[0]):
        row, row_bits = scores[i], bits[i]
        largest = _LEAST_KEY  # of -inf
        for j in range(row_bits.size):
            key = _key(row_bits[j])
            largest = key if key > largest else largest
        top = np.int32(_key(largest)).view(np.float32)
        total = _ZERO
        for j in range(row.size):
            y = exp32(row[j] - top)
            total += y
            row[j] = y
        peak[i] = top
        inverse[i] = _ONE / total


@helper
def _probs(scores: Array, peak: Array, inverse: Array) -> None:
    """score -> exp(score - peak)·inverse in place."""
    for i in range(scores.shape[0]):
        row, top, factor = scores[i], peak[i], inverse[i]
        for j in range(row.size):
            row[j] = exp32(row[j] - top) * factor


@helper
def _drop(x: Array, keys: int, number: int, length: int, mask: Mask) -> None:
    """x·keep/(1 - rate) in place; the first element has that number, and rows are `length` numbers apart."""
    for i in range(x.shape[0]):
        done, first = 0, number + i * length
        while done < keys:  # once, but where the high word changes within the row
            index, high = np.uint32(first + done), np.uint32((first + done) >> 32)
            some = x[i, done : min(x.shape[1], done + 2**32 - int(index))]
            for j in range(some.size):
                some[j] *= _factor(index, high, mask)
                index = np.uint32(index + _NEXT)  # a running index stays 32 bits wide; a converted one would not
            done += some.size


@helper
def _dscores(
    probs: Array, dprobs: Array, do: Array, context: Array, keys: int, number: int, length: int, mask: Mask
) -> None:
    """dprobs -> dscores = probs·(drop(dprobs) - δ) and probs -> drop(probs), both in place."""
    for i in range(probs.shape[0]):
        delta = _ZERO
        for d in range(do.shape[1]):
            delta += do[i, d] * context[i, d]
        p, dp = probs[i], dprobs[i]
        if mask.threshold == 0:
            for j in range(p.size):
                dp[j] = p[j] * (dp[j] - delta)
            continue
        done, first = 0, number + i * length
        while done < keys:
            index, high = np.uint32(first + done), np.uint32((first + done) >> 32)
            until = min(p.size, done + 2**32 - int(index))
            some, dsome = p[done:until], dp[done:until]
            for j in range(some.size):
                factor = _factor(index, high, mask)
                index = np.uint32(index + _NEXT)
                dsome[j] = some[j] * (dsome[j] * factor - delta)
                some[j] *= factor
            done = until


@helper
def _head(x: Array, start: int, stop: int, part: int, a: int, heads: int, parts: int) -> Array:
    """Rows start to stop of head a in part 0, 1, ... of x (N, parts·H), a view."""
    width = x.shape[1] // (parts * heads)
    first = (part * heads + a) * width
    return x[start:stop, first : first + width]


@helper
def _scale(qkv: Array, heads: int) -> np.float32:
    return np.float32(_ONE / np.sqrt(np.float32(qkv.shape[1] // (3 * heads))))


@helper
def _pitch(keys: int) -> int:
    return (keys + ROUND - 1) // ROUND * ROUND


@kernel
def forward_units(
    blas: int,
    counts: Array,
    own: int,
    qkv: Array,
    cu_seqlens: Array,
    before: Array,
    causal: bool,
    mask: Mask,
    scratch: Array,
    context: Array,
    peaks: Array,
    inverses: Array,
) -> None:
    """context of the units that others have not taken, and of each of their rows what backward needs: peaks,
    inverses (A, N)."""
    heads = peaks.shape[0]
    units = heads * (cu_seqlens.size - 1)
    scratch_bits = scratch.view(np.int32)
    unit = take(counts, own, units)
    while unit >= 0:
        s, a = unit // heads, unit % heads
        start, stop = cu_seqlens[s], cu_seqlens[s + 1]
        length = stop - start
        for top in range(start, stop, BLOCK):
            bottom = min(top + BLOCK, stop)
            end = bottom if causal else stop
            rows, keys, pitch = bottom - top, end - start, _pitch(end - start)
            scores = scratch[: rows * pitch].reshape(rows, pitch)
            bits = scratch_bits[: rows * pitch].reshape(rows, pitch)
            inverse = inverses[a, top:bottom]
            out = _head(context, top, bottom, 0, a, heads, 1)

            q = _head(qkv, top, bottom, 0, a, heads, 3)
            k = _head(qkv, start, end, 1, a, heads, 3)
            v = _head(qkv, start, end, 2, a, heads, 3)
            sgemm(blas, _scale(qkv, heads), q, k.T, _ZERO, scores[:, :keys])
            _hide(scores, keys, top - start, causal)
            _exponentials(scores, bits, peaks[a, top:bottom], inverse)
            if mask.threshold > 0:
                _drop(scores, keys, before[s] + (a * length + top - start) * length, length, mask)
            sgemm(blas, _ONE, scores[:, :keys], v, _ZERO, out)
            for i in range(rows):  # here, and not of the scores: these are fewer
                for d in range(out.shape[1]):
                    out[i, d] *= inverse[i]
        finish(counts, 1)
        unit = take(counts, own, units)
    wait(counts, units)


@kernel
def backward_units(
    blas: int,
    counts: Array,
    own: int,
    qkv: Array,
    cu_seqlens: Array,
    before: Array,
    causal: bool,
    mask: Mask,
    scratch: Array,
    context: Array,
    peaks: Array,
    inverses: Array,
    dscratch: Array,
    dcontext: Array,
    dqkv: Array,
) -> None:
    """dqkv of the units that others have not taken. The last block of queries comes first: it sees all keys, causal or
    not, and sets their gradients, to which the other blocks add."""
    heads = peaks.shape[0]
    units = heads * (cu_seqlens.size - 1)
    scale = _scale(qkv, heads)
    unit = take(counts, own, units)
    while unit >= 0:
        s, a = unit // heads, unit % heads
        start, stop = cu_seqlens[s], cu_seqlens[s + 1]
        length = stop - start
        for back in range((length - 1) // BLOCK, -1, -1):
            top = start + back * BLOCK
            bottom = min(top + BLOCK, stop)
            end = bottom if causal else stop
            rows, keys, pitch = bottom - top, end - start, _pitch(end - start)
            probs = scratch[: rows * pitch].reshape(rows, pitch)
            dprobs = dscratch[: rows * pitch].reshape(rows, pitch)
            others = _ZERO if bottom == stop else _ONE

            q = _head(qkv, top, bottom, 0, a, heads, 3)
            k = _head(qkv, start, end, 1, a, heads, 3)
            v = _head(qkv, start, end, 2, a, heads, 3)
            do = _head(dcontext, top, bottom, 0, a, heads, 1)
            sgemm(blas, scale, q, k.T, _ZERO, probs[:, :keys])
            _hide(probs, keys, top - start, causal)
            _probs(probs, peaks[a, top:bottom], inverses[a, top:bottom])
            sgemm(blas, _ONE, do, v.T, _ZERO, dprobs[:, :keys])
            number = before[s] + (a * length + top - start) * length
            _dscores(probs, dprobs, do, _head(context, top, bottom, 0, a, heads, 1), keys, number, length, mask)
            sgemm(blas, _ONE, probs[:, :keys].T, do, others, _head(dqkv, start, end, 2, a, heads, 3))
            dscores = dprobs[:, :keys]
            sgemm(blas, scale, dscores, k, _ZERO, _head(dqkv, top, bottom, 0, a, heads, 3))
            sgemm(blas, scale, dscores.T, q, others, _head(dqkv, start, end, 1, a, heads, 3))
        finish(counts, 1)
        unit = take(counts, own, units)
    wait(counts, units)


@kernel
def all_probs(blas: int, start: int, qkv: Array, causal: bool, peaks: Array, inverses: Array, probs: Array) -> None:
    """probs (A, T, T) of the sequence that begins at token `start`."""
    heads, length = probs.shape[:2]
    for a in range(heads):
        for top in range(0, length, BLOCK):
            bottom = min(top + BLOCK, length)
            keys = bottom if causal else length
            q = _head(qkv, start + top, start + bottom, 0, a, heads, 3)
            k = _head(qkv, start, start + keys, 1, a, heads, 3)
            rows = probs[a, top:bottom]
            sgemm(blas, _scale(qkv, heads), q, k.T, _ZERO, rows[:, :keys])
            _hide(rows, keys, top, causal)
            _probs(rows, peaks[a, start + top : start + bottom], inverses[a, start + top : start + bottom])
