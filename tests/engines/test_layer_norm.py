"""The engine's layer normalisation and dropout against the reference in float64."""

import importlib

import numpy as np
import pytest
import threadpoolctl
from hypothesis import given
from hypothesis import strategies as st

from minibert import ops
from minibert.ops.dropout import dropout_keep
from tests.tolerances import LAYER_NORM_LARGE_MEAN, NORMALISED

norms = importlib.import_module("minibert.engines.cpu.layer_norm")  # the package has functions of these names
drops = importlib.import_module("minibert.engines.cpu.dropout")

KEY = 0x9E3779B97F4A7C15
EPS = 1e-12
sizes = st.sampled_from([1, 2, 7, 8, 9, 15, 16, 17, 33, 63, 64, 65, 129])
widths = st.sampled_from([4, 7, 8, 9, 15, 16, 17, 33, 768])
keys = st.integers(0, 2**64 - 1)


def draw(seed, scale, rows, width):
    """x, residual, gamma, beta, dy in float32."""
    rng = np.random.default_rng([seed, rows, width])
    x, residual, dy = (scale * rng.standard_normal((rows, width)) for _ in range(3))
    gamma, beta = 1 + 0.3 * rng.standard_normal(width), rng.standard_normal(width)
    return [a.astype(np.float32) for a in (x, residual, gamma, beta, dy)]


def doubles(arrays):
    return [a.astype(np.float64) for a in arrays]


def near(found, wanted, *sizes):
    """Each to within NORMALISED of the size of the terms that it is a sum of, which may cancel."""
    for a, b, size in zip(found, wanted, sizes, strict=True):
        assert a.dtype == np.float32
        np.testing.assert_allclose(a, b, rtol=0, atol=NORMALISED * size)


def sizes_of(gamma, dy, rate, cache):
    """Of y, dx, dresidual, dgamma, dbeta."""
    xhat, column = np.abs(cache.xhat).max(initial=1), np.abs(dy).sum(axis=0).max(initial=0)
    gain = np.abs(gamma).max()
    dresidual = cache.rstd.max(initial=0) * np.abs(dy).max(initial=0) * gain * xhat
    return gain * xhat, dresidual / (1 - rate), dresidual, column * xhat, column


def check(x, residual, gamma, beta, dy, eps, rate, key):
    y, cache = norms.add_layer_norm(x, residual, gamma, beta, eps, rate, key)
    gradients = norms.add_layer_norm_backward(dy, cache)
    exact = doubles((x, residual, gamma, beta))
    wanted, reference = ops.add_layer_norm(*exact, eps, rate, key)
    wanted = (wanted, *ops.add_layer_norm_backward(dy.astype(np.float64), reference))
    near((y, *gradients), wanted, *sizes_of(gamma, dy, rate, cache))
    return y, gradients


@given(sizes, widths, st.sampled_from([0.1, 1.0, 10.0]), st.sampled_from([0.0, 0.1, 0.5]), keys, st.integers(0, 99))
def test_add_layer_norm(rows, width, scale, rate, key, seed):
    x, residual, gamma, beta, dy = draw(seed, scale, rows, width)
    _, (dx, *_) = check(x, residual, gamma, beta, dy, 1e-5, rate, key)
    if rate:
        kept = dropout_keep(np, x.size, rate, key).reshape(x.shape)
        np.testing.assert_array_equal(dx[~kept], 0)


@given(sizes, widths, st.sampled_from([0.1, 1.0, 10.0]), st.integers(0, 99))
def test_layer_norm(rows, width, scale, seed):
    x, _, gamma, beta, dy = draw(seed, scale, rows, width)
    y, cache = norms.layer_norm(x, gamma, beta, 1e-5)
    wanted, reference = ops.layer_norm(*doubles((x, gamma, beta)), 1e-5)
    wanted = (wanted, *ops.layer_norm_backward(dy.astype(np.float64), reference))
    y_size, _, *others = sizes_of(gamma, dy, 0, cache)
    near((y, *norms.layer_norm_backward(dy, cache)), wanted, y_size, *others)
    assert not np.shares_memory(y, x)


@pytest.mark.parametrize("rate", [0.0, 1e-9, 0.1])  # 1e-9 drops nothing, and is not 0
def test_views_and_no_rows(rate):
    x, residual, gamma, beta, dy = draw(0, 1, 96, 40)
    check(x.T[:, :40], residual[::2, :][:40], gamma, beta, dy.T[:, :40], EPS, rate, KEY)
    check(x[:0], residual[:0], gamma, beta, dy[:0], EPS, rate, KEY)


