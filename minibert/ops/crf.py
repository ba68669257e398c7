"""A linear-chain conditional random field: the loss of whole sequences of tags (Lafferty et al. 2001).

Definition. T tokens, C tags. Token t has the score eₜ(j) for tag j, the emissions; A(i, j) is the score of tag j right
after tag i, s(j) that of beginning with j, and f(j) of ending with j. A path of tags y has the score

    score(y) = s(y₁) + Σₜ eₜ(yₜ) + Σₜ A(yₜ₋₁, yₜ) + f(y_T)
    p(y) = exp(score(y))/Z         Z = Σ over all C^T paths of exp(score)
    ℓ = -log p(labels) = log Z - score(labels)

and the loss is the mean of ℓ over the sequences of a packed batch. A sequence of no token has nothing to choose and is
no part of the mean. Every token here has a label; those without one are gathered out before.

    emissions (N, C), transitions (C, C), start (C,), end (C,)
    labels (N,), cu_seqlens (B+1,) -> loss ()

Derivation.
1. Z is a sum of C^T terms, but paths that pass through tag j at token t have a common factor. Let αₜ(j) be the log of
   the sum over the beginnings y₁…yₜ that end in j:

       α₁(j) = s(j) + e₁(j)
       αₜ(j) = eₜ(j) + log Σᵢ exp(αₜ₋₁(i) + A(i, j))
       log Z = log Σⱼ exp(α_T(j) + f(j))

   That is C² work a token. With max for log Σ exp it is the score of the best path (Viterbi).
2. Backward. The derivative of log Σ exp is softmax. In the last line it is the probability of the last tag, and in the
   line before that of the tag i in front of a j:

       p_T = softmax(α_T + f)      wₜ(i, j) = softmaxᵢ(αₜ₋₁(i) + A(i, j))

   By the chain rule dαₜ₋₁(i) = Σⱼ wₜ(i, j) dαₜ(j), and dα_T = p_T; so dαₜ is pₜ, the probability of every tag at t,
   and qₜ that of two tags in a row: forward-backward is backpropagation.

       qₜ(i, j) = wₜ(i, j) pₜ(j)        pₜ₋₁(i) = Σⱼ qₜ(i, j)

3. eₜ adds to αₜ, and A to every sum it stands in; score(labels) counts what the labels use. Expected minus observed:

       deₜ(j) = pₜ(j) - [yₜ = j]      ds = de₁      df = de_T
       dA(i, j) = Σₜ qₜ(i, j) - [yₜ₋₁ = i, yₜ = j]

4. α grows with T, and its digits are lost in the difference log Z - score. So its maximum is taken off at every token
   and kept, in code `shifts`; softmax does not see it, and ℓ is a sum of small differences.

In code. Tokens lie in the order of time, the longest sequence first, so that a step of all sequences is a slice.

    arriving = _log_sum_exp(alphas[before][:, None, :] + transitions.T)
    given, _ = softmax(alphas[before][:, None, :] + transitions.T)
    pairs = given * probs[now][:, :, None]
    probs[before] = pairs.sum(axis=1)

By hand. Two tags, two tokens, all scores logs of whole numbers: e₁ = log (1, 2), e₂ = log (1, 3), and 1 after 0 counts
log 2. The four paths have exp(score) 1, 1·2·3, 2·1, 2·3 = 1, 6, 2, 6, so Z = 15. The labels are the 6 of 0, 1.

    >>> import math
    >>> import numpy as np
    >>> from minibert.gradcheck import complex_step
    >>> from minibert.ops import crf, crf_backward, crf_decode
    >>> from minibert.ops import crf_log_partition, crf_marginals
    >>> e, A = np.log([[[1.0, 2.0], [1.0, 3.0]], [[1.0, 2.0], [1.0, 1.0]]])
    >>> s, f = np.zeros((2, 2))
    >>> y, cu = np.array([0, 1]), np.array([0, 2])
    >>> print(np.exp(crf_log_partition(e, A, s, f, cu)).round(4))
    [15.]
    >>> loss, cache = crf(e, A, s, f, y, cu)
    >>> print(f"{loss:.4f} {math.log(15 / 6):.4f}")
    0.9163 0.9163

Token 1 has tag 0 in 1 + 6 of 15, token 2 in 1 + 2. Expected minus observed, of tags and of pairs:

    >>> print((15 * crf_marginals(e, A, s, f, cu)).round(4).tolist())
    [[7.0, 8.0], [3.0, 12.0]]
    >>> de, dA, ds, df = crf_backward(15.0, cache)
    >>> print(de.round(4).tolist(), ds.round(4), df.round(4))
    [[-8.0, 8.0], [3.0, -3.0]] [-8.  8.] [ 3. -3.]
    >>> print(dA.round(4).tolist())
    [[1.0, -9.0], [2.0, 6.0]]
    >>> v = np.array([[0.0, 1.0], [0.0, 0.0]])
    >>> slope = complex_step(lambda A: crf(e, A, s, f, y, cu)[0], A, v)
    >>> print(f"{15 * slope:.4f}")
    -9.0000

The best path: 0, 1 and 1, 1 both have 6. Of equal ones the last tag is the lowest, then the one before it.

    >>> labels, scores = crf_decode(e, A, s, f, cu)
    >>> print(labels, np.exp(scores).round(4))
    [0 1] [6.]

Often got wrong.
- A(j, i): "from, to" here and in most code, "to, from" in some. The loss still falls, as the two are names of rows.
- The likeliest tag of each token is not the best path. Above they tie; without the 2 in A token 1 prefers 1:

    >>> print(crf_decode(e, 0 * A, s, f, cu)[0])
    [1 1]

- Padding and continuing pieces left in the chain: A then learns what follows "no tag". They are no tokens here.
- Scores of 10000 for the impossible, and exp without the maximum. Sums in logs do not mind:

    >>> print(crf(1e4 * e, -1e4 * A, s, f, np.array([1, 1]), cu)[0])
    0.0
"""

