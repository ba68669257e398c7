"""Cross-entropy and the tied decoder, spans, binary cross-entropy, mean squared error.

In the pre-training model `linear_cross_entropy_backward` is the masked LM's and `cross_entropy_backward` that of the
next sentence.
"""

from __future__ import annotations

from .planting import Mutant

LOSSES = (
    Mutant(
        "tied decoder: its gradient dropped", "linear_cross_entropy_backward",
        before="linear_cache, totals)\n",
        after="linear_cache, (0 * totals[0], totals[1]))\n",
        slug="decoder-tied", family="head",
        why="The decoder's weight is the table of words, so its gradient seems to be taken care of there.",
        hint="In how many places is this table used?",
    ),
    Mutant(
        "loss: divided by all rows, not the labelled", "cross_entropy_backward",
        before="* weights",
        after="* (weights > 0) / len(labels)",
        slug="loss-all-rows", family="loss",
        why="The length of the batch is at hand; the number of labels must be counted.",
        hint="Leave one label out: by what is the loss divided now?",
    ),
    Mutant(
        "loss: ignored labels get a gradient", "cross_entropy_backward",
        before="* weights",
        after="* namespace(logits).full_like(weights, weights.max())",
        slug="loss-ignored", family="loss",
        why="Labels of -100 are replaced so that they can be looked up, and count from then on.",
        hint="May a row without a label get a gradient?",
    ),
    Mutant(
        "loss: next sentence forgotten", "cross_entropy_backward",
        before="return difference",
        after="return 0 * difference",
        slug="loss-second", family="loss",
        why="There are two losses, and backward starts from one of them.",
        hint="Which parameters get no gradient at all?",
    ),
    Mutant(
        "loss: softmax without the one-hot", "linear_cross_entropy_backward",
        before="cross_entropy_backward(dloss, cache)",
        after="softmax(cache.logits)[0] * dloss / len(cache.labels)",
        slug="loss-one-hot", family="loss",
        why="The gradient of log Σ exp is the softmax, and the picked logit is forgotten.",
        hint="Sum the gradient of the logits over the classes.",
    ),
    Mutant(
        "loss: not divided by the number of labels", "linear_cross_entropy_backward",
        before="cross_entropy_backward(dloss, cache)",
        after="cross_entropy_backward(dloss * len(cache.labels), cache)",
        slug="loss-sum", family="loss",
        why="softmax - onehot is the gradient of one row, and the mean over rows is forgotten.",
        hint="Does the gradient grow when every label is given twice?",
    ),
    Mutant(
        "loss: minus sign", "linear_cross_entropy_backward",
        before="cross_entropy_backward(dloss, cache)",
        after="cross_entropy_backward(-dloss, cache)",
        slug="loss-sign", family="loss",
        why="target - prediction is what the delta rule adds; a gradient is what is subtracted.",
        hint="Which way is down?",
    ),
    Mutant(
        "span loss: not divided by the labelled", "span_cross_entropy_backward",
        before="dloss / len(rows)",
        after="dloss",
        slug="span-sum", family="loss", needs="question answering",
        why="Each sequence's loss is right by itself, and their mean is forgotten.",
        hint="Does the gradient grow when every question is asked twice?",
    ),
    Mutant(
        "span loss: upstream gradient ignored", "span_cross_entropy_backward",
        before="dloss / len(rows)",
        after="1 / len(rows)",
        slug="span-upstream", family="loss", needs="question answering",
        why="A loss is the last line, so its gradient is taken as 1; here two losses are averaged.",
        hint="What is done with the loss afterwards?",
    ),
    Mutant(
        "span loss: only the first question", "span_cross_entropy_backward",
        before="for start, end, one in rows:",
        after="for start, end, one in rows[:1]:",
        slug="span-first", family="loss", needs="question answering",
        why="It is written and tried with a batch of one.",
        hint="Run two questions at once, and each by itself.",
    ),
    Mutant(
        "binary cross-entropy: σ' too many", "binary_cross_entropy_backward",
        before="return (sigmoid(logits) - targets)",
        after="slope = sigmoid(logits) * (1 - sigmoid(logits)); return ((sigmoid(logits) - targets) * slope)",
        slug="binary-sigmoid", family="loss", needs="multi-label",
        why="The chain rule through σ is applied although the log has cancelled it.",
        hint="What is left of the gradient when the model is sure and wrong?",
    ),
    Mutant(
        "binary cross-entropy: divided by rows", "binary_cross_entropy_backward",
        before="max(logits.size, 1)",
        after="max(len(logits), 1)",
        slug="binary-rows", family="loss", needs="multi-label",
        why="The mean over elements is taken for a mean over rows.",
        hint="How many numbers did forward average?",
    ),
    Mutant(
        "squared error: factor 2 missing", "mean_squared_error_backward",
        before="2 * _scalar(dloss)",
        after="_scalar(dloss)",
        slug="squared-two", family="loss", needs="regression",
        why="Many write the loss with a half in front, so that the 2 cancels; this one has none.",
        hint="d(x²)/dx.",
    ),
    Mutant(
        "squared error: divided by rows", "mean_squared_error_backward",
        before="max(difference.size, 1)",
        after="max(len(difference), 1)",
        slug="squared-rows", family="loss", needs="regression",
        why="The mean over elements is taken for a mean over rows.",
        hint="How many numbers did forward average?",
    ),
)  # fmt: skip
