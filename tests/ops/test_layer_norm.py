"""Layer normalisation where it is delicate: rows that hardly vary, huge and tiny ones, one or two features."""

import numpy as np
import pytest

from minibert import gradcheck
from minibert.ops import layer_norm, layer_norm_backward
from tests.tolerances import LAYER_NORM_LARGE_MEAN

EPS = 1e-12
ROUNDING = np.finfo(float).eps


def arrays(n, h, seed=0):
    """x, gamma, beta, dy"""
    rng = np.random.default_rng(seed)
    x, gamma, beta, dy = (rng.standard_normal(shape) for shape in ((n, h), h, h, (n, h)))
    return x, 1 + 0.3 * gamma, beta, dy


def plain(x, eps=EPS):
    """x̂ alone: gain 1, bias 0."""
    return layer_norm(x, np.ones(x.shape[1], x.dtype), np.zeros(x.shape[1], x.dtype), eps)


def test_published_value():
    np.testing.assert_allclose(plain(np.array([[1.0, 2.0, 3.0]]))[0], [[-1.224745, 0, 1.224745]], atol=5e-7)


@pytest.mark.parametrize("value", [0.0, 1.0, -7.25, 1e30])
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_a_constant_row_gives_the_bias_and_a_finite_gradient(value, dtype):
    # with eps outside the root this is 0/0; a power of two of features, so that the mean is exact
    gamma, beta, dy = (a.astype(dtype) for a in arrays(2, 8)[1:])
    y, cache = layer_norm(np.full((2, 8), value, dtype), gamma, beta, EPS)
    np.testing.assert_array_equal(y, [beta, beta])
    for gradient in layer_norm_backward(dy, cache):
        assert np.isfinite(gradient).all()


def test_rows_of_1e30_are_normalised_as_rows_of_1():
    x = arrays(3, 16)[0]
    np.testing.assert_allclose(plain(1e30 * x)[0], plain(x)[0], rtol=0, atol=1e-11)  # eps / variance is gone: 1e-12


def test_rows_of_1e30_and_1e_30_have_correct_gradients():
    x, gamma, beta, _ = arrays(3, 16)
    for scale in (1e30, 1e-3, 1e-30):
        report = gradcheck.check(layer_norm, layer_norm_backward, (scale * x, gamma, beta, EPS))
        assert report, f"scale {scale}\n{report}"


def test_rows_far_below_eps_are_only_scaled():
    x = 1e-30 * arrays(3, 16)[0]
    centred = x - x.mean(axis=1, keepdims=True)
    np.testing.assert_allclose(plain(x)[0], centred / np.sqrt(EPS), rtol=1e-13, atol=0)


def test_a_large_mean_costs_the_rounding_of_the_mean_and_no_more():
    # mean(x²) - μ² would be off by 1e12·6e-8 here, with a variance of 1
    x = (1e6 + arrays(4, 768)[0]).astype(np.float32)
    exact = plain(x.astype(np.float64))[0]
    assert np.abs(plain(x)[0] - exact).max() <= LAYER_NORM_LARGE_MEAN


@pytest.mark.parametrize("features", [1, 2])
def test_one_or_two_features_have_a_vanishing_gradient(features):
    # x̂ is 0 or ±1 whatever x is. What is computed is the rounding of terms of size r·‖dx̂‖, and with two features
    # what eps leaves: r·dx̂·eps/σ².
    x, gamma, beta, dy = arrays(5, features)
    dx = layer_norm_backward(dy, layer_norm(x, gamma, beta, EPS)[1])[0]
    variance = x.var(axis=1, keepdims=True)
    rstd = (variance + EPS) ** -0.5
    left = EPS / (variance + EPS) if features == 2 else 0
    size = rstd * np.linalg.norm(dy * gamma, axis=1, keepdims=True)
    assert np.all(np.abs(dx) <= (left + 4 * ROUNDING) * size)


def test_dx_is_orthogonal_to_the_constant_row_and_to_xhat():
    x, gamma, beta, dy = arrays(6, 64)
    _, cache = layer_norm(x, gamma, beta, EPS)
    dx = layer_norm_backward(dy, cache)[0]
    size = np.linalg.norm(dx, axis=1)
    assert np.all(np.abs(dx.sum(axis=1)) <= 1e-13 * size)
    # to x̂ up to eps/σ² = 1e-12 of the projection that was taken away
    assert np.all(np.abs((dx * cache.xhat).sum(axis=1)) <= 1e-10 * size)


def test_a_sum_loss_has_gradient_zero_and_checks_nothing():
    # the fact behind random cotangents: Σ x̂ = 0 whatever x is. Under γ ≠ 1 it is no longer so.
    x, gamma, beta, _ = arrays(4, 16)
    ones = np.ones_like(x)
    rstd = plain(x)[1].rstd
    assert np.all(np.abs(layer_norm_backward(ones, plain(x)[1])[0]) <= 4 * ROUNDING * rstd)
    assert np.abs(layer_norm_backward(ones, layer_norm(x, gamma, beta, EPS)[1])[0]).max() > 1e-3


def test_a_shift_of_a_row_changes_nothing():
    x, gamma, beta, dy = arrays(4, 16)
    y, cache = layer_norm(x, gamma, beta, EPS)
    shifted, shifted_cache = layer_norm(x + np.array([[0.0], [1.0], [-3.0], [100.0]]), gamma, beta, EPS)
    np.testing.assert_allclose(shifted, y, atol=1e-12)  # 100 times the rounding of numbers of size 1
    np.testing.assert_allclose(layer_norm_backward(dy, shifted_cache)[0], layer_norm_backward(dy, cache)[0], atol=1e-12)


def test_a_factor_on_a_row_changes_nothing_but_divides_the_gradient():
    # eps = 0 makes this exact; powers of two keep it so in floating point
    x, gamma, beta, dy = arrays(4, 16)
    y, cache = layer_norm(x, gamma, beta, 0.0)
    scaled, scaled_cache = layer_norm(1024 * x, gamma, beta, 0.0)
    np.testing.assert_array_equal(scaled, y)
    np.testing.assert_array_equal(1024 * layer_norm_backward(dy, scaled_cache)[0], layer_norm_backward(dy, cache)[0])


def test_no_rows_give_no_rows_and_zero_parameter_gradients():
    x, gamma, beta, dy = arrays(0, 5)
    y, cache = layer_norm(x, gamma, beta, EPS)
    dx, dgamma, dbeta = layer_norm_backward(dy, cache)
    assert (y.shape, dx.shape) == ((0, 5), (0, 5))
    assert not dgamma.any()
    assert not dbeta.any()
