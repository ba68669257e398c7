"""The losses at their limits: nothing labelled, logits far apart, one class."""

import itertools
import math

import numpy as np
import pytest

from minibert import ops

IGNORED = ops.IGNORE_INDEX
each_dtype = pytest.mark.parametrize("dtype", [np.float64, np.float32])


def cross_entropy(logits, labels):
    """loss, dlogits"""
    loss, cache = ops.cross_entropy(np.asarray(logits), np.asarray(labels))
    return loss, ops.cross_entropy_backward(1.0, cache)


def span(logits, labels, cu):
    loss, cache = ops.span_cross_entropy(logits, np.asarray(labels), np.asarray(cu))
    return loss, ops.span_cross_entropy_backward(1.0, cache)


def binary(logits, targets):
    loss, cache = ops.binary_cross_entropy(logits, targets)
    return loss, ops.binary_cross_entropy_backward(1.0, cache)


def squared(x, targets):
    loss, cache = ops.mean_squared_error(x, targets)
    return loss, ops.mean_squared_error_backward(1.0, cache)


def random(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape)


# ---- cross-entropy --------------------------------------------------------------------------------------------------


def test_cross_entropy_by_hand():
    loss, dlogits = cross_entropy([[0.0, 0.0], [math.log(3), 0.0]], [0, 0])
    assert loss == pytest.approx((math.log(2) + math.log(4 / 3)) / 2, rel=1e-15)
    np.testing.assert_allclose(dlogits, [[-0.25, 0.25], [-0.125, 0.125]], rtol=1e-15)


def test_a_uniform_guess_costs_the_log_of_the_number_of_classes():
    assert cross_entropy(np.zeros((3, 30522)), [0, 5, 30521])[0] == pytest.approx(math.log(30522), rel=1e-15)


def test_unlabelled_rows_count_for_nothing():
    logits, labels = random(6, 4), np.array([1, IGNORED, 3, IGNORED, 0, 2])
    loss, dlogits = cross_entropy(logits, labels)
    rows = labels != IGNORED
    expected, dexpected = cross_entropy(logits[rows], labels[rows])
    assert loss == pytest.approx(expected, rel=1e-15)
    np.testing.assert_allclose(dlogits[rows], dexpected, rtol=1e-15)
    assert not dlogits[~rows].any()


def test_another_number_may_mean_unlabelled():
    logits = random(3, 4)
    loss, _ = ops.cross_entropy(logits, np.array([1, 0, 2]), 0)
    assert loss == pytest.approx(cross_entropy(logits, [1, IGNORED, 2])[0], rel=1e-15)


@each_dtype
@pytest.mark.parametrize("rows", [0, 3])
def test_no_label_at_all_is_loss_zero_and_gradient_zero(rows, dtype):
    loss, dlogits = cross_entropy(random(rows, 4).astype(dtype), np.full(rows, IGNORED))
    assert loss == 0
    np.testing.assert_array_equal(dlogits, np.zeros((rows, 4)))


@each_dtype
def test_a_gap_of_1e5_is_the_loss_itself(dtype):
    loss, dlogits = cross_entropy(np.array([[0, 1e5, 0]], dtype=dtype), [0])
    assert loss == 1e5
    np.testing.assert_array_equal(dlogits, [[-1, 1, 0]])
    assert cross_entropy(np.array([[0, 1e5, 0]], dtype=dtype), [1])[0] == 0


def test_a_common_shift_of_a_row_changes_nothing():
    logits = np.round(random(4, 5) * 64) / 64  # so that the sums below are exact
    shift = np.array([[0.0], [1024.0], [-1024.0], [2.0**30]])
    labels = [0, 1, 2, 3]
    for one, other in zip(cross_entropy(logits + shift, labels), cross_entropy(logits, labels), strict=True):
        np.testing.assert_array_equal(one, other)


def test_every_row_of_the_gradient_sums_to_zero():
    _, dlogits = cross_entropy(random(5, 30), [0, 29, IGNORED, 3, 7])
    assert np.abs(dlogits.sum(axis=1)).max() <= 1e-16


def test_one_class_leaves_nothing_to_lose():
    loss, dlogits = cross_entropy(random(3, 1), [0, 0, 0])
    assert loss == 0
    assert not dlogits.any()


# ---- cross-entropy over positions -----------------------------------------------------------------------------------


