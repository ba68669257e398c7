"""The measured tolerance: right operators pass at any scale, an error of 1e-11 does not where the noise permits."""

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from minibert import ops
from minibert.gradcheck import TOLERANCES, check, noise, total_norm
from minibert.gradcheck.noise import neighbours, scatter, spread

SCALES = st.sampled_from([1e-3, 1e-2, 0.1, 1.0, 10.0, 1e2, 1e3])


def operator(name, scale, seed):
    """Arguments of an operator at a scale, none of them at a special point."""
    rng = np.random.default_rng(seed)

    def normal(*shape):
        return scale * rng.standard_normal(shape)

    return {
        "linear": lambda: (normal(5, 4), normal(3, 4), normal(3)),
        "layer_norm": lambda: (normal(4, 6), normal(6), normal(6), 1e-12),
        "gelu": lambda: (normal(4, 6),),
        "softmax": lambda: (normal(4, 6),),
        "feed_forward": lambda: (normal(4, 3), normal(5, 3), normal(5), normal(3, 5), normal(3), "gelu_new"),
        "cross_attention": lambda: (
            normal(3, 4), normal(5, 8), np.array([0, 1, 3]), np.array([0, 2, 5]), 2, 0.0, 0,
        ),
        "cross_entropy": lambda: (normal(4, 5), np.array([0, 4, -100, 2])),
    }[name]()  # fmt: skip


NAMES = ("linear", "layer_norm", "gelu", "softmax", "feed_forward", "cross_attention", "cross_entropy")
each_name = pytest.mark.parametrize("name", NAMES)


def pair(name, factor=1.0):
    forward, backward = getattr(ops, name), getattr(ops, f"{name}_backward")

    def changed(dy, cache):
        grads = backward(dy, cache)
        return tuple(factor * g for g in grads) if isinstance(grads, tuple) else factor * grads

    return forward, changed


@each_name
@given(scale=SCALES, seed=st.integers(0, 2**32 - 1))
@example(scale=1e-3, seed=0)
@example(scale=1e3, seed=0)
def test_right_operators_pass_at_every_scale(name, scale, seed):
    report = check(*pair(name), operator(name, scale, seed))
    assert report, f"\n{report}"


@each_name
@given(scale=SCALES, seed=st.integers(0, 2**32 - 1))
def test_an_error_of_1e_11_is_caught_wherever_the_noise_permits(name, scale, seed):
    args = operator(name, scale, seed)
    right, wrong = check(*pair(name), args), check(*pair(name, 1 + 1e-11), args)
    for sound, planted in zip(right.rows, wrong.rows, strict=True):
        # of three directions one sees more than a hundredth of ‖error‖, but for one draw in some hundred thousand
        if 1e-13 * sound.norm > 2 * sound.tolerance:
            assert not planted.ok, f"{planted.name}: ‖g‖ {sound.norm:.1e}, tolerance {sound.tolerance:.1e}"


@each_name
def test_noise_permits_it_for_nearly_every_gradient(name):
    """What stands above is no empty promise: the tolerance is far below an error of 1e-11."""
    margins = [
        row.tolerance / (1e-11 * row.norm)
        for scale in (1e-3, 1.0)
        for seed in range(5)
        for row in check(*pair(name), operator(name, scale, seed)).rows
        if row.norm
    ]
    assert np.median(margins) < 0.02


@each_name
@pytest.mark.parametrize("method", ["complex", "richardson", "central"])
def test_operators_keep_the_promise_where_nothing_cancels(name, method):
    promise = TOLERANCES[method, "operator"]
    args = operator(name, 1.0, 1)
    report = check(*pair(name), args, method=method)
    assert report, f"\n{report}"
    total = total_norm([np.array(row.norm) for row in report.rows])
    for row in report.rows:
        assert row.error <= promise.relative * row.norm + promise.floor * total


@pytest.mark.parametrize("scale", [1e-150, 1e-12, 1e12, 1e150])
def test_the_tolerance_scales_with_what_is_checked(scale):
    x = np.random.default_rng(0).standard_normal((3, 4))

    def f(x):
        return scale * np.sin(x)

    report = check(f, lambda dy, x: scale * np.cos(x) * dy, (x,))
    assert report
    assert 0 < report.rows[0].tolerance < 1e-12 * report.rows[0].norm
    assert not check(f, lambda dy, x: (1 + 1e-11) * scale * np.cos(x) * dy, (x,))


