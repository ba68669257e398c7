"""erf against the standard library, and at the places where error functions go wrong."""

import math

import numpy as np
import pytest

from minibert.ops import erf
from tests.tolerances import ERF

each_dtype = pytest.mark.parametrize("dtype", [np.float64, np.float32])

# Both polynomials, their border at 1, and far beyond where the result is 1; then every power of ten down to denormals.
DENSE = np.concatenate([np.linspace(-7, 7, 40001), 1 + np.linspace(-1e-6, 1e-6, 2001)])
TINY = np.array([sign * 10.0**-k for k in range(1, 324) for sign in (1, -1)])


def truth(x):
    return np.array([math.erf(v) for v in x.tolist()])


@each_dtype
def test_erf_is_that_of_the_standard_library(dtype):
    x = DENSE.astype(dtype)
    assert np.abs(erf(x) - truth(x)).max() <= ERF[np.dtype(dtype)]


@each_dtype
def test_small_arguments_keep_their_relative_precision(dtype):
    # An absolute error of 1e-16 would be all of erf(1e-20); normal numbers only, denormals have fewer digits.
    x = TINY.astype(dtype)
    x = x[np.abs(x) > 2 * np.finfo(dtype).tiny]
    np.testing.assert_allclose(erf(x), truth(x), rtol=4 * np.finfo(dtype).eps, atol=0)


@each_dtype
def test_denormals_are_good_to_two_units_of_the_smallest_number(dtype):
    x = TINY.astype(dtype)
    x = x[np.abs(x) < np.finfo(dtype).tiny]
    assert len(x)
    np.testing.assert_allclose(erf(x), truth(x), rtol=0, atol=2 * np.finfo(dtype).smallest_subnormal)


@each_dtype
def test_limits_are_exact(dtype):
    big = np.finfo(dtype).max
    x = np.array([0.0, -0.0, 6, -6, 40, -40, big, -big, np.inf, -np.inf, np.nan], dtype=dtype)
    y = erf(x)
    np.testing.assert_array_equal(y, np.array([0, 0, 1, -1, 1, -1, 1, -1, 1, -1, np.nan], dtype=dtype))
    assert np.signbit(y[:2]).tolist() == [False, True]  # erf(-0) is -0


@each_dtype
def test_erf_is_odd_to_the_last_bit(dtype):
    x = np.concatenate([DENSE, TINY]).astype(dtype)
    np.testing.assert_array_equal(erf(-x), -erf(x))


@each_dtype
def test_erf_never_decreases_by_more_than_its_rounding(dtype):
    y = erf(np.sort(DENSE.astype(dtype)))
    assert np.diff(y).min() >= -2 * ERF[np.dtype(dtype)]
    assert np.abs(y).max() <= 1


def test_the_imaginary_part_is_the_derivative():
    x = np.linspace(-5, 5, 1001)
    y = erf(x + 1e-30j)
    np.testing.assert_array_equal(y.real, erf(x))
    derivative = [2 / math.sqrt(math.pi) * math.exp(-v * v) for v in x.tolist()]
    np.testing.assert_allclose(y.imag / 1e-30, derivative, rtol=1e-14, atol=0)


@each_dtype
@pytest.mark.parametrize(
    "view",
    [lambda x: x[::2], lambda x: x[:, ::-1].T, lambda x: x[0, 0], lambda x: x[:0], lambda x: x[0, 0].reshape(())],
    ids=["strided", "transposed", "scalar", "empty", "0-d"],
)
def test_every_layout_gives_the_same_numbers(view, dtype):
    x = np.linspace(-3, 3, 60).reshape(6, 10).astype(dtype)
    y = erf(view(x))
    assert (y.shape, y.dtype) == (view(x).shape, dtype)
    np.testing.assert_array_equal(y, view(erf(x)))


def test_long_arrays_are_worked_on_in_blocks_without_a_seam():
    x = np.linspace(-4, 4, 3 * 32768 + 5)
    np.testing.assert_array_equal(erf(x)[::1001], erf(x[::1001]))
