"""Hessian-vector products and Taylor's remainders."""

import math

import numpy as np
import pytest

from minibert import ops
from minibert.gradcheck import NotAnalytic, hessian_vector, taylor

rng = np.random.default_rng(2)
INPUT, LABELS = rng.standard_normal((5, 3)), np.array([0, 2, 1, 1, 3])
SHAPES = ((6, 3), (6,), (4, 6), (4,))  # two layers, 3 -> 6 -> 4
THETA = 0.7 * rng.standard_normal(sum(map(math.prod, SHAPES)))


def unpacked(theta):
    parts = np.split(theta, np.cumsum([math.prod(shape) for shape in SHAPES])[:-1])
    return [part.reshape(shape) for part, shape in zip(parts, SHAPES, strict=True)]


def forward(theta):
    w1, b1, w2, b2 = unpacked(theta)
    u, first = ops.linear(INPUT, w1, b1)
    a, activated = ops.gelu(u)
    logits, second = ops.linear(a, w2, b2)
    value, loss = ops.cross_entropy(logits, LABELS)
    return value, (first, activated, second, loss)


def loss(theta):
    return forward(theta)[0]


def gradient(theta):
    first, activated, second, cache = forward(theta)[1]
    da, dw2, db2 = ops.linear_backward(ops.cross_entropy_backward(np.float64(1), cache), second)
    _, dw1, db1 = ops.linear_backward(ops.gelu_backward(da, activated), first)
    return np.concatenate([g.reshape(-1) for g in (dw1, db1, dw2, db2)])


def test_the_hessian_of_two_layers_is_symmetric():
    hessian = np.stack([hessian_vector(gradient, THETA, e) for e in np.eye(THETA.size)])
    assert np.abs(hessian).max() > 0.1
    assert np.abs(hessian - hessian.T).max() <= 1e-13 * np.abs(hessian).max()


def test_the_hessian_is_that_of_a_quadratic_form():
    a = rng.standard_normal((4, 4))
    v = rng.standard_normal(4)
    product = hessian_vector(lambda x: (a + a.T) @ x, np.ones(4), v)
    np.testing.assert_allclose(product, (a + a.T) @ v, rtol=1e-15, atol=1e-15)


def test_a_gradient_that_does_not_depend_on_x_has_hessian_0():
    assert not hessian_vector(lambda x: np.arange(3.0), np.ones(3), np.ones(3)).any()


def test_a_gradient_that_drops_the_imaginary_part_is_refused():
    with pytest.raises(NotAnalytic, match="the gradient is real although the input was complex"):
        hessian_vector(np.abs, np.ones(3), np.ones(3))
    with pytest.raises(ValueError, match=r"expected a gradient of x's shape \(3,\), got \(\)"):
        hessian_vector(lambda x: x.sum(), np.ones(3), np.ones(3))


def test_remainders_fall_at_the_rates_1_2_3():
    found = taylor(loss, gradient, THETA, rng.standard_normal(THETA.size))
    assert found.rates == pytest.approx((1, 2, 3), abs=0.05)
    lines = str(found).splitlines()
    assert lines[0].split() == ["step", "R0", "R1", "R2"]
    assert len(lines) == len(found.steps) + 2
    assert [round(float(rate)) for rate in lines[-1].split()[1:]] == [1, 2, 3]


@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e6])
def test_rates_do_not_see_the_rounding_floor(scale):
    """Thirty halvings run deep into rounding, where remainders are noise and their quotients anything."""
    x, v = np.array([0.3, 0.7]), np.array([1.0, -0.5])
    found = taylor(lambda x: scale * np.exp(np.sin(x)).sum(), lambda x: scale * np.cos(x) * np.exp(np.sin(x)), x, v,
                   halvings=30)  # fmt: skip
    assert found.rates == pytest.approx((1, 2, 3), abs=0.05)
    assert "rounding" in str(found)


def test_a_wrong_gradient_shows_in_the_rates():
    found = taylor(loss, lambda theta: 1.1 * gradient(theta), THETA, np.ones(THETA.size))
    assert found.rates == pytest.approx((1, 1, 1), abs=0.1)


def test_a_quadratic_function_has_no_third_remainder():
    found = taylor(lambda x: (x * x).sum(), lambda x: 2 * x, np.array([1.0, 2.0]), np.array([1.0, -0.3]))
    assert found.rates[:2] == pytest.approx((1, 2), abs=0.1)
    assert found.rates[2] == math.inf


@pytest.mark.parametrize(("at", "frequency"), [(0.7, 1e6), (1e4, 1.0), (0.7, 1.0), (3.0, 1e-4)])
def test_the_first_step_follows_the_function_and_not_the_argument_alone(at, frequency):
    def f(x):
        return np.sin(frequency * x).sum()

    def slope(x):
        return frequency * np.cos(frequency * x)

    x, v = np.array([at]), np.ones(1)
    assert taylor(f, slope, x, v).rates == pytest.approx((1, 2, 3), abs=0.15)
    assert taylor(f, lambda x: 1.1 * slope(x), x, v).rates == pytest.approx((1, 1, 1), abs=0.15)
