"""GELU in its two forms, relu, silu, tanh: published values, limits, and no warning on the way."""

import math

import numpy as np
import pytest

from minibert import ops

ACTIVATIONS = ("gelu", "gelu_new", "relu", "silu", "tanh")
each_activation = pytest.mark.parametrize("name", ACTIVATIONS)
each_dtype = pytest.mark.parametrize("dtype", [np.float64, np.float32])


def apply(name, x):
    """Value and derivative at every point."""
    y, cache = getattr(ops, name)(x)
    return y, getattr(ops, f"{name}_backward")(np.ones_like(x), cache)


@pytest.mark.parametrize(
    ("name", "x", "expected"),
    [
        ("gelu", 1.0, 0.841345),
        ("gelu", -1.0, -0.158655),
        ("gelu", 3.0, 2.995950),
        ("gelu_new", 1.0, 0.841192),
        ("gelu_new", 3.0, 2.996363),
        ("silu", 1.0, 0.731059),
        ("silu", -1.0, -0.268941),
    ],
)
def test_published_values(name, x, expected):
    assert apply(name, np.array([x]))[0][0] == pytest.approx(expected, abs=5e-7)  # half of the last printed digit


def test_the_two_forms_of_gelu_differ_by_at_most_473_millionths():
    x = np.linspace(-6, 6, 120001)
    gap = np.abs(apply("gelu", x)[0] - apply("gelu_new", x)[0])
    assert gap.max() == pytest.approx(4.73e-4, abs=1e-6)
    assert abs(x[gap.argmax()]) == pytest.approx(2.70, abs=0.01)


@each_activation
@each_dtype
def test_far_out_the_limits_are_exact(name, dtype):
    y, dx = apply(name, np.array([40, -40], dtype=dtype))
    right, left = {"tanh": (1, -1)}.get(name, (40, 0))
    slope = 0 if name == "tanh" else 1
    # silu(-40) is -40·exp(-40) = -1.7e-16 and no rounding: the only one that dies out like exp(x)
    np.testing.assert_allclose(y, [right, left], rtol=0, atol=1e-15)
    np.testing.assert_allclose(dx, [slope, 0], rtol=0, atol=1e-15)


@each_activation
@each_dtype
def test_every_reasonable_input_gives_a_finite_output(name, dtype):
    # float32 holds the cube of 1e12 and not that of 1e13
    magnitudes = 10.0 ** np.arange(-45, 13, dtype=np.float64)
    y, dx = apply(name, np.concatenate([magnitudes, -magnitudes, [0.0, -0.0]]).astype(dtype))
    assert np.isfinite(y).all()
    assert np.isfinite(dx).all()


@each_activation
@each_dtype
def test_zero_keeps_its_sign(name, dtype):
    y, _ = apply(name, np.array([0.0, -0.0], dtype=dtype))
    assert y.tolist() == [0, 0]
    assert np.signbit(y).tolist() == [False, name != "relu"]  # max(-0, 0) is 0


@each_dtype
def test_relu_of_anything_negative_is_zero(dtype):
    y, dx = apply("relu", np.array([-np.inf, -1, -0.0], dtype=dtype))
    assert not np.signbit(y).any()
    assert y.tolist() == dx.tolist() == [0, 0, 0]


@pytest.mark.parametrize("name", ["gelu", "gelu_new", "silu"])
def test_gate_plus_mirrored_gate_is_one(name):
    # y = x·g(x) and g(x) + g(-x) = 1, hence y(x) - y(-x) = x
    x = np.linspace(0, 20, 2001)
    np.testing.assert_allclose(apply(name, x)[0] - apply(name, -x)[0], x, rtol=1e-15, atol=1e-15)


def test_gelu_falls_to_its_published_minimum():
    x = np.linspace(-1, 0, 100001)
    y, dx = apply("gelu", x)
    assert y.min() == pytest.approx(-0.169971, abs=5e-7)
    assert dx[y.argmin()] == pytest.approx(0, abs=1e-5)  # one step of the grid times the curvature


def test_relu_takes_the_derivative_zero_at_zero():
    _, dx = apply("relu", np.array([-1.0, -0.0, 0.0, 5e-324, 1.0]))
    assert dx.tolist() == [0, 0, 0, 1, 1]


def test_the_tail_of_gelu_keeps_its_sign_and_fades():
    # Φ by 1 + erf cancels on the left: what is left is rounding of size u·|x|, never an error of size x.
    x = np.linspace(-38, -5, 1001)
    y, _ = apply("gelu", x)
    exact = np.array([v * 0.5 * math.erfc(-v * math.sqrt(0.5)) for v in x.tolist()])
    assert np.all(np.abs(y - exact) <= 2 * np.finfo(float).eps * np.abs(x))
