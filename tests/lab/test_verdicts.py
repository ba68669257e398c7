"""The checker's words: impure functions, functions that are not analytic, kinks, and numbers that are none."""

import math

import numpy as np
import pytest

from minibert.gradcheck import Tolerance, check, check_gradients, judge

METHODS = ("complex", "richardson", "central")
X = np.random.default_rng(0).standard_normal((4, 5))


def square(x):
    return x * x, x


def square_backward(dy, x):
    return 2 * x * dy


def product(a, b):
    return a * b, (a, b)


def relu(x):
    return x * (x.real > 0), x.real > 0


def relu_backward(dy, positive):
    return dy * positive


def verdicts(report):
    return [row.verdict for row in report.rows]


# ---- impure functions -----------------------------------------------------------------------------------------------


def test_a_forward_that_writes_into_its_argument_is_named():
    def f(x):
        x *= 1.5
        return x * x, x.copy()

    assert verdicts(check(f, square_backward, (X.copy(),))) == ["impure: an argument was written to"]


def test_a_backward_that_writes_into_the_upstream_gradient_is_named():
    def backward(dy, x):
        dy *= 2 * x
        return dy

    assert verdicts(check(square, backward, (X,))) == ["impure: the upstream gradient was written to"]


def test_fresh_randomness_in_forward_is_named():
    rng = np.random.default_rng(0)

    def fresh_dropout(x):
        keep = rng.random(x.shape) > 0.5
        return x * keep, keep

    report = check(fresh_dropout, lambda dy, keep: dy * keep, (X,))
    assert verdicts(report) == ["not deterministic: forward differs when called again"]


def test_a_backward_that_uses_up_its_cache_is_named():
    def backward(dy, x):
        dx = 2 * x * dy
        x *= 0
        return dx

    report = check(lambda x: (x * x, x.copy()), backward, (X,))
    assert verdicts(report) == ["not repeatable: backward differs when called again"]


# ---- functions that the complex step cannot differentiate -----------------------------------------------------------


def drop_by_cast(x):
    y = np.empty(x.shape)
    y[...] = x.real
    return y * y, x


@pytest.mark.parametrize(
    ("f", "backward", "words"),
    [
        (lambda x: (np.abs(x), x), lambda dy, x: dy * np.sign(x), "the result is real"),
        (lambda x: (x.real**2, x), square_backward, "the result is real"),
        (drop_by_cast, square_backward, "the result is real"),
        (lambda x: (x - np.floor(x), x), lambda dy, x: dy, "ufunc 'floor' not supported"),
        (lambda x: (x * np.abs(x), x), lambda dy, x: 2 * np.abs(x) * dy, "differences confirm the gradient"),
        (lambda x: (x * np.conj(x), x), square_backward, "differences confirm the gradient"),
    ],
    ids=["abs", "real", "cast", "floor", "x abs x", "conj"],
)
def test_functions_that_are_not_analytic_are_named_and_not_called_wrong(f, backward, words):
    (verdict,) = verdicts(check(f, backward, (X,)))
    assert verdict.startswith("not analytic: ")
    assert words in verdict
    assert check(f, backward, (X,), method="richardson")  # the way out


@pytest.mark.filterwarnings("ignore:Casting complex values to real")
def test_python_floats_inside_are_not_analytic():
    def f(x):
        return np.array([float(v) ** 2 for v in x.flat]).reshape(x.shape), x

    assert verdicts(check(f, square_backward, (X,)))[0].startswith("not analytic: the result is real")


def test_a_wrong_gradient_is_not_excused_as_not_analytic():
    wrong = check(lambda x: (x * np.abs(x), x), lambda dy, x: 3 * np.abs(x) * dy, (X,))
    assert verdicts(wrong) == ["wrong"]


def test_away_from_its_kink_relu_passes_by_every_method():
    for method in METHODS:
        assert check(relu, relu_backward, (X,), method=method)  # |x| > 0.01: no step crosses 0


def test_at_its_kink_the_complex_step_agrees_with_the_convention_and_differences_do_not():
    # The complex step never leaves the point, so it takes the side that forward takes, derivative 0, as backward does.
    # Differences contradict it: they see the mean of the two sides, 1/2. Both slopes are asked for then, and told.
    x = X.copy()
    x[0, 0] = 0
    first, *others = (verdicts(check(relu, relu_backward, (x,), method=m))[0] for m in METHODS)
    assert first.startswith("kink: left slope 0, right slope ")
    assert others == ["wrong", "wrong"]


# ---- the verdict ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("errors", [[math.nan], [0.0, math.nan], [math.nan, 0.0], [0.0, math.inf]], ids=str)
def test_an_error_that_is_not_a_number_never_passes(errors):
    row = judge("x", X, errors, Tolerance(math.inf, math.inf), 1.0)
    assert not row.ok
    assert row.verdict == "not finite"


def test_nan_compared_with_nan_never_passes():
    report = check(lambda x: (x * np.nan, x), lambda dy, x: dy * np.nan, (X,))
    assert not report.ok
    assert verdicts(report) == ["not finite: the result of f"]


@pytest.mark.filterwarnings("ignore:invalid value:RuntimeWarning")  # of inf - inf
@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize(("factor", "verdict"), [(1, "ok"), (1.001, "wrong")])
def test_a_gradient_that_is_not_finite_neither_excuses_nor_blames_another(value, factor, verdict):
    report = check(product, lambda dy, c: (np.full(X.shape, value), factor * dy * c[0]), (X, X + 1))
    assert verdicts(report) == ["not finite", verdict]
    assert not report.ok


def test_the_tolerance_has_a_part_of_its_own_norm_and_a_floor_of_all():
    g = np.array([3.0, 4.0])
    assert judge("x", g, [0.5], Tolerance(0.1, 0), 100).tolerance == 0.5
    assert judge("x", g, [0.5], Tolerance(0.1, 0), 100).ok
    assert judge("x", g, [0.6], Tolerance(0.1, 0), 100).verdict == "wrong"
    assert judge("x", g, [0.6], Tolerance(0.1, 0.001), 100).ok


def test_a_tolerance_of_ones_own_is_used():
    nearly = check(square, lambda dy, x: 2.002 * x * dy, (X,), tolerance=Tolerance(1e-2, 0))
    assert nearly.ok
    assert not check(square, square_backward, (X,), tolerance=Tolerance(0, 0)).ok


def test_an_empty_report_is_no_pass():
    assert not check_gradients(lambda p: 0.0, {}, {})
