"""Class weights and label smoothing: PyTorch's numbers, the plain loss where there is neither, and the limits."""

import itertools
from pathlib import Path

import numpy as np
import pytest

from minibert import gradcheck, ops
from minibert.engines import cpu

FIXTURE = Path(__file__).parent / "fixtures" / "weighted_cross_entropy.npz"
WEIGHTS = (None, [0.5, 1.0, 3.0, 0.25])
each_case = pytest.mark.parametrize(("weights", "smoothing"), list(itertools.product(WEIGHTS, (0.0, 0.1, 1.0))))


def cases():
    """One dictionary for each case of tools/make_loss_fixtures.py."""
    with np.load(FIXTURE) as file:
        arrays = dict(file)
    return [dict(zip(arrays, values, strict=True)) for values in zip(*arrays.values(), strict=True)]


def drawn(dtype=np.float64, rows=6):
    rng = np.random.default_rng(0)
    labels = np.where(rng.random(rows) < 0.3, ops.IGNORE_INDEX, rng.integers(0, 4, rows))
    return rng.standard_normal((rows, 4)).astype(dtype), labels


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("case", cases())
def test_loss_and_gradient_are_those_of_pytorch(case, dtype):
    weights = None if np.isnan(case["weights"]).any() else case["weights"]
    smoothing, ignored = float(case["smoothing"]), int(case["ignored"])
    x = case["logits"].astype(dtype)
    loss, cache = ops.weighted_cross_entropy(x, case["labels"], weights, smoothing, ignored)
    gradient = ops.weighted_cross_entropy_backward(1.0, cache)
    assert loss.dtype == gradient.dtype == dtype
    close = 1e-14 if dtype == np.float64 else 2e-6
    np.testing.assert_allclose(loss, case["loss"], rtol=close, atol=0)
    np.testing.assert_allclose(gradient, case["gradient"], rtol=0, atol=close)


def test_the_fixture_has_every_combination():
    kinds = {(bool(np.isnan(c["weights"]).any()), float(c["smoothing"]), int(c["ignored"])) for c in cases()}
    assert kinds == set(itertools.product([False, True], [0.0, 0.1, 0.7, 1.0], [-100, 2]))


@each_case
def test_every_entry_of_the_gradient_is_the_complex_step(weights, smoothing):
    x, labels = drawn()
    _, cache = ops.weighted_cross_entropy(x, labels, weights, smoothing)
    gradient = ops.weighted_cross_entropy_backward(1.0, cache)
    for place in np.ndindex(x.shape):
        along = np.zeros(x.shape)
        along[place] = 1
        slope = gradcheck.complex_step(lambda x: ops.weighted_cross_entropy(x, labels, weights, smoothing)[0], x, along)
        assert abs(slope - gradient[place]) <= 1e-15
    assert np.abs(gradient.sum(axis=1)).max() <= 1e-15
    assert not gradient[labels == ops.IGNORE_INDEX].any()


def test_without_either_it_is_the_plain_loss():
    x, labels = drawn()
    expected, plain = ops.cross_entropy(x, labels)
    for weights in (None, [2.0] * 4):
        loss, cache = ops.weighted_cross_entropy(x, labels, weights)
        assert loss == pytest.approx(expected, rel=1e-15)
        gradient = ops.weighted_cross_entropy_backward(1.0, cache)
        np.testing.assert_allclose(gradient, ops.cross_entropy_backward(1.0, plain), rtol=0, atol=1e-16)


def test_a_weight_of_three_is_three_rows():
    x, labels = drawn()
    rows = np.repeat(np.arange(len(x)), np.where(labels == 2, 3, 1))
    expected, _ = ops.cross_entropy(x[rows], labels[rows])
    assert (labels == 2).any()
    assert ops.weighted_cross_entropy(x, labels, [1, 1, 3, 1])[0] == pytest.approx(expected, rel=1e-15)


@pytest.mark.parametrize("rows", [0, 6])
def test_where_no_label_has_a_weight_loss_and_gradient_are_zero(rows):
    x, _ = drawn(rows=rows)
    for labels, weights in ((np.full(rows, ops.IGNORE_INDEX), None), (np.zeros(rows, int), [0.0, 1.0, 1.0, 1.0])):
        loss, cache = ops.weighted_cross_entropy(x, labels, weights, 0.1)
        assert loss == 0
        assert not ops.weighted_cross_entropy_backward(1.0, cache).any()


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_far_apart_logits_stay_finite(dtype):
    x = np.array([[0, 1e5, 0]], dtype=dtype)
    loss, cache = ops.weighted_cross_entropy(x, np.array([1]), [1.0, 2.0, 1.0], 0.3)
    assert loss == pytest.approx(1e4, rel=1e-6)  # targets 0.1, 1.6, 0.1 over 2: a tenth of the gap
    np.testing.assert_allclose(ops.weighted_cross_entropy_backward(1.0, cache), [[-0.05, 0.1, -0.05]], rtol=1e-6)


def test_the_engine_takes_the_reference():
    x, labels = drawn(np.float32)
    one, other = (engine.weighted_cross_entropy(x, labels, WEIGHTS[1], 0.1) for engine in (ops, cpu))
    assert one[0] == other[0]
    np.testing.assert_array_equal(*(ops.weighted_cross_entropy_backward(1.0, cache) for _, cache in (one, other)))