@pytest.mark.parametrize("rate", [0.0, 0.1])
def test_the_same_on_any_number_of_threads(rate):
    x, residual, gamma, beta, dy = draw(0, 1, 1000, 300)  # blocks of 64 do not divide 1000, nor parts of it
    found = []
    for threads in 1, 2, 3:
        with threadpoolctl.threadpool_limits(threads, "blas"):
            found.append(check(x, residual, gamma, beta, dy, EPS, rate, KEY))
    for y, gradients in found[1:]:
        np.testing.assert_array_equal(y, found[0][0])
        for a, b in zip(gradients, found[0][1], strict=True):
            np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("rate", [0.0, 0.3])
@pytest.mark.parametrize("rows", [1, 5])
def test_the_kernel_adds_a_bias_and_does_without_a_cache(rows, rate):
    x, residual, gamma, beta, _ = draw(0, 1, rows, 33)
    bias, y = beta[::-1].copy(), np.empty_like(x)
    scratch, rstd = np.empty((1, 33), np.float32), np.empty(1, np.float32)
    norms.normalise(
        x, bias, residual, gamma, beta, np.float32(EPS), np.uint32(0), *drops.mask(rate, KEY), y, scratch, rstd
    )  # fmt: skip
    x, bias, residual, gamma, beta = doubles((x, bias, residual, gamma, beta))
    near((y,), (ops.add_layer_norm(x + bias, residual, gamma, beta, EPS, rate, KEY)[0],), np.abs(y).max())


def test_a_nan_stays_in_its_row():
    x, residual, gamma, beta, dy = draw(0, 1, 5, 33)
    x[2, 7] = np.nan
    y, cache = norms.add_layer_norm(x, residual, gamma, beta, EPS)
    dx = norms.add_layer_norm_backward(dy, cache)[0]
    for rows in y, dx:
        np.testing.assert_array_equal(np.isnan(rows).all(axis=1), [False, False, True, False, False])
        assert np.isfinite(rows[[0, 1, 3, 4]]).all()


@pytest.mark.parametrize("value", [0.0, 1.0, -7.25, 1e30])
def test_a_constant_row_gives_the_bias_and_a_finite_gradient(value):
    _, _, gamma, beta, dy = draw(0, 1, 2, 8)
    y, cache = norms.layer_norm(np.full((2, 8), value, np.float32), gamma, beta, EPS)
    np.testing.assert_array_equal(y, [beta, beta])
    for gradient in norms.layer_norm_backward(dy, cache):
        assert np.isfinite(gradient).all()


def test_a_large_mean_costs_its_rounding_and_no_more():
    x = np.random.default_rng(0).standard_normal((4, 768)) + 1e6
    one, zero = np.ones(768), np.zeros(768)
    y, _ = norms.layer_norm(*(a.astype(np.float32) for a in (x, one, zero)), EPS)
    wanted = ops.layer_norm(x.astype(np.float32).astype(np.float64), one, zero, EPS)[0]
    np.testing.assert_allclose(y, wanted, rtol=0, atol=LAYER_NORM_LARGE_MEAN)


def test_dropout_beyond_what_kernels_can_number(monkeypatch):
    x, residual, gamma, beta, dy = draw(0, 1, 70, 33)
    normal = check(x, residual, gamma, beta, dy, EPS, 0.3, KEY)
    monkeypatch.setattr(norms, "MOST", x.size)
    for a, b in zip(normal[1], check(x, residual, gamma, beta, dy, EPS, 0.3, KEY)[1], strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)  # the same mask, rounded elsewhere


@given(
    st.sampled_from([1, 7, 8, 9, 33, 1000, 300_001]),
    st.sampled_from([0.001, 0.1, 0.5, 0.999]),
    keys,
    st.sampled_from([0, 1, 2**31, 2**32 - 1000, 2**32 - 5, 2**32 + 3]),
)
def test_dropout_is_the_references_bit_for_bit(size, rate, key, offset):
    x = np.random.default_rng(size).standard_normal(size).astype(np.float32)
    y, cache = drops.dropout(x, rate, key, offset)
    wanted, reference = ops.dropout(x, rate, key, offset)
    np.testing.assert_array_equal(y, wanted)
    np.testing.assert_array_equal(drops.dropout_backward(x, cache), ops.dropout_backward(x, reference))
    assert y.dtype == np.float32


def test_dropout_of_views_and_of_nan():
    x = np.random.default_rng(0).standard_normal((40, 30)).astype(np.float32)
    x[3:5] = np.nan
    np.testing.assert_array_equal(drops.dropout(x.T, 0.5, KEY)[0], ops.dropout(x.T, 0.5, KEY)[0])
    assert drops.dropout(x, 0.0, KEY)[0] is x
