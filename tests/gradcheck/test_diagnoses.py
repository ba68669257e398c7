"""Diagnoses: every one is given the very bug it is for, planted in a plainly written operator."""

import numpy as np
import pytest

from minibert.gradcheck import check
from tests.gradcheck.planted import (
    GAMMA,
    B,
    W,
    X,
    cube,
    layer_norm,
    layer_norm_backward,
    linear,
    said,
    softmax,
    wrong_linear,
)

IDS = np.array([0, 2, 5, 2, 1])


# ---- factors --------------------------------------------------------------------------------------------------------


@pytest.fixture
def rng():
    return np.random.default_rng(10)  # X is drawn with 0


def scores(q, k):
    return q @ k.T / np.sqrt(q.shape[1])


def test_a_missing_root_is_named_by_the_size_it_is_the_root_of(rng):
    q, k = rng.standard_normal((3, 64)), rng.standard_normal((5, 64))
    words = said(scores, lambda dy, q, k: (dy @ k, dy.T @ q / 8), (q, k), "q")
    assert (
        "8 times the truth, everywhere: a factor 8 too many, or 1/8 missing. 8 = √64, and 64 is the length of axis"
        in words
    )


def test_the_size_of_a_head_is_known_from_the_number_of_heads(rng):
    def f(q, k, heads):
        return q @ k.T / np.sqrt(q.shape[1] // heads)

    q, k = rng.standard_normal((3, 42)), rng.standard_normal((5, 42))
    words = said(f, lambda dy, q, k, heads: (dy @ k / np.sqrt(14), dy.T @ q), (q, k, 3), "k")
    assert "3.74166 = √(42/heads), and 42 is the length of axis 1 of q." in words


@pytest.mark.parametrize(
    ("c", "words"),
    [
        (-1, "It is the truth with the wrong sign"),
        (2, "2 times the truth, everywhere: a factor 2 too many, or 1/2 missing."),
        (0.5, "0.5 times the truth, everywhere: a factor 2 missing, or 1/2 too many."),
        (
            24,
            "24 times the truth, everywhere: a factor 24 too many, or 1/24 missing. 24 is the number of entries of x.",
        ),
        (1 / 24, "a factor 24 missing, or 1/24 too many."),
        (
            -6,
            "-6 times the truth, everywhere, and its sign is wrong: a factor 6 too many, or 1/6 missing.",
        ),
        (1.001, "1.001 times the truth, everywhere: one constant factor."),
    ],
)
def test_constant_factors(c, words):
    assert words in said(cube, lambda dy, x: c * 3 * x**2 * dy, (X,), "x")


def test_a_number_among_the_arguments_may_be_the_factor():
    def f(x, rate):
        return x**2 / (1 - rate)

    words = said(f, lambda dy, x, rate: 2 * x * dy, (X, 0.3), "x")
    assert "0.7 times the truth, everywhere; 0.7 = (1-rate)." in words


def test_a_missing_array_is_named():
    def f(x, gamma):
        return x * gamma

    words = said(f, lambda dy, x, gamma: (dy, (dy * x).sum(axis=0)), (X, GAMMA), "x")
    assert "Multiplied by gamma it is the truth: this factor is missing, or 1/gamma too many." in words
    words = said(lambda x: x**2 / 2, lambda dy, x: dy * x * x, (X,), "x")
    assert "It is the truth times x: this factor is too many, or 1/x is missing." in words


def test_a_factor_that_an_argument_or_the_result_makes_with_1_is_named():
    words = said(np.tanh, lambda dy, x: dy * (1 - np.tanh(x)), (X,), "x", names=["x"])
    assert (
        "Multiplied by (1 + y) it is the truth: this factor is missing, or 1/(1 + y) too many (y is the result)."
        in words
    )


def test_a_quotient_of_small_numbers_is_named():
    used = np.array([0, 1, 3, 4, 5])

    def f(x):
        return (x[used] ** 2).sum() / 5

    def backward(dy, x):
        d = np.zeros_like(x)
        d[used] = 2 * x[used] * dy / 6
        return d

    words = said(f, backward, (X,), "x")
    assert "0.833333 = 5/6." in words


def test_a_factor_in_one_block_of_columns():
    def f(qk, size):
        return qk[:, :size] @ qk[:, size:].T / np.sqrt(size)

    def backward(dy, qk, size):
        return np.concatenate([dy @ qk[:, size:] / np.sqrt(size), dy.T @ qk[:, :size]], axis=1)

    words = said(f, backward, (X, 2), "qk")
    assert "In columns 2 and 3, where it is wrong, it is 1.41421 times the truth, everywhere; 1.41421 = √size." in words


def test_a_forgotten_upstream_gradient():
    words = said(cube, lambda dy, x: 3 * x**2, (X,), "x")
    assert "does not depend on the upstream gradient: backward(-2·dy) is backward(dy)" in words
    assert "Multiplied by dy it is the truth." in words


@pytest.mark.parametrize(("wrong", "words"), [(lambda dy: dy * dy, "multiplied in twice"), (np.abs, "|dy|")])
def test_what_is_not_linear_in_the_upstream_gradient(wrong, words):
    explained = said(cube, lambda dy, x: 3 * x**2 * wrong(dy), (X,), "x")
    assert "not linear in the upstream gradient" in explained
    assert words in explained


def test_a_backward_that_is_right_for_one_upstream_gradient_only_is_wrong():
    seen = []

    def backward(dy, x):
        seen.append(dy)
        return 3 * x**2 * seen[0]  # the first one it met

    assert not check(cube, backward, (X,))


def test_a_zero_gradient():
    assert "It is 0 everywhere, the truth is not" in said(cube, lambda dy, x: 0 * x, (X,), "x")


def test_single_precision_inside():
    words = said(cube, lambda dy, x: (3 * x**2 * dy).astype(np.float32).astype(float), (X,), "x")
    assert "something on the way computes in single precision" in words


# ---- places ---------------------------------------------------------------------------------------------------------


def test_a_transposed_gradient():
    words = said(linear, wrong_linear(weight=lambda dy, x, w: x.T @ dy), (X, W, B), "weight")
    assert "It is the truth transposed: .T is missing, or one too many." in words


def test_a_gradient_of_the_wrong_shape_that_is_right_transposed(rng):
    w = rng.standard_normal((3, 4))
    words = said(linear, wrong_linear(weight=lambda dy, x, w: x.T @ dy), (X, w, B[:3]), "weight")
    assert "It is transposed: .T has the shape of the argument. Then it is the truth." in words


def test_exchanged_gradients():
    def f(a, b):
        return a * b**2

    report = check(f, lambda dy, a, b: (2 * a * b * dy, dy * b**2), (X, X + 1))
    assert "It is the gradient of b: are the returned gradients in the order" in report.rows[0].explanation
    assert "It is the gradient of a: are the returned gradients in the order" in report.rows[1].explanation


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda g: g[::-1], "Its rows stand in reverse order."),
        (lambda g: g[:, ::-1], "Its columns stand in reverse order."),
        (lambda g: np.roll(g, 1, axis=0), "Its rows are shifted by 1 round the end: row 0 is the truth's 5."),
        (lambda g: g[:, [1, 0, 2, 3]], "another order: column 0 is the truth's 1 and 1 is the truth's 0."),
    ],
)
def test_rows_and_columns_in_another_order(change, words):
    assert words in said(cube, lambda dy, x: change(3 * x**2 * dy), (X,), "x")