def test_span_loss_is_the_mean_of_the_sequences_own():
    logits = random(9)
    loss, _ = span(logits, [1, IGNORED, 3], [0, 2, 5, 9])
    own = [cross_entropy(logits[None, :2], [1])[0], cross_entropy(logits[None, 5:], [3])[0]]
    assert loss == pytest.approx(sum(own) / 2, rel=1e-15)


def test_a_sequence_is_judged_without_looking_at_the_others():
    logits, labels, cu = random(9), [1, 2, 3], [0, 2, 5, 9]
    _, dlogits = span(logits, labels, cu)
    changed = logits.copy()
    changed[2:5] *= 100
    _, dchanged = span(changed, labels, cu)
    np.testing.assert_array_equal(dchanged[:2], dlogits[:2])
    np.testing.assert_array_equal(dchanged[5:], dlogits[5:])
    for start, end in itertools.pairwise(cu):
        assert abs(dlogits[start:end].sum()) <= 1e-16


def test_no_span_at_all_is_loss_zero_and_gradient_zero():
    loss, dlogits = span(random(5), [IGNORED, IGNORED], [0, 2, 5])
    assert loss == 0
    assert not dlogits.any()


# ---- binary cross-entropy and mean squared error --------------------------------------------------------------------


def test_binary_cross_entropy_by_hand():
    loss, dlogits = binary(np.array([0.0, math.log(3)]), np.array([1, 0]))
    assert loss == pytest.approx((math.log(2) + math.log(4)) / 2, rel=1e-15)
    np.testing.assert_allclose(dlogits, [-0.25, 0.375], rtol=1e-15)


@each_dtype
def test_binary_cross_entropy_far_out_is_the_gap_or_nothing(dtype):
    logits = np.array([1e4, -1e4, 1e4, -1e4], dtype=dtype)
    loss, dlogits = binary(logits, np.array([1, 0, 0, 1]))
    assert loss == 1e4 / 2
    np.testing.assert_array_equal(dlogits, [0, 0, 0.25, -0.25])


def test_binary_cross_entropy_takes_soft_targets():
    z = np.array([0.25])
    x = np.log(z / (1 - z))  # the logit of z: the gradient vanishes, the loss is the entropy
    loss, dlogits = binary(x, z)
    assert loss == pytest.approx(-(0.25 * math.log(0.25) + 0.75 * math.log(0.75)), rel=1e-15)
    assert abs(dlogits[0]) <= 1e-16


def test_mean_squared_error_by_hand():
    loss, dx = squared(np.array([1.0, 2.0]), np.array([0.0, 4.0]))
    assert loss == 2.5
    np.testing.assert_array_equal(dx, [1, -2])


@pytest.mark.parametrize("loss", [binary, squared])
def test_a_mean_over_nothing_is_zero(loss):
    value, gradient = loss(np.zeros((0, 3)), np.zeros((0, 3)))
    assert value == 0
    assert gradient.shape == (0, 3)


# ---- all ------------------------------------------------------------------------------------------------------------

CASES = {
    "cross_entropy": (random(4, 3), np.array([0, 1, IGNORED, 2])),
    "span_cross_entropy": (random(5), np.array([0, 2]), np.array([0, 2, 5])),
    "binary_cross_entropy": (random(4, 3), np.eye(4, 3)),
    "mean_squared_error": (random(4, 3), random(4, 3, seed=1)),
}


@each_dtype
@pytest.mark.parametrize("name", CASES)
def test_loss_and_gradient_have_the_dtype_of_the_logits(name, dtype):
    logits, *rest = CASES[name]
    loss, cache = getattr(ops, name)(logits.astype(dtype), *rest)  # targets stay float64
    assert (loss.shape, loss.dtype) == ((), dtype)
    for dloss in (1.0, dtype(1), np.float64(1)):
        assert getattr(ops, f"{name}_backward")(dloss, cache).dtype == dtype


@pytest.mark.parametrize("name", CASES)
def test_the_gradient_is_linear_in_that_of_the_loss(name):
    _, cache = getattr(ops, name)(*CASES[name])
    backward = getattr(ops, f"{name}_backward")
    np.testing.assert_allclose(backward(-3.0, cache), -3 * backward(1.0, cache), rtol=1e-15)
    assert not backward(0.0, cache).any()
