"""The losses: cross-entropy, over classes and over positions; binary cross-entropy; mean squared error.

Definition. Of one row x of C logits with label c; of one logit x with target z; of one number x with target z:

    cross-entropy     ℓ = -log softmax(x)_c = log Σⱼ exp(xⱼ) - x_c
    binary            ℓ = -z log σ(x) - (1-z) log(1-σ(x))
    squared error     ℓ = (x - z)²

Each takes logits, never probabilities: log Σ exp of shifted logits neither overflows nor loses the small ones. Each
returns the mean as a scalar of the logits' dtype, and its backward takes dloss, the gradient of whatever was computed
from that scalar (1 for the loss itself). Rows labelled -100 are no part of the mean. Which tokens BERT masks, and how
many, is a matter of training; a loss sees labels.

Derivation.
1. Cross-entropy: the log's derivative is 1/Σ exp, the inner one exp(xⱼ), together softmax; x_c contributes -1 at c:

       ∂ℓ/∂xⱼ = softmax(x)ⱼ - [j = c]             dx = p - onehot(c)

   Every row of the gradient sums to 0.
2. Binary: log σ(x) = x - s and log(1-σ(x)) = -s with s = log(1 + exp(x)), so ℓ = s - x·z. Since s' = σ,

       ∂ℓ/∂x = σ(x) - z

   In code s = max(x, 0) + log(1 + exp(-|x|)), which never takes the log of 0.
3. Squared error: ∂ℓ/∂x = 2(x - z).
4. The mean over n divides every gradient by n, and dloss multiplies it: the chain rule's first factor.

In code.

    difference[namespace(logits).arange(len(labels)), labels] -= 1
    return difference * (_scalar(dloss) * weights)[:, None]
    return difference * (2 * _scalar(dloss) / max(difference.size, 1))

By hand. Logits log 1, log 2, log 5 are probabilities 1/8, 1/4, 5/8. With label 1 the loss is log 4, and the gradient p
with 1 taken off at the label. The second row is not labelled; n = 1.

    >>> import math
    >>> import numpy as np
    >>> from minibert.gradcheck import complex_step
    >>> from minibert.ops import cross_entropy, cross_entropy_backward
    >>> x = np.log(np.array([[1.0, 2.0, 5.0], [1.0, 1.0, 1.0]]))
    >>> labels = np.array([1, -100])
    >>> loss, cache = cross_entropy(x, labels)
    >>> print(f"{loss:.4f} {math.log(4):.4f}")
    1.3863 1.3863
    >>> dx = cross_entropy_backward(1.0, cache)
    >>> print(dx[0].round(4), dx[1].any())
    [ 0.125 -0.75   0.625] False
    >>> at = np.array([[0.0, 1.0, 0.0], [0.0, 0.0, 0.0]])
    >>> slope = complex_step(lambda x: cross_entropy(x, labels)[0], x, at)
    >>> print(f"{slope:.4f}")
    -0.7500

One step further back, through the linear layer that made the logits (here from 3 features by the identity):

    >>> from minibert.ops import linear, linear_cross_entropy_backward
    >>> logits, before = linear(x, np.eye(3), np.zeros(3))
    >>> _, cache = cross_entropy(logits, labels)
    >>> dx, dweight, dbias = linear_cross_entropy_backward(1.0, cache, before)
    >>> print(dbias.round(4))
    [ 0.125 -0.75   0.625]

Over positions: tokens 0 to 2 are one sequence, its answer starts at 1; token 3 alone has nothing to choose, loss 0.
n = 2.

    >>> from minibert.ops import span_cross_entropy, span_cross_entropy_backward
    >>> scores, starts = np.append(x[0], 7.0), np.array([1, 0])
    >>> loss, cache = span_cross_entropy(scores, starts, np.array([0, 3, 4]))
    >>> print(f"{loss:.4f}", span_cross_entropy_backward(2.0, cache).round(4))
    0.6931 [ 0.125 -0.75   0.625  0.   ]

σ(log 3) = 3/4: with z = 1 the loss is log 4/3 and the slope -1/4. Errors of 3 and 4 have the mean square 25/2.

    >>> from minibert.ops import binary_cross_entropy as bce
    >>> from minibert.ops import binary_cross_entropy_backward as bce_backward
    >>> loss, cache = bce(np.log(np.array([3.0])), np.array([1.0]))
    >>> print(f"{loss:.4f}", bce_backward(1.0, cache).round(4))
    0.2877 [-0.25]
    >>> from minibert.ops import mean_squared_error as mse
    >>> from minibert.ops import mean_squared_error_backward as mse_backward
    >>> loss, cache = mse(np.array([3.0, 5.0]), np.array([0.0, 1.0]))
    >>> print(loss, mse_backward(1.0, cache))
    12.5 [3. 4.]

Often got wrong.
- Dividing by N instead of by the labelled rows: everything above would be halved. The complex step sees it where the
  forward is right.
- p without the one-hot. Rows then sum to 1, not 0, which the identity "logit shift" sees.
- log of softmax: a probability too small for the dtype is 0, its log -inf, and the gradient NaN. From logits it is the
  difference itself:

    >>> loss, _ = cross_entropy(np.array([[0.0, 1000.0]]), np.array([0]))
    >>> print(loss)
    1000.0

- A first loss far from log C. Weights that know nothing give all V words the same probability:

    >>> loss, _ = cross_entropy(np.zeros((1, 30522)), np.array([101]))
    >>> print(f"{loss:.2f} {math.log(30522):.2f}")
    10.33 10.33
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from .activations import sigmoid
from .linear import LinearCache, linear_backward
from .softmax import softmax
from .xp import Array, namespace, real

IGNORE_INDEX = -100
"""A label that asks for no loss; the number is PyTorch's."""