def test_a_bias_whose_sum_lacks_a_row():
    args = (X, W, B)
    words = said(linear, wrong_linear(bias=lambda dy, x, w: dy[:-1].sum(axis=0)), args, "bias")
    assert "The sum over the rows of dy lacks the last row (row 5 of 0 to 5)" in words
    words = said(linear, wrong_linear(bias=lambda dy, x, w: dy[1:].sum(axis=0)), args, "bias")
    assert "lacks the first row (row 0)" in words


def test_a_weight_whose_sum_lacks_rows_or_counts_one_twice():
    args = (X, W, B)
    words = said(linear, wrong_linear(weight=lambda dy, x, w: dy[2:].T @ x[2:]), args, "weight")
    assert "lacks rows 0 and 1" in words
    twice = wrong_linear(weight=lambda dy, x, w: dy.T @ x + np.outer(dy[3], x[3]))
    assert "counts row 3 twice. With it put right it is the truth." in said(linear, twice, args, "weight")


def test_rows_that_are_used_twice_and_overwritten():
    def gather(table, ids):
        return table[ids]

    def backward(dy, table, ids):
        d = np.zeros_like(table)
        d[ids] = dy
        return d

    words = said(gather, backward, (X, IDS), "table")
    assert (
        "Only rows that ids holds more than once are wrong (2), and each holds what its last use contributes" in words
    )
    assert "overwritten instead of added. np.add.at(dx, ids, dy) adds." in words


