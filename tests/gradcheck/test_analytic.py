"""Of some forward passes the complex step differentiates a part only; who forgets the rest is not confirmed.

NumPy's warning of casts to real is the check's to hear, not the user's: here warnings are errors.
"""

import numpy as np
import pytest

from minibert.gradcheck import check, check_gradients, complex_step
from minibert.gradcheck.analytic import contradicted

rng = np.random.default_rng(5)
X, G, B = rng.standard_normal((6, 5)), rng.standard_normal(5), rng.standard_normal(5)


def layer_norm(x, g, b):
    return g * (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-5) + b


def layer_norm_backward(dy, x, g, b, variance=True):
    r = 1 / np.sqrt(x.var(-1, keepdims=True) + 1e-5)
    xhat, d = (x - x.mean(-1, keepdims=True)) * r, dy * g
    dx = d - d.mean(-1, keepdims=True) - variance * xhat * (d * xhat).mean(-1, keepdims=True)
    return r * dx, (dy * xhat).sum(0), dy.sum(0)


def norm(x):
    return np.linalg.norm(x, axis=-1, keepdims=True)


PARTS = {
    "np.var": (layer_norm, lambda *a: layer_norm_backward(*a, variance=False), layer_norm_backward, [X, G, B]),
    "np.linalg.norm": (
        lambda x: x / norm(x),
        lambda dy, x: dy / norm(x),
        lambda dy, x: (dy - x * (dy * x).sum(-1, keepdims=True) / norm(x) ** 2) / norm(x),
        [X],
    ),
    "np.abs": (
        lambda x: x / (1 + np.abs(x)),
        lambda dy, x: dy / (1 + np.abs(x)),
        lambda dy, x: dy / (1 + np.abs(x)) ** 2,
        [X],
    ),
}


@pytest.mark.parametrize("method", ["complex", "richardson", "all"])
@pytest.mark.parametrize("name", PARTS)
def test_what_the_complex_step_does_not_see_is_seen(name, method):
    f, wrong, right, args = PARTS[name]
    row = check(f, wrong, args, method=method).rows[0]
    assert not row.ok
    if method != "all":
        assert row.verdict == "wrong"
        assert "wrong in" in row.explanation
    row = check(f, right, args, method=method).rows[0]
    assert row.ok if method == "richardson" else row.verdict.startswith("not analytic")


def test_the_numbers_that_are_called_true_are_true():
    report = check(*PARTS["np.var"][:2], [X, G, B])
    words = report.explain()
    index, _, rest = words.partition("[")[2].partition("]")
    i, j = map(int, index.split(","))
    named = float(rest.split("true")[1].split()[0])
    one = check(*PARTS["np.var"][:2], [X, G, B], method="richardson")
    again = float(one.explain().partition(f"[{i}, {j}]")[2].split("true")[1].split()[0])
    assert named == pytest.approx(again, rel=1e-6)


def test_functions_of_many_tensors_too():
    def f(p):
        return (np.abs(p["x"]) * p["x"]).sum()

    right, wrong = 2 * np.abs(X), np.abs(X)  # the complex step sees one factor only
    assert check_gradients(f, {"x": X}, {"x": right}).rows[0].verdict.startswith("not analytic")
    assert check_gradients(f, {"x": X}, {"x": wrong}).rows[0].verdict == "wrong"


@pytest.mark.parametrize("scale", [1e-8, 1e-3, 1.0, 1e3, 1e8])
@pytest.mark.parametrize(
    "f",
    [np.sin, np.tanh, np.exp, lambda x: x**3, lambda x: 1 / x],
    ids=["sin", "tanh", "exp", "cube", "inverse"],
)
def test_analytic_functions_are_believed_at_any_scale(f, scale):
    x, v = scale * (1 + np.abs(X)), rng.standard_normal(X.shape)

    def total(x):
        return f(x).sum()

    with np.errstate(all="ignore"):
        assert not contradicted(total, x, v, float(complex_step(total, x, v)))


def test_a_forward_pass_that_writes_is_told_and_the_callers_array_is_as_it_was():
    x = np.array([3.0, 1.0, 2.0])

    def f(x):
        x.sort()
        return x * 1.0

    row = check(f, lambda dy, x: dy, [x]).rows[0]
    assert row.verdict == "impure: an argument was written to"
    assert x.tolist() == [3, 1, 2]


def test_a_mean_without_its_one_over_n_is_named():
    report = check(lambda x: x.mean(), lambda dy, x: dy * np.ones_like(x), [rng.standard_normal((8, 5))])
    words = " ".join(report.explain().split())
    assert "a factor 40 too many, or 1/40 missing. 40 is the number of entries of x." in words


def test_large_arrays_are_not_gone_through_entry_by_entry():
    x = rng.standard_normal((1, 128, 768))
    row = check(np.tanh, lambda dy, x: dy * (1 - np.tanh(x)), [x], directions=1).rows[0]
    assert row.verdict == "wrong"
    assert "too many to be looked at one by one" in row.explanation


def test_a_function_may_insist_on_its_arguments():
    """The check tries others than it was given, which the function refuses in its own way."""

    def square(x):
        assert np.real(x)[0, 0] > np.real(x)[0, 1], "rows must fall"
        return x * x

    assert check(square, lambda dy, x: 2 * x * dy, [np.array([[3.0, 1.0, 2.0], [1.0, 5.0, 2.0]])])
