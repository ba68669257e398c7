"""Mistakes that people make when they write their first backward passes: what is said is true, and says enough."""

import numpy as np
import pytest

from tests.gradcheck.planted import B, W, X, said, softmax

rng = np.random.default_rng(3)
ROWS, V, P, T = rng.standard_normal((200, 5)), rng.standard_normal(25), 0.1 + np.abs(X), rng.standard_normal(6)
LABELS = np.array([0, 1, 2, 3, 0, 1])


def ridge(w, x):
    return ((x @ w - T) ** 2).sum() + 0.1 * (w * w).sum()


def ridge_backward(penalty):
    return lambda dy, w, x: (dy * (2 * x.T @ (x @ w - T) + penalty * w), dy * 2 * np.outer(x @ w - T, w))


def length(x):
    return np.sqrt((x * x).sum(axis=-1))


def entropy(p):
    return -(p * np.log(p)).sum(axis=-1)


def log_sum_exp(x):
    return np.log(np.exp(x).sum(axis=-1))


def cosine(a, b):
    return (a * b).sum(axis=-1) / (length(a) * length(b))


def cosine_backward(dy, a, b):
    """Without the term through ‖a‖."""
    n, y = length(a) * length(b), cosine(a, b)
    return dy * b / n, dy * (a / n - y * b / (b * b).sum())


def rms(x):
    return x / np.sqrt((x * x).mean(axis=-1, keepdims=True))


def rms_backward(times):
    def backward(dy, x):
        r = 1 / np.sqrt((x * x).mean(axis=-1, keepdims=True))
        return r * dy - times * r**3 * x * (dy * x).mean(axis=-1, keepdims=True)

    return backward


def cross_entropy(x):
    return -np.log(softmax(x)[np.arange(6), LABELS]).mean()


def scale(x, y):
    return x * y


MISTAKES = {
    "ridge without the 2": (ridge, ridge_backward(0.1), [W[0], X], "w", "With 0.1·dy·w added it is the truth:"),
    "ridge without its penalty": (ridge, ridge_backward(0), [W[0], X], "w", "With 0.2·dy·w added it is the truth:"),
    "norm without division": (length, lambda dy, v: dy * v, [V], "x", "= ‖x‖."),
    "norms of rows": (length, lambda dy, x: dy[:, None] * x, [X], "x", "It is the truth times y: this factor is too"),
    "no dy": (length, lambda dy, v: v / length(v), [V], "x", "does not depend on the upstream gradient"),
    "no dy in one term": (lambda x: x**3 + x, lambda dy, x: 3 * x * x * dy + 1, [X], "x", "Has a term no factor dy"),
    "entropy without + 1": (
        entropy, lambda dy, p: -dy[:, None] * np.log(p), [P], "p",
        "With dy taken away it is the truth: a term -dy is missing, or dy is too much.",
    ),
    "entropy of one": (
        entropy, lambda dy, p: -dy * np.log(p), [P[0]], "p", "With dy taken away it is the truth: a term -dy is",
    ),
    "log-sum-exp": (log_sum_exp, lambda dy, x: dy * np.exp(x), [V], "x", "= exp(y), and y is the result."),
    "log-sum-exp of rows": (
        log_sum_exp, lambda dy, x: dy[:, None] * np.exp(x), [X], "x",
        "It is the truth times exp(y): this factor is too many, or 1/exp(y) is missing (y is the result).",
    ),
    "log-sum-exp, one sum": (
        log_sum_exp, lambda dy, x: dy[:, None] * softmax(x.reshape(-1)).reshape(x.shape), [X], "x",
        "Along axis 1 it is the truth times one number, for each row another: ",
    ),
    "RMSNorm without its term": (rms, rms_backward(0), [X], "x", "a multiple of x, and the true gradient is orth"),
    "RMSNorm, sum for mean": (rms, rms_backward(4), [X], "x", "through a norm, x·sum(dy·x) in RMSNorm, unit vectors"),
    "cosine without a norm": (cosine, cosine_backward, [W[0], W[1]], "a", "Along axis 0 the error is a multiple of a,"),
    "mean over the other axis": (
        lambda x: (x * x).mean(axis=0), lambda dy, x: 2 * x * dy / 5, [ROWS], "x",
        "40 = 200/5, and 200 is the length of axis 0 of x, 5 is the length of axis 1 of x.",
    ),
    "a learning rate": (lambda x: x**2, lambda dy, x: 0.02 * x * dy, [X], "x", "a factor 100 missing, or 1/100 too"),
    "2/n of a variance": (
        lambda x: ((x - x.mean()) ** 2).mean(), lambda dy, x: dy * (x - x.mean()), [V], "x", "; 12.5 = 25/2.",
    ),
    "difference, exchanged": (
        lambda a, b: a - b + 0 * b**2, lambda dy, a, b: (-dy, -dy), [X, X + 1], "a",
        "wrong sign, everywhere: a minus is missing, or one too many. It is the gradient of b, too.",
    ),
    "cross-entropy, labels": (
        cross_entropy, lambda dy, x: dy * softmax(x) / 6, [X], "x",
        "With 0.166667·dy taken away where it is wrong it is the truth:",
    ),
    "cross-entropy, mean": (
        cross_entropy, lambda dy, x: dy * (softmax(x) - np.eye(4)[LABELS]), [X], "x", "6 is the length of axis 0 of x.",
    ),
    "tan, without the 1": (lambda x: np.tan(x), lambda dy, x: dy * np.tan(x) ** 2, [X], "x", "With dy added it is"),
    "decay": (
        lambda w: np.sin(w).sum() + 0.5 * (w * w).sum(), lambda dy, w: dy * np.cos(w), [X], "w", "With dy·w added it",
    ),
    "x / sum(x)": (
        lambda x: x / x.sum(axis=-1, keepdims=True), lambda dy, x: dy / x.sum(axis=-1, keepdims=True), [P], "x",
        "of 4 entries, as if a term with a sum over axis 1 were missing, or one too many.",
    ),
    "an argument called y": (
        scale, lambda dy, x, y: (dy, dy * x), [X, P], "x", "Multiplied by y it is the truth: this factor is missing",
    ),
    "a transposed weight": (lambda x: x @ W.T, lambda dy, x: dy @ W.T, [X], "x", "it is not explained."),
    "= for +=": (
        lambda x, w: x @ w.T, lambda dy, x, w: (dy @ w, np.outer(dy[5], x[5])), [X, W], "w",
        "lacks rows 0, 1, 2, 3 and 1 more, all but row 5, as if = stood where += should.",
    ),
    "no sum over broadcast rows": (lambda x, b: x + b, lambda dy, x, b: (dy, dy), [X, B], "b", "It is not summed over"),
    "a wrong sum over broadcast rows": (
        lambda x, b: x + b, lambda dy, x, b: (dy, 3 * dy), [X, B], "b",
        "Summed over axis 0 it has the shape of the argument. But that is not the truth either.",
    ),
}  # fmt: skip


@pytest.mark.parametrize("mistake", MISTAKES)
def test_what_is_said_of_a_newcomers_mistake(mistake):
    f, backward, args, name, words = MISTAKES[mistake]
    explained = said(f, backward, args, name)
    assert words in explained
    assert ("RMSNorm" in explained) == (f in (rms, cosine))  # causes are named only where they can be
    assert "softmax" not in explained
    assert "variance" not in explained