@pytest.mark.parametrize(("at", "words"), [(-1, "Only row 5 of 6 is wrong."), (0, "Only row 0 of 6 is wrong.")])
def test_only_an_end_is_wrong(at, words):
    def backward(dy, x):
        d = 3 * x**2 * dy
        d[at] = 0
        return d

    explained = said(cube, backward, (X,), "x")
    assert f"{words} What stands there is 0. That is an end: look for a slice or a sum that is off by one." in explained
    assert f"wrong in 4 of 24 entries, in row {at % 6}" in explained


# ---- terms ----------------------------------------------------------------------------------------------------------


def test_layer_norm_without_its_mean_term():
    words = said(layer_norm, layer_norm_backward(mean=0), (X, GAMMA), "x")
    assert "constant along axis 1: the same number throughout a row" in words
    assert "the true gradient sums to 0, this one to as much as" in words
    assert (
        "less its mean over axis 1 it is the truth, as if the path through a mean, a term -mean(...), were missing."
        in words
    )


def test_layer_norm_without_its_variance_term():
    words = said(layer_norm, layer_norm_backward(variance=0), (X, GAMMA), "x")
    assert (
        "a multiple of x - mean(x), and the true gradient is orthogonal to that: as if the path through a variance"
        in words
    )


def test_layer_norm_without_either():
    words = said(layer_norm, layer_norm_backward(0, 0), (X[:, :4], GAMMA), "x")
    assert "a constant plus a multiple of x - mean(x), and the true gradient is orthogonal to either" in words


def test_add_and_norm_without_its_variance_term(rng):
    def f(x, residual, gamma):
        return layer_norm(x + residual, gamma)

    def backward(dy, x, residual, gamma):
        dx, dgamma = layer_norm_backward(variance=0)(dy, x + residual, gamma)
        return dx, layer_norm_backward()(dy, x + residual, gamma)[0], dgamma

    words = said(f, backward, (X, rng.standard_normal(X.shape), GAMMA), "x")
    assert (
        "the error is a multiple of (x + residual) - mean(x + residual), and the true gradient is orthogonal to that"
        in words
    )


def test_a_mean_that_should_not_be_there():
    words = said(cube, lambda dy, x: (d := 3 * x**2 * dy) - d.mean(axis=0), (X,), "x")
    assert "constant along axis 0: the same number throughout a column" in words
    assert "it is the truth less its mean over axis 0." in words


def test_softmax_without_its_sum():
    words = said(softmax, lambda dy, x: softmax(x) * dy, (X,), "x")
    assert "The error is y·sum(dy·y) over axis 1: a term of softmax, whose gradient is y·(dy - sum(dy·y))." in words


def test_unit_vectors_without_the_term_through_the_norm():
    def f(x):
        return x / np.sqrt((x * x).sum(axis=-1, keepdims=True))

    words = said(f, lambda dy, x: dy / np.sqrt((x * x).sum(axis=-1, keepdims=True)), (X,), "x")
    through_norm = "a multiple of x, and the true gradient is orthogonal to that: as if the path through a norm"
    assert through_norm in words

    def rms(x, gamma):
        return gamma * x / np.sqrt((x * x).mean(axis=-1, keepdims=True))

    def rms_backward(dy, x, gamma):
        r = 1 / np.sqrt((x * x).mean(axis=-1, keepdims=True))
        return gamma * dy * r, (dy * x * r).sum(axis=0)

    assert through_norm in said(rms, rms_backward, (X, GAMMA), "x")


def test_a_dropped_residual_connection():
    words = said(lambda x: x + np.sin(x), lambda dy, x: np.cos(x) * dy, (X,), "x")
    assert (
        "With dy added it is the truth: a term dy is missing, such as that of x in x + f(x), or -dy is too much."
        in words
    )