from __future__ import annotations

import itertools
from typing import NamedTuple

import numpy as np

from .losses import _scalar
from .softmax import softmax
from .xp import Array, namespace, real


class InTime(NamedTuple):
    """The tokens of a packed batch in the order of time: every first one, every second one, ..., the longest sequence
    first, so that the sequences that go on are always the first of those before."""

    rows: Array  # (N,)  where each token is in the packed batch
    steps: list[tuple[slice, slice]]  # from the second token on: those of the step, and the ones before them
    firsts: int  # how many sequences there are
    lasts: Array  # (firsts,)  where each sequence ends
    sequences: Array  # (firsts,)  which of the B it is


class CrfCache(NamedTuple):
    alphas: Array  # (N, C), in the order of time, largest 0
    transitions: Array
    end: Array
    labels: Array  # (N,), in the order of time
    time: InTime


def crf(
    emissions: Array, transitions: Array, start: Array, end: Array, labels: Array, cu_seqlens: Array
) -> tuple[Array, CrfCache]:
    """Mean over the sequences that have a token of  log Z - score(labels).

    emissions (N, C), transitions (C, C) from row to column, start and end (C,), labels (N,) integers, 0 <= label < C,
    cu_seqlens (B+1,) -> loss (). With no token at all the loss is 0 and so is the gradient.
    Common mistake: transitions to the row, from the column.
    """
    dtype = namespace(emissions).result_type(emissions, transitions, start, end)
    time = _in_time(emissions, cu_seqlens)
    emissions, labels = emissions[time.rows].astype(dtype), labels[time.rows]
    alphas, shifts = _forward(emissions, transitions, start, time)
    taken = namespace(emissions).take_along_axis(emissions, labels[:, None], axis=-1)[:, 0]
    taken[: time.firsts] += start[labels[: time.firsts]]
    for now, before in time.steps:
        taken[now] += transitions[labels[before], labels[now]]
    ending = _log_sum_exp(alphas[time.lasts] + end) - end[labels[time.lasts]]
    loss = ((shifts - taken).sum() + ending.sum()) / max(time.firsts, 1)
    return loss.astype(dtype), CrfCache(alphas, transitions, end, labels, time)


def crf_backward(dloss: Array | float, cache: CrfCache) -> tuple[Array, Array, Array, Array]:
    """Expected minus observed, times dloss/n.    -> demissions (N, C), dtransitions (C, C), dstart (C,), dend (C,)"""
    alphas, transitions, end, labels, time = cache
    xp = namespace(alphas)
    difference, dtransitions = _expected(alphas, transitions, end, time)
    difference[xp.arange(len(labels)), labels] -= 1
    tags = xp.arange(len(end))
    for now, before in time.steps:
        came, went = labels[before][:, None] == tags, labels[now][:, None] == tags
        dtransitions -= came.T.astype(dtransitions.dtype) @ went.astype(dtransitions.dtype)
    factor = _scalar(dloss) / max(time.firsts, 1)
    difference = difference * factor
    demissions = xp.empty_like(difference)
    demissions[time.rows] = difference
    dstart, dend = difference[: time.firsts].sum(axis=0), difference[time.lasts].sum(axis=0)
    return demissions, dtransitions * factor, dstart, dend


def crf_log_partition(emissions: Array, transitions: Array, start: Array, end: Array, cu_seqlens: Array) -> Array:
    """log Z of every sequence, the log of the sum of exp(score) over all paths; 0 for one of no token.    -> (B,)

    exp(score - log Z) is a path's probability.
    """
    xp = namespace(emissions)
    time = _in_time(emissions, cu_seqlens)
    alphas, shifts = _forward(emissions[time.rows], transitions, start, time)
    packed = xp.empty_like(shifts)
    packed[time.rows] = shifts
    result = xp.zeros(len(cu_seqlens) - 1, xp.result_type(alphas, end))
    result[time.sequences] = _log_sum_exp(alphas[time.lasts] + end)
    for i, (a, b) in enumerate(itertools.pairwise(cu_seqlens.tolist())):
        result[i] += packed[a:b].sum()
    return result


