"""Softmax at its limits, and the two sums that hold for every row."""

import numpy as np
import pytest

from minibert.ops import softmax, softmax_backward

each_dtype = pytest.mark.parametrize("dtype", [np.float64, np.float32])


def probs_of(scores):
    return softmax(scores)[0]


def random(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape)


@each_dtype
@pytest.mark.parametrize("scale", [0, 1e-30, 1, 1e4, 1e38], ids=str)
def test_rows_sum_to_one_at_any_scale(scale, dtype):
    rows = np.clip(random(50, 37), -1.5, 1.5)  # differences of float32 numbers then stay below 3.4e38
    p = probs_of((scale * rows).astype(dtype))
    assert np.all((p >= 0) & (p <= 1))
    np.testing.assert_allclose(p.sum(axis=-1), 1, rtol=0, atol=37 * np.finfo(dtype).eps)


@each_dtype
@pytest.mark.parametrize("value", [0, -1e4, 1e4, 1e38, -1e38])
def test_equal_scores_give_equal_probabilities(value, dtype):
    np.testing.assert_array_equal(probs_of(np.full((2, 8), value, dtype)), np.full((2, 8), 0.125))


@each_dtype
def test_one_huge_score_takes_it_all(dtype):
    p = probs_of(np.array([[0, 1e4, -1e4], [1e38, -1e38, 0]], dtype=dtype))
    np.testing.assert_array_equal(p, [[0, 1, 0], [1, 0, 0]])


@each_dtype
def test_minus_infinity_gets_exactly_nothing_and_no_gradient(dtype):
    scores = random(4, 6).astype(dtype)
    scores[:, 2:4] = -np.inf
    p, cache = softmax(scores)
    assert not p[:, 2:4].any()
    rest = [0, 1, 4, 5]
    np.testing.assert_allclose(p[:, rest], probs_of(scores[:, rest]), rtol=4 * np.finfo(dtype).eps)
    assert not softmax_backward(random(4, 6, seed=1).astype(dtype), cache)[:, 2:4].any()


def test_a_common_shift_changes_nothing():
    scores = np.round(random(5, 9) * 64) / 64  # so that the sums below are exact
    np.testing.assert_array_equal(probs_of(scores + 1024), probs_of(scores))


def test_the_gradient_sums_to_zero_over_every_row():
    _, cache = softmax(random(4, 3, 17))
    ds = softmax_backward(random(4, 3, 17, seed=1), cache)
    assert np.abs(ds.sum(axis=-1)).max() <= 17 * np.finfo(float).eps


def test_the_gradient_of_the_sum_of_the_probabilities_is_zero():
    # they sum to 1 whatever the scores are; only random cotangents show anything
    p, cache = softmax(random(6, 11))
    assert np.abs(softmax_backward(np.ones_like(p), cache)).max() <= 4 * np.finfo(float).eps


def test_softmax_leaves_its_argument_alone():
    scores = random(3, 5)
    before = scores.copy()
    softmax(scores)
    np.testing.assert_array_equal(scores, before)
