"""exp and its relatives on float32 against double precision, on millions of points; and where numbers end."""

import math

import numba
import numpy as np
import pytest

from minibert.engines.cpu.compile import FLAGS
from minibert.engines.cpu.vector_math import exp32, normal32, row_max32, sigmoid32, tanh32
from minibert.ops.erf import normal_cdf
from tests.tolerances import VECTOR_MATH

jit = numba.njit(**FLAGS)


@jit
def exps(x, y):
    for i in range(x.size):
        y[0, i] = exp32(x[i])


@jit
def normals(x, y):
    for i in range(x.size):
        y[0, i], y[1, i] = normal32(x[i])


@jit
def sigmoids(x, y):
    for i in range(x.size):
        y[0, i], y[1, i] = sigmoid32(x[i])


@jit
def tanhs(x, y):
    for i in range(x.size):
        y[0, i] = tanh32(x[i])


@jit
def maximum(x):
    return row_max32(x)


def values(loop, x):
    """(2, n) float32; the second row is for functions that return two."""
    x = np.asarray(x, np.float32)
    y = np.zeros((2, x.size), np.float32)
    loop(x, y)
    return y


def points(low, high):
    """Evenly spaced, and ever closer to 0 from both sides; the float32 ones as doubles."""
    near = np.geomspace(1e-30, min(-low, high), 300_000)
    return np.concatenate([np.linspace(low, high, 1_500_001), near, -near]).astype(np.float32).astype(np.float64)


def relative(found, expected):
    return np.abs(found / expected - 1).max()


def test_exp_where_it_is_normal():
    x = points(-87.3, 88.7)
    expected = np.exp(x)
    units = np.abs(values(exps, x)[0] - expected) / np.spacing(expected.astype(np.float32))
    assert units.max() <= VECTOR_MATH["exp, units in the last place"]


def test_exp_at_the_ends():
    tiny, huge = (np.linspace(*ends, 10001, dtype=np.float32) for ends in ((-200, -87.337), (88.73, 1e4)))
    assert not values(exps, tiny)[0].any()  # and not subnormal, which is slow
    assert np.isinf(values(exps, huge)[0]).all()
    np.testing.assert_array_equal(
        values(exps, [-np.inf, np.inf, np.nan, 0, -3e38, 3e38])[0], [0, np.inf, np.nan, 1, 0, np.inf]
    )


def test_normal_distribution():
    x = points(-14, 14)
    cdf, density = normal_cdf(x), np.exp(-0.5 * x * x) / math.sqrt(2 * math.pi)
    y = values(normals, x)
    assert np.abs(y[0] - cdf).max() <= VECTOR_MATH["Φ, absolute"]
    assert np.abs(y[1] - density).max() <= VECTOR_MATH["φ, absolute"]
    near = x > -5
    assert relative(y[0, near], cdf[near]) <= VECTOR_MATH["Φ, relative above -5"]


def test_sigmoid():
    x = points(-80, 80)
    e = np.exp(-np.abs(x))
    y = values(sigmoids, x)
    assert relative(y[0], 1 / (1 + np.exp(-x))) <= VECTOR_MATH["σ, relative"]
    assert relative(y[1], e / (1 + e) ** 2) <= VECTOR_MATH["σ', relative"]


def test_tanh():
    x = points(-20, 20)
    x = x[x != 0]
    assert relative(values(tanhs, x)[0], np.tanh(x)) <= VECTOR_MATH["tanh, relative"]


@pytest.mark.parametrize(
    ("loop", "expected"),
    [
        (normals, [[np.nan, 1, 0], [np.nan, 0, 0]]),
        (sigmoids, [[np.nan, 1, 0], [np.nan, 0, 0]]),
        (tanhs, [[np.nan, 1, -1]]),
    ],
)
def test_nan_and_infinities(loop, expected):
    np.testing.assert_array_equal(values(loop, [np.nan, np.inf, -np.inf])[: len(expected)], expected)


@pytest.mark.parametrize("size", [1, 2, 7, 8, 9, 15, 16, 17, 33, 100])
@pytest.mark.parametrize("shift", [-100, 0, 100])
def test_the_maximum_wherever_it_stands(size, shift):
    x = (np.random.default_rng(size).standard_normal(size) + shift).astype(np.float32)
    for place in range(size):
        x[place] = x.max() + 1
        assert maximum(x) == x.max() == x[place]


def test_maximum_of_what_is_hardly_a_number():
    for row in [-np.inf, -np.inf], [-np.inf, -3e38, -1e-45], [-0.0, -1.0], [np.inf, 1], [-5, 0, 1e-45]:
        assert maximum(np.array(row, np.float32)) == np.float32(max(row))
    assert maximum(np.empty(0, np.float32)) == -np.inf