class CrossEntropyCache(NamedTuple):
    logits: Array  # (N, C)
    labels: Array  # (N,), 0 where there is none
    weights: Array  # (N,)  1/n on the n labelled rows, 0 elsewhere


def cross_entropy(logits: Array, labels: Array, ignore_index: int = IGNORE_INDEX) -> tuple[Array, CrossEntropyCache]:
    """Mean over the labelled rows of  log Σⱼ exp(xⱼ) - x[label].

    logits (N, C), labels (N,) integers, 0 <= label < C or ignore_index -> loss ()
    With no labelled row the loss is 0 and so is the gradient; PyTorch returns NaN there.
    Common mistake: dividing by N instead of by the number of labelled rows.
    """
    xp = namespace(logits)
    valid = labels != ignore_index
    weights = valid.astype(real(logits).dtype) / _at_least_one(valid.sum(), logits)
    labels = xp.where(valid, labels, 0)
    shifted = logits - real(logits).max(axis=-1, keepdims=True)
    lse = xp.log(xp.exp(shifted).sum(axis=-1))
    picked = xp.take_along_axis(shifted, labels[:, None], axis=-1)[:, 0]
    return ((lse - picked) * weights).sum(), CrossEntropyCache(logits, labels, weights)


def cross_entropy_backward(dloss: Array | float, cache: CrossEntropyCache) -> Array:
    """dx = dloss·(softmax(x) - onehot(label))/n on the n labelled rows, 0 elsewhere.    -> dlogits (N, C)"""
    logits, labels, weights = cache
    difference, _ = softmax(logits)
    difference[namespace(logits).arange(len(labels)), labels] -= 1
    return difference * (_scalar(dloss) * weights)[:, None]


def linear_cross_entropy_backward(
    dloss: Array | float, cache: CrossEntropyCache, linear_cache: LinearCache, totals: Sequence[Array] | None = None
) -> tuple[Array, Array, Array]:
    """Both steps back from the cross-entropy of a linear layer's logits.    -> dx, dweight, dbias

    Of a vocabulary's logits the gradient is the largest array of a training step; an engine need not hold all of it.
    """
    dlogits = cross_entropy_backward(dloss, cache)
    return linear_backward(dlogits, linear_cache, totals)


class SpanCrossEntropyCache(NamedTuple):
    rows: list[tuple[int, int, CrossEntropyCache]]  # start, end and cache of each answered sequence
    logits: Array  # (N,)


