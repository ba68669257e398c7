"""The step study: differences that choose their step themselves and know their error."""

import math

import numpy as np
import pytest

from minibert.gradcheck import best_difference, one_sided

FUNCTIONS = {
    "sin": (np.sin, np.cos, 0.7),
    "exp of sin": (lambda x: np.exp(np.sin(x)), lambda x: np.cos(x) * np.exp(np.sin(x)), 0.3),
    "fast": (lambda x: np.sin(1e3 * x), lambda x: 1e3 * np.cos(1e3 * x), 0.3),
    "slow": (lambda x: np.sin(1e-3 * x), lambda x: 1e-3 * np.cos(1e-3 * x), 0.3),
    "large": (lambda x: 1e9 + np.exp(x), np.exp, 0.5),
    "edge of its domain": (np.log, lambda x: 1 / x, 1e-3),
}


@pytest.mark.parametrize(("order", "reached"), [(2, 1e-9), (4, 1e-11), (6, 1e-11)])
@pytest.mark.parametrize("name", FUNCTIONS)
def test_the_error_is_what_noise_and_truncation_say(name, order, reached):
    f, slope, at = FUNCTIONS[name]
    for shift in np.linspace(0, 0.1, 20):
        x = np.array([at * (1 + shift)])
        found = best_difference(f, x, np.ones(1), order)
        error = abs(found.value - slope(x).item())
        assert error <= 32 * found.noise + 4 * found.truncation
        if name in ("sin", "exp of sin"):
            assert error <= reached


def test_a_higher_order_takes_a_larger_step():
    steps = [best_difference(np.sin, np.array([0.7]), np.ones(1), order).step for order in (2, 4, 6)]
    assert steps == sorted(steps)
    assert steps[0] < 1e-4 < steps[2]


def test_noise_that_is_added_is_seen_and_the_step_follows_it():
    rng = np.random.default_rng(0)

    def rough(x):
        return np.sin(x) + 1e-8 * rng.standard_normal()

    x, v = np.array([0.7]), np.ones(1)
    found, clean = best_difference(rough, x, v), best_difference(np.sin, x, v)
    assert found.step > 4 * clean.step
    assert 1e-10 < found.noise < 1e-5
    assert abs(found.value - math.cos(0.7)) <= 32 * found.noise + 4 * found.truncation


def test_one_sided_slopes_stay_on_their_side():
    x, v = np.zeros(1), np.ones(1)

    def kinked(x):
        return np.where(x > 0, 3 * x + x * x, np.sin(x)).sum()

    assert one_sided(kinked, x, v).value == pytest.approx(3, abs=1e-8)
    assert one_sided(kinked, x, -v).value == pytest.approx(-1, abs=1e-8)


@pytest.mark.parametrize("size", [1e3, 1e4, 1e5, 1e6, 1e8])
def test_one_large_number_may_stand_in_a_function_of_period_1(size):
    """x's own scale is then |x|, a step that spans many periods."""
    for x in size * (1 + np.arange(20) / 97):
        found = best_difference(np.sin, np.array([x]), np.ones(1))
        error = abs(found.value - math.cos(x))
        assert error <= 32 * found.noise + 4 * found.truncation
        assert error <= 1e-13 * size
        assert not found.unsure


def test_a_derivative_that_depends_on_the_step_is_unsure():
    """Finer and finer waves: at every step another slope."""

    def weierstrass(x):
        return sum(0.7**k * np.cos(5.0**k * x) for k in range(20)).sum()

    assert best_difference(weierstrass, np.array([0.3]), np.ones(1)).unsure
    assert not best_difference(np.exp, np.array([0.3]), np.ones(1)).unsure


def test_other_orders_are_refused():
    with pytest.raises(ValueError, match="expected order 2, 4 or 6, got 5"):
        best_difference(np.sin, np.zeros(1), np.ones(1), 5)


def test_a_function_that_is_never_finite_has_no_derivative():
    assert math.isnan(best_difference(lambda x: x * np.nan, np.ones(2), np.ones(2)).value)
