"""Kinks: told from errors, with both slopes, and a subgradient is accepted."""

import numpy as np
import pytest

from minibert.gradcheck import check, find_kink

X = np.random.default_rng(3).standard_normal((3, 4))


def at(value, *places):
    """X with the value at the places."""
    x = X.copy()
    for place in places:
        x[place] = value
    return x


def relu(x):
    return np.where(x.real > 0, x, 0)


def clip(x):
    return np.where(x.real > 1, 1, np.where(x.real < -1, -1, x))


# f, the slope that a backward pass takes at the kink, where the kink is, its left and right slope
KINKS = {
    "relu": (relu, lambda x: 1.0 * (x > 0), 0.0, (0, 1)),
    "relu, other side": (relu, lambda x: 1.0 * (x >= 0), 0.0, (0, 1)),
    "relu, between": (relu, lambda x: np.where(x == 0, 0.5, x > 0), 0.0, (0, 1)),
    "abs": (np.abs, np.sign, 0.0, (-1, 1)),
    "max": (lambda x: np.maximum(x.real, 0.25), lambda x: 1.0 * (x > 0.25), 0.25, (0, 1)),
    "clip": (clip, lambda x: 1.0 * (np.abs(x) < 1), 1.0, (1, 0)),
}


@pytest.mark.parametrize("name", KINKS)
def test_a_subgradient_at_a_kink_passes_and_is_called_one(name):
    f, slope, kink, (left, right) = KINKS[name]
    x = at(kink, (1, 2))
    report = check(f, lambda dy, x: dy * slope(x), (x,), method="all")
    assert report, f"\n{report}"
    verdict = report.rows[0].verdict
    assert verdict.startswith("kink: left slope ")
    assert verdict.endswith("lies between, a subgradient; at x[1, 2]")
    measured = [float(part.split()[2]) for part in verdict[len("kink: ") :].split(";")[0].split(", ")]
    # the slopes are those of <dy, f>: dy at the place times those of f
    dy = measured[1] / right if right else measured[0] / left
    assert measured == pytest.approx([dy * left, dy * right], rel=1e-3, abs=1e-9)
    assert verdict.split(": ", 1)[1].split(";")[0] in " ".join(str(report).split())


@pytest.mark.parametrize("slope", [1.5, -0.5])
def test_a_gradient_outside_the_two_slopes_is_wrong(slope):
    def backward(dy, x):
        return dy * np.where(x == 0, slope, x > 0)

    (row,) = check(relu, backward, (at(0.0, (1, 2)),), method="all").rows
    assert not row.ok
    assert row.verdict.startswith("wrong: kink: left slope")
    assert "lies outside; at x[1, 2]" in row.verdict


def test_a_kink_excuses_no_error_elsewhere():
    def backward(dy, x):
        d = dy * (x > 0)
        d[0, 0] += 0.1 * dy[0, 0]
        return d

    (row,) = check(relu, backward, (at(0.0, (1, 2)),), method="all").rows
    assert not row.ok
    assert "lies between, but the rest of the gradient is wrong; at x[1, 2]" in row.verdict


def test_several_coordinates_on_a_kink_are_named():
    places = [(0, 0), (0, 3), (1, 2), (2, 1)]
    report = check(relu, lambda dy, x: dy * (x > 0), (at(0.0, *places),), method="all")
    assert report
    assert report.rows[0].verdict.endswith("at x[0, 0], x[0, 3], x[1, 2] and 1 more")


def test_differences_alone_say_that_it_is_a_kink():
    (row,) = check(relu, lambda dy, x: dy * (x > 0), (at(0.0, (1, 2)),), method="richardson").rows
    assert row.verdict == "wrong"
    assert row.explanation.startswith("kink: left slope")
    assert 'method="all" tells kinks from errors' in row.explanation


def test_away_from_its_kink_there_is_none():
    report = check(relu, lambda dy, x: dy * (x > 0), (X,), method="all")
    assert [row.verdict for row in report.rows] == ["ok"]


@pytest.mark.parametrize("scale", [1e-3, 1, 1e3])
def test_smooth_functions_have_no_kinks(scale):
    x = scale * X
    for f, g in ((np.sin, np.cos), (np.exp, np.exp), (lambda x: x**3, lambda x: 3 * x**2)):
        if f is np.exp and scale > 1:
            continue
        assert find_kink(f, x, g(x), np.ones_like(x)) is None


def test_large_arrays_are_not_searched_and_the_verdict_says_so():
    x = np.random.default_rng(0).standard_normal((70, 70))
    x[3, 4] = 0
    (row,) = check(relu, lambda dy, x: dy * (x > 0), (x,), method="all").rows
    assert row.ok
    assert row.verdict.endswith("a subgradient; along a random direction")


def ties():
    x = X.copy()
    x[0, :2], x[2, 1:] = 3.0, 4.0
    return x


def maximum(x):
    return x.max(axis=-1)


def shared(weight):
    """To every one of n entries that are the maximum, weight(n) of the gradient."""

    def backward(dy, x):
        hit = x == x.max(axis=-1, keepdims=True)
        return dy[:, None] * hit * weight(hit.sum(axis=-1, keepdims=True))

    return backward


def to_the_first(dy, x):
    d = np.zeros_like(x)
    d[np.arange(len(x)), x.argmax(axis=-1)] = dy
    return d


@pytest.mark.parametrize("backward", [to_the_first, shared(lambda n: 1 / n)])
def test_a_shared_maximum_has_one_gradient_to_give(backward):
    (row,) = check(maximum, backward, (ties(),), method="all").rows
    assert row.verdict.startswith("kink: ")


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("weight", [lambda n: 1, lambda n: 0.6 / n, lambda n: 0.6 if n == 3 else 1 / n])
def test_to_give_it_to_all_that_share_it_is_wrong_whatever_direction_is_drawn(weight, seed):
    """Along a coordinate each lies between the slopes; what is wrong is their sum."""
    backward = shared(np.vectorize(weight))
    (row,) = check(maximum, backward, (ties(),), method="all", seed=seed).rows
    assert row.verdict.startswith("wrong: kink: ")