def span_cross_entropy(
    logits: Array, answers: Array, cu_seqlens: Array, ignore_index: int = IGNORE_INDEX
) -> tuple[Array, SpanCrossEntropyCache]:
    """Cross-entropy over the positions of each packed sequence: where does the answer start (or end)?

    logits (N,), answers (B,): position within the sequence or ignore_index; cu_seqlens (B+1,) -> loss (), the mean over
    the answered sequences. The softmax runs over the real tokens only, whatever the batch was padded to.
    """
    rows: list[tuple[int, int, CrossEntropyCache]] = []
    total = logits[:0].sum()
    offsets = cu_seqlens.tolist()
    for start, end, answer in zip(offsets, offsets[1:], answers.tolist(), strict=False):
        if answer != ignore_index:
            loss, cache = cross_entropy(logits[None, start:end], namespace(logits).asarray([answer]), ignore_index)
            total = total + loss
            rows.append((start, end, cache))
    return (total / max(len(rows), 1)).astype(logits.dtype), SpanCrossEntropyCache(rows, logits)


def span_cross_entropy_backward(dloss: Array | float, cache: SpanCrossEntropyCache) -> Array:
    """The gradient of each sequence's cross-entropy, divided by the number of answered ones.    -> dlogits (N,)"""
    rows, logits = cache
    dlogits = namespace(logits).zeros_like(logits) * _scalar(dloss)  # of the dtype of the product
    for start, end, one in rows:
        dlogits[start:end] = cross_entropy_backward(dloss / len(rows), one)[0]
    return dlogits


class BinaryCrossEntropyCache(NamedTuple):
    logits: Array
    targets: Array


def binary_cross_entropy(logits: Array, targets: Array) -> tuple[Array, BinaryCrossEntropyCache]:
    """Mean over all elements of  -z log σ(x) - (1-z) log(1-σ(x)) = max(x, 0) - x·z + log(1 + exp(-|x|)).

    logits, targets of one shape; targets in [0, 1], constants without a gradient -> loss (), 0 if there is no element.
    The right side never takes the log of 0.
    """
    xp = namespace(logits)
    negative = real(logits) < 0
    softplus = xp.where(negative, 0, logits) + xp.log1p(xp.exp(xp.where(negative, logits, -logits)))
    loss = (softplus - logits * targets).sum() / max(logits.size, 1)
    return loss.astype(logits.dtype), BinaryCrossEntropyCache(logits, targets)


def binary_cross_entropy_backward(dloss: Array | float, cache: BinaryCrossEntropyCache) -> Array:
    """dx = dloss·(σ(x) - z)/n"""
    logits, targets = cache
    return (sigmoid(logits) - targets).astype(logits.dtype) * (_scalar(dloss) / max(logits.size, 1))


class MeanSquaredErrorCache(NamedTuple):
    difference: Array


def mean_squared_error(x: Array, targets: Array) -> tuple[Array, MeanSquaredErrorCache]:
    """Mean over all elements of (x - z)².

    x, targets of one shape; targets are constants without a gradient -> loss (), 0 if there is no element
    """
    difference = (x - targets).astype(x.dtype)
    loss = (difference * difference).sum() / max(difference.size, 1)
    return loss.astype(x.dtype), MeanSquaredErrorCache(difference)


def mean_squared_error_backward(dloss: Array | float, cache: MeanSquaredErrorCache) -> Array:
    """dx = dloss·2(x - z)/n"""
    difference = cache.difference
    return difference * (2 * _scalar(dloss) / max(difference.size, 1))


def _at_least_one(count: Array, logits: Array) -> Array:
    """A count as a divisor, of the logits' dtype. Python's `max(int(count), 1)` would wait for a card."""
    return namespace(logits).maximum(count, 1).astype(real(logits).dtype)


def _scalar(dloss: Array | float) -> complex | float:
    """dloss as Python's number, which promotes no array: a float64 scalar would turn float32 gradients into float64."""
    number: complex | float = dloss.item() if hasattr(dloss, "item") else dloss  # np.float64 is a float, too
    return number
