"""Numbers that are none, and references that decide nothing: where they come from is said."""

import numpy as np
import pytest

from minibert.gradcheck import Tolerance, check, curve

X = np.random.default_rng(0).standard_normal((3, 4))
each_method = pytest.mark.parametrize("method", ["complex", "richardson", "all"])


@pytest.fixture(autouse=True)
def quiet():
    """The functions' own warnings, as of overflow, are not what is tested."""
    with np.errstate(all="ignore"):
        yield


def at(value):
    x = X.copy()
    x[1, 2] = value
    return x


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def sigmoid_backward(dy, x):
    return dy * sigmoid(x) * (1 - sigmoid(x))


@each_method
def test_a_result_that_overflows_is_said_to_be_forwards(method):
    (row,) = check(lambda x: np.log1p(np.exp(x)), lambda dy, x: dy * sigmoid(x), [at(1e4)], method=method).rows
    assert row.verdict == "not finite: the result of f"
    assert row.explanation == "The result of f is not finite in 1 of 12 entries: its entry [1, 2] is inf."


@each_method
def test_a_gradient_that_is_not_finite_is_said_to_be_backwards(method):
    (row,) = check(np.sqrt, lambda dy, x: dy / 2 / np.sqrt(x), [np.abs(at(0))], method=method).rows
    assert row.verdict == "not finite"
    assert "The gradient is not finite in 1 of 12 entries: its entry [1, 2] is" in row.explanation


@each_method
@pytest.mark.parametrize("value", [-710.0, -745.0, -800.0])
def test_a_right_gradient_passes_where_only_complex_points_overflow(value, method):
    (row,) = check(sigmoid, sigmoid_backward, [at(value)], method=method).rows
    assert row.ok
    if value == -800 and method != "richardson":
        assert row.verdict == "ok: by differences; at complex points f is not finite"
    (row,) = check(sigmoid, lambda dy, x: 1.001 * sigmoid_backward(dy, x), [at(value)], method=method).rows
    assert row.verdict == "wrong"


@each_method
def test_the_edge_of_a_domain_is_called_one(method):
    (row,) = check(
        np.sqrt, lambda dy, x: dy * np.where(x > 0, 0.5 / np.sqrt(x), 0), [np.abs(at(0))], method=method
    ).rows
    assert row.verdict.startswith("not finite: f's derivative by differences. f and backward are finite here")


@each_method
@pytest.mark.parametrize("factor", [1, 1.2])
def test_a_function_so_rough_that_nothing_can_be_said_does_not_pass(factor, method):
    def waves(slope):
        return lambda x: sum(0.7**k * slope(k, 5.0**k * x) for k in range(20))

    f, g = waves(lambda _, x: np.cos(x)), waves(lambda k, x: -(5.0**k) * np.sin(x))
    (row,) = check(f, lambda dy, x: factor * dy * g(x), [np.array([0.3, 0.4])], method=method).rows
    assert row.verdict.startswith("unsure: f or backward is so rough near this point that an error of")
    assert not row.ok


def test_casts_to_real_are_a_verdict_and_no_warning():
    def f(x):
        y = np.zeros(x.shape)
        y[...] = x * x
        return y

    (row,) = check(f, lambda dy, x: 2 * x * dy, [X]).rows
    assert row.verdict.startswith("not analytic: the result is real although the input was complex")


@pytest.mark.parametrize("steps", [[], [0.1, 0.0], [[0.1]]])
def test_a_curve_needs_steps(steps):
    with pytest.raises(ValueError, match=r"curve: expected steps of shape \(n,\), n at least 1, all positive"):
        curve(np.sin, X, X, steps=steps)


def test_a_tolerance_of_ones_own_is_not_called_rounding():
    (row,) = check(np.sin, lambda dy, x: dy * np.cos(x), [X], tolerance=Tolerance(10, 10)).rows
    assert row.verdict == "ok"
