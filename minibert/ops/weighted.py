"""Cross-entropy with class weights and label smoothing: some classes count for more, no label is believed fully.

Definition. Of a row x of C logits with label c, class weights w ≥ 0 and a smoothing 0 ≤ ε ≤ 1:

    tⱼ = wⱼ·((1 - ε)·[j = c] + ε/C)            the target of class j
    ℓ = -Σⱼ tⱼ log softmax(x)ⱼ = T·log Σⱼ exp(xⱼ) - Σⱼ tⱼ xⱼ       T = Σⱼ tⱼ
    loss = Σ ℓ/W                               W = Σ of w at the labels

Both sums run over the labelled rows. W, and not the number of rows, makes the loss an average: where all weights are 2
nothing changes. With w = 1 and ε = 0 it is the plain cross-entropy (chapter losses).

    logits (N, C), labels (N,), class_weights (C,) or None -> loss ()

Weights are for classes that are rare: without smoothing, a weight of 3 is as if each row of the class stood there three
times. Smoothing (Szegedy et al. 2016, §7) takes ε of every label and deals it out to all classes, the label's own among
them. The best logits are then finite.

Derivation.
1. The targets are constants. The first term is T times log Σ exp, whose derivative is softmax; in the second, xⱼ has
   the factor tⱼ:

       ∂ℓ/∂xⱼ = T·softmax(x)ⱼ - tⱼ            dx = T·p - t

   With T = 1 and t = onehot that is p - onehot. Every row still sums to 0, as T·Σ p = T = Σ t.
2. The minimum: dx = 0 where p = t/T. Without weights that is 1 - ε + ε/C for the label and ε/C for the others, and the
   loss left there is the entropy of t.
3. W divides every row, and dloss multiplies it.

In code.

    losses = targets.sum(axis=-1) * lse - (targets * shifted).sum(axis=-1)
    difference = targets.sum(axis=-1, keepdims=True) * probs - targets
    return difference * _scalar(dloss)

By hand. Logits log 1, log 2, log 5 are probabilities 1/8, 1/4, 5/8. Label 1, weights 1, 3, 1, no smoothing: T = W = 3,
so a single row has the plain loss, log 4, and its gradient.

    >>> import math
    >>> import numpy as np
    >>> from minibert.gradcheck import complex_step
    >>> from minibert.ops import weighted_cross_entropy as wce
    >>> from minibert.ops import weighted_cross_entropy_backward as wce_backward
    >>> x, w = np.log(np.array([[1.0, 2.0, 5.0]])), np.array([1.0, 3.0, 1.0])
    >>> loss, cache = wce(x, np.array([1]), w)
    >>> print(f"{loss:.4f} {math.log(4):.4f}")
    1.3863 1.3863
    >>> print(wce_backward(1.0, cache).round(4))
    [[ 0.125 -0.75   0.625]]

Two rows of the same logits, labels 1 and 2, log 4 and log 8/5: the first counts 3 of W = 4.

    >>> two, labels = np.repeat(x, 2, axis=0), np.array([1, 2])
    >>> loss, cache = wce(two, labels, w)
    >>> print(f"{loss:.4f} {(3 * math.log(4) + math.log(8 / 5)) / 4:.4f}")
    1.1572 1.1572
    >>> print(4 * wce_backward(1.0, cache))
    [[ 0.375 -2.25   1.875]
     [ 0.125  0.25  -0.375]]

Smoothing 0.3 of label 1: targets 0.1, 0.8, 0.1, and p minus those; both together have targets 0.1, 2.4, 0.1.

    >>> _, cache = wce(x, np.array([1]), None, 0.3)
    >>> print(wce_backward(1.0, cache).round(4))
    [[ 0.025 -0.55   0.525]]
    >>> _, cache = wce(x, np.array([1]), w, 0.3)
    >>> print((3 * wce_backward(1.0, cache)).round(4))  # 2.6·p - t
    [[ 0.225 -1.75   1.525]]
    >>> at = np.array([[0.0, 1.0, 0.0]])
    >>> slope = complex_step(lambda x: wce(x, np.array([1]), w, 0.3)[0], x, at)
    >>> print(f"{3 * slope:.4f}")
    -1.7500

Often got wrong.
- Dividing by the number of rows, or by the sum of all weights: above by 2 or by 5 instead of 4. A batch of rare
  classes then takes larger steps than one of frequent ones.
- Smoothing inside of W: W counts w at the labels, whatever ε is. PyTorch has it so, and these are its numbers.
- ε/(C - 1) for the other classes and 1 - ε for the label: another definition, found in some papers.
- Comparing the loss with an unsmoothed one. It cannot get below the entropy of its targets, here 0.6390:

    >>> t = np.array([[0.1, 0.8, 0.1]])
    >>> loss, cache = wce(np.log(t), np.array([1]), None, 0.3)
    >>> print(f"{loss:.4f}", abs(wce_backward(1.0, cache)).max() < 1e-15)
    0.6390 True
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from .losses import IGNORE_INDEX, _scalar
from .softmax import softmax
from .xp import Array, namespace, real


class WeightedCrossEntropyCache(NamedTuple):
    logits: Array  # (N, C)
    targets: Array  # (N, C)  t/W on the labelled rows, 0 elsewhere


def weighted_cross_entropy(
    logits: Array,
    labels: Array,
    class_weights: Array | Sequence[float] | None = None,
    label_smoothing: float = 0.0,
    ignore_index: int = IGNORE_INDEX,
) -> tuple[Array, WeightedCrossEntropyCache]:
    """Σ ℓ/Σ w[label] over the labelled rows,  ℓ = -Σⱼ tⱼ log softmax(x)ⱼ,  t = w·((1-ε)·onehot + ε/C).

    logits (N, C), labels (N,) integers, 0 <= label < C or ignore_index; class_weights (C,) numbers of at least 0,
    constants without a gradient, None for ones; label_smoothing ε from 0 to 1 -> loss ()
    The numbers are those of PyTorch's cross_entropy with weight= and label_smoothing=. Where no row has a label whose
    class has a weight, the loss is 0 and so is the gradient; PyTorch returns NaN there.
    Common mistake: dividing by the number of rows.
    """
    xp = namespace(logits)
    dtype, classes = real(logits).dtype, logits.shape[-1]
    weights = xp.ones(classes, dtype) if class_weights is None else xp.asarray(class_weights).astype(dtype)
    valid = labels != ignore_index
    own = (xp.where(valid, labels, -1)[:, None] == xp.arange(classes)).astype(dtype)
    total = (own * weights).sum()
    targets = ((1 - label_smoothing) * own + valid[:, None] * (label_smoothing / classes)).astype(dtype) * weights
    targets = targets / (total + (total == 0)) * (total != 0)  # asking `if total` would wait for a card
    shifted = logits - real(logits).max(axis=-1, keepdims=True)
    lse = xp.log(xp.exp(shifted).sum(axis=-1))
    losses = targets.sum(axis=-1) * lse - (targets * shifted).sum(axis=-1)
    return losses.sum(), WeightedCrossEntropyCache(logits, targets)


def weighted_cross_entropy_backward(dloss: Array | float, cache: WeightedCrossEntropyCache) -> Array:
    """dx = dloss·(T·softmax(x) - t)/W, T = Σ t, on the labelled rows, 0 elsewhere.    -> dlogits (N, C)"""
    logits, targets = cache
    probs, _ = softmax(logits)
    difference = targets.sum(axis=-1, keepdims=True) * probs - targets
    return difference * _scalar(dloss)