def test_a_saturated_function_is_held_to_what_rounding_leaves_of_it():
    x = np.full((1, 7), 15.0)  # 1 - tanh² = 4e-13, the difference of numbers whose rounding is 1e-16
    report = check(*pair("tanh"), (x,))
    assert report, f"\n{report}"
    assert not check(*pair("tanh", 1.1), (x,))


# ---- the estimate itself --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("sigma", [1e-16, 1e-9, 1e-3, 1e6])
@pytest.mark.parametrize("slope", [0, 1, 1e3])
def test_the_spread_of_noise_is_found_on_any_smooth_function(sigma, slope):
    t = np.arange(7) * 1e-4
    found = []
    for seed in range(200):
        noise = sigma * np.random.default_rng(seed).standard_normal(7)
        smooth = sigma * slope * (1 + 30 * t + 40 * t * t)
        found.append(spread(smooth + noise))
    assert np.median(found) == pytest.approx(sigma, rel=0.3)
    assert np.quantile(found, 0.99) < 4 * sigma
    assert np.quantile(found, 0.01) > sigma / 32  # what FACTOR makes up for


def test_a_polynomial_has_no_noise():
    assert spread([k**3 - 2 * k for k in range(7)]) == 0
    assert spread([1.0, np.nan] * 4) == 0


@pytest.mark.parametrize("added", [1e-9, 1e-6])
def test_the_noise_of_a_function_is_measured_in_its_units(added):
    rng = np.random.default_rng(0)

    def f(x):
        return np.sin(x).sum() + added * rng.standard_normal()

    x = np.linspace(0, 1, 5)
    assert added / 3 < noise(f, x, np.ones(5)) < 5 * added
    assert noise(lambda x: np.sin(x).sum(), x, np.ones(5)) < 2e-15


@pytest.mark.parametrize("x", [[0.7], [0.7, 0.1, 0.2], [1e-3], [40.0]])
def test_a_result_in_single_precision_is_noisy_although_its_neighbours_are_equal(x):
    def f(x):
        return np.sin(x).sum().astype(np.float32)

    def rounded(x):
        return float(f(x))

    x = np.array(x)
    last_place = float(np.spacing(f(x)))
    for g in (f, rounded):
        assert last_place / 10 < noise(g, x, np.ones_like(x)) < 2 * last_place


def test_neighbours_are_exactly_on_a_line_and_keep_signs_and_zeros():
    x, t = np.array([1.0, -3e-5, 0.0, 7e200]), np.array([1, 5, 6, 800])
    points = np.stack(neighbours(x, t, np.random.default_rng(0)))
    steps = points[2] - points[1]
    assert (points == x + t[:, None] * steps).all()
    assert (np.sign(points) == np.sign(x)).all()
    assert (np.abs(points - x) <= 1e-8 * np.abs(x)).all()
    assert (points[:, x != 0] != x[x != 0]).all()


@pytest.mark.parametrize("sigma", [1e-200, 1e-16, 1e6])
def test_the_scatter_about_a_cubic_is_the_noise(sigma):
    t = np.array([3, 80, 81, 200, 340, 555, 600, 777, 901, 1000])
    found = []
    for seed in range(200):
        found.append(scatter(t, sigma * (np.random.default_rng(seed).standard_normal(10) + 1e-6 * t**3 - t)))
    assert np.sqrt(np.mean(np.square(np.divide(found, sigma)))) == pytest.approx(1, abs=0.1)
    assert scatter(t, [np.nan] * 10) == 0


def test_the_last_place_of_one_number_is_seen_at_uneven_points():
    """A number that moves evenly from one rounding to the next: at even steps, one time in six, no noise would show."""
    t = np.sort(np.random.default_rng(0).choice(np.arange(1, 2**10), 10, replace=False))
    found = [
        scatter(t, 1 + np.spacing(1.0) * np.round(slope * t)) for slope in np.random.default_rng(1).uniform(2, 9, 500)
    ]
    assert np.quantile(found, 0.02) > np.spacing(1.0) / 10
