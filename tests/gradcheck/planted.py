"""Plainly written operators to plant bugs in, and what is said of a bug."""

import numpy as np

from minibert.gradcheck import check

rng = np.random.default_rng(0)
X, W, B = rng.standard_normal((6, 4)), rng.standard_normal((4, 4)), rng.standard_normal(4)
GAMMA = rng.standard_normal(4)


def said(f, backward, args, name, **options):
    """The explanation of the row of that name, on one line; all other rows must pass."""
    report = check(f, backward, args, **options)
    assert [row.name for row in report.rows if not row.ok] == [name], f"\n{report}"
    row = next(row for row in report.rows if row.name == name)
    assert all(len(line) <= 80 for line in str(report).splitlines())
    return " ".join(row.explanation.split())


def linear(x, weight, bias):
    return x @ weight.T + bias


def linear_backward(dy, x, weight, bias):
    return dy @ weight, dy.T @ x, dy.sum(axis=0)


def wrong_linear(**changed):
    """linear's backward with some of its gradients replaced by functions of (dy, x, weight)."""

    def backward(dy, x, weight, bias):
        right = dict(zip(("x", "weight", "bias"), linear_backward(dy, x, weight, bias), strict=True))
        return tuple(changed[name](dy, x, weight) if name in changed else g for name, g in right.items())

    return backward


def layer_norm(x, gamma):
    centred = x - x.mean(axis=-1, keepdims=True)
    return gamma * centred / np.sqrt((centred * centred).mean(axis=-1, keepdims=True) + 1e-5)


def layer_norm_backward(mean=1, variance=1):
    """The backward pass of layer_norm with factors of its two terms."""

    def backward(dy, x, gamma):
        centred = x - x.mean(axis=-1, keepdims=True)
        rstd = 1 / np.sqrt((centred * centred).mean(axis=-1, keepdims=True) + 1e-5)
        xhat, dxhat = centred * rstd, dy * gamma
        through_mean = dxhat.mean(axis=-1, keepdims=True)
        through_variance = xhat * (dxhat * xhat).mean(axis=-1, keepdims=True)
        return rstd * (dxhat - mean * through_mean - variance * through_variance), (dy * xhat).sum(axis=0)

    return backward


def softmax(x):
    e = np.exp(x)
    return e / e.sum(axis=-1, keepdims=True)


def cube(x):
    return x**3