def crf_marginals(emissions: Array, transitions: Array, start: Array, end: Array, cu_seqlens: Array) -> Array:
    """The probability of each tag at each token, over all paths.    -> (N, C), rows that sum to 1"""
    time = _in_time(emissions, cu_seqlens)
    alphas, _ = _forward(emissions[time.rows], transitions, start, time)
    probs, _ = _expected(alphas, transitions, end, time)
    packed = namespace(probs).empty_like(probs)
    packed[time.rows] = probs
    return packed


def crf_decode(
    emissions: Array, transitions: Array, start: Array, end: Array, cu_seqlens: Array
) -> tuple[Array, Array]:
    """The path with the highest score, of every sequence (Viterbi).    -> labels (N,), scores (B,)

    Of paths with equal scores the one whose last tag is the lowest, then the tag before it, and so on. A sequence of no
    token has the score 0.
    """
    xp = namespace(emissions)
    time = _in_time(emissions, cu_seqlens)
    best = emissions[time.rows]  # of the paths that end in each tag
    came = xp.zeros(best.shape, np.int64)  # from which tag
    best[: time.firsts] += start
    for now, before in time.steps:
        arriving = best[before][:, None, :] + transitions.T
        came[now] = arriving.argmax(axis=-1)
        best[now] += arriving.max(axis=-1)
    ending = best[time.lasts] + end
    scores = xp.zeros(len(cu_seqlens) - 1, emissions.dtype)
    scores[time.sequences] = ending.max(axis=-1)
    labels = xp.zeros(len(best), np.int64)
    labels[time.lasts] = ending.argmax(axis=-1)
    for now, before in reversed(time.steps):
        labels[before] = xp.take_along_axis(came[now], labels[now][:, None], axis=-1)[:, 0]
    packed = xp.empty_like(labels)
    packed[time.rows] = labels
    return packed, scores


def _in_time(emissions: Array, cu_seqlens: Array) -> InTime:
    """The order of time of a packed batch."""
    xp = namespace(emissions)
    starts = np.array(cu_seqlens.tolist())
    lengths = np.diff(starts)
    sequences = np.argsort(-lengths, kind="stable")
    sequences = sequences[lengths[sequences] > 0]
    going = [int((lengths > t).sum()) for t in range(lengths.max(initial=0))]  # sequences that have a token t
    offsets = [0, *itertools.accumulate(going)]
    rows = [starts[sequences[:n]] + t for t, n in enumerate(going)]
    steps = [(slice(a, a + n), slice(b, b + n)) for a, b, n in zip(offsets[1:], offsets, going[1:], strict=False)]
    lasts = np.array(offsets)[lengths[sequences] - 1] + np.arange(len(sequences))
    return InTime(
        xp.asarray(np.concatenate([np.zeros(0, np.int64), *rows])),
        steps,
        len(sequences),
        xp.asarray(lasts),
        xp.asarray(sequences),
    )


def _log_sum_exp(x: Array) -> Array:
    """log Σ exp over the last axis, from the largest on: it neither overflows nor takes the log of 0."""
    xp = namespace(x)
    largest = real(x).max(axis=-1, keepdims=True)
    return xp.log(xp.exp(x - largest).sum(axis=-1)) + largest[..., 0]


def _forward(emissions: Array, transitions: Array, start: Array, time: InTime) -> tuple[Array, Array]:
    """α (N, C) less its largest, and what was taken off at each token (N,); emissions in the order of time."""
    alphas = emissions.astype(namespace(emissions).result_type(emissions, transitions, start))  # a copy
    shifts = real(alphas)[:, 0].copy()

    def settle(now: slice) -> None:
        shifts[now] = real(alphas[now]).max(axis=-1)
        alphas[now] -= shifts[now][:, None]

    alphas[: time.firsts] += start
    settle(slice(time.firsts))
    for now, before in time.steps:
        arriving = _log_sum_exp(alphas[before][:, None, :] + transitions.T)
        alphas[now] += arriving
        settle(now)
    return alphas, shifts


def _expected(alphas: Array, transitions: Array, end: Array, time: InTime) -> tuple[Array, Array]:
    """The probability of each tag at each token (N, C), and how often each pair of tags is expected (C, C)."""
    xp = namespace(alphas)
    dtype = xp.result_type(alphas, transitions, end)
    probs, counts = xp.empty(alphas.shape, dtype), xp.zeros(transitions.shape, dtype)
    probs[time.lasts], _ = softmax(alphas[time.lasts] + end)
    for now, before in reversed(time.steps):
        given, _ = softmax(alphas[before][:, None, :] + transitions.T)
        pairs = given * probs[now][:, :, None]
        probs[before] = pairs.sum(axis=1)
        counts += pairs.sum(axis=0).T
    return probs, counts
