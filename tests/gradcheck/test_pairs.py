"""What a user may hand in: both conventions, and clear words for everything else."""

from typing import NamedTuple

import numpy as np
import pytest

from minibert.gradcheck import check

X = np.random.default_rng(7).standard_normal((4, 5))


def scale(x, gamma, eps):
    return gamma * x / (1 + eps)


def scale_backward(dy, x, gamma, eps):
    return dy * gamma / (1 + eps), (dy * x).sum(axis=0) / (1 + eps)


def test_plain_functions_on_arrays_are_a_pair():
    report = check(scale, scale_backward, [X, X[0], 0.25])
    assert report, f"\n{report}"
    assert [row.name for row in report.rows] == ["x", "gamma"]  # eps is passed on


def test_a_pair_with_a_cache_is_a_pair():
    def f(x, gamma, eps):
        return scale(x, gamma, eps), (x, gamma, eps)

    assert check(f, lambda dy, cache: scale_backward(dy, *cache), [X, X[0], 0.25])


def test_a_wrong_plain_pair_is_caught():
    report = check(scale, lambda dy, x, gamma, eps: (dy * gamma, scale_backward(dy, x, gamma, eps)[1]), [X, X[0], 0.25])
    assert [row.verdict for row in report.rows] == ["wrong", "ok"]


def test_none_may_stand_for_what_has_no_gradient():
    assert check(scale, lambda dy, *args: (*scale_backward(dy, *args), None), [X, X[0], 0.25])


def test_a_function_may_return_a_number():
    assert check(lambda x: (x * x).sum(), lambda dy, x: 2 * x * dy, [X])
    assert check(lambda x: ((x * x).sum(), x), lambda dy, x: 2 * x * dy, [X])


@pytest.mark.parametrize(
    ("f", "backward", "args", "words"),
    [
        (
            scale,
            lambda dy, cache: dy,
            [X, X[0], 0.1],
            r"an array alone, so backward is called as f_backward\(dy, x, gamma, eps\)",
        ),
        (
            lambda x: (x, x),
            lambda dy, x, more: dy,
            [X],
            r"f returns \(y, cache\), so backward is called as f_backward\(dy, cache\)",
        ),
        (
            lambda x: (np.sin(x), np.cos(x)),
            lambda dy, dz, x: dy,
            [X],
            r"second output, join the two \(np.concatenate\), and let backward split dy",
        ),
        (lambda x: x * x, lambda dy, x: 2 * x * dy, X, r"got a float64 array alone: put it in \[\]"),
        (
            lambda x: None,
            lambda dy, x: dy,
            [X],
            r"expected f to return a float64 array y, or \(y, cache\); got NoneType",
        ),
        (lambda x: [x], lambda dy, x: dy, [X], "got list"),
        (lambda x: x.astype(np.float32), lambda dy, x: dy, [X], "got float32 array"),
        (lambda x: x > 0, lambda dy, x: dy, [X], "got bool array"),
        (lambda x: (x, x, x), lambda dy, x: dy, [X], "got a tuple of 3"),
        (3, lambda dy, x: dy, [X], "expected f to be a function, got int"),
        (scale, None, [X], "expected f_backward to be a function, got NoneType"),
        (
            lambda x: x,
            lambda dy, x: [dy, dy],
            [X],
            "a gradient for each of x, and none for other arguments; backward returned 2",
        ),
        (lambda x: x, lambda dy, x: {"x": dy}, [X], "expected backward to return arrays, got dict"),
        (lambda x: x, lambda dy, x: dy, [X.tolist()], "expected args to be a list with at least one float64 array"),
    ],
    ids=range(14),
)
def test_misuse_is_refused_in_words(f, backward, args, words):
    with pytest.raises(TypeError, match=words):
        check(f, backward, args)


def test_a_second_output_is_not_silently_a_cache():
    (row,) = check(lambda x: (np.sin(x), np.cos(x)), lambda dy, x: np.cos(x) * dy, [X]).rows
    assert row.verdict == "wrong"
    assert "the second as the cache, which is not differentiated" in row.explanation
    (row,) = check(lambda x: (np.sin(x), x), lambda dy, x: np.sin(x) * dy, [X]).rows  # a cache, and a wrong gradient
    assert "second" not in row.explanation


@pytest.mark.parametrize("names", [["a"], "ab", ["a", "b", "c"]])
def test_names_are_one_for_each_array(names):
    with pytest.raises(ValueError, match="names: expected a list of 2, one for each of x, gamma; got"):
        check(scale, scale_backward, [X, X[0], 0.25], names=names)


def test_names_are_those_of_explanations():
    def backward(dy, x, gamma, eps):
        return dy / (1 + eps), (dy * x).sum(axis=0) / (1 + eps)

    report = check(scale, backward, [X, X[0], 0.25], names=["input", "gain"])
    assert "Multiplied by gain it is the truth" in report.rows[0].explanation


def test_a_function_may_refuse_other_arguments():
    """What check tries besides the arguments it was given must not be what it fails on."""

    def f(p):
        if not np.allclose(p.sum(axis=-1), 1, atol=1e-6):
            raise ValueError("expected rows that sum to 1")
        return p * p

    p = np.array([[0.2, 0.8], [0.5, 0.5]])
    assert check(f, lambda dy, p: 2 * p * dy, [p])


# ---- purity ---------------------------------------------------------------------------------------------------------


class Cache(NamedTuple):
    x: np.ndarray
    more: dict


def cached(x):
    return x * x, Cache(x.copy(), {"parts": [x.copy(), (x.copy(),)]})


def verdicts(f, backward, args=(X,)):
    return [row.verdict for row in check(f, backward, args).rows]


@pytest.mark.parametrize(
    ("place", "path"),
    [
        (lambda c: c.x, "cache.x"),
        (lambda c: c.more["parts"][0], "cache.more['parts'][0]"),
        (lambda c: c.more["parts"][1][0], "cache.more['parts'][1][0]"),
    ],
)
def test_a_cache_that_is_written_to_is_named_by_its_path(place, path):
    def backward(dy, cache):
        dx = 2 * cache.x * dy
        place(cache)[...] = X + 1 if path != "cache.x" else X
        if path == "cache.x":
            cache.x[0, 0] = np.nextafter(X[0, 0], 9)
            return 2 * X * dy
        return dx

    assert verdicts(cached, backward) == [f"impure: the cache was written to, at {path}"]


def test_a_cache_that_is_shared_between_calls_is_named():
    buffer = np.empty_like(X)

    def f(x):
        if np.iscomplexobj(x):
            return x * x, x
        buffer[...] = x
        return x * x, buffer

    assert verdicts(f, lambda dy, cache: 2 * cache * dy) == [
        "impure: a second forward pass overwrites the cache of the first"
    ]


class Layer:
    """What people write first: forward keeps what backward needs."""

    def __init__(self, factor=2):
        self.factor = factor

    def forward(self, x):
        self.x = x
        return x * x

    def backward(self, dy):
        return self.factor * self.x * dy


@pytest.mark.parametrize("method", ["complex", "richardson", "all"])
def test_a_layer_that_keeps_its_input_is_no_offence(method):
    right, wrong = Layer(), Layer(3)
    assert check(right.forward, right.backward, [X], method=method)
    assert check(right.forward, lambda dy, x: right.backward(dy), [X], method=method)
    assert check(lambda x: (right.forward(x), None), lambda dy, cache: right.backward(dy), [X], method=method)
    assert [row.verdict for row in check(wrong.forward, wrong.backward, [X], method=method).rows] == ["wrong"]


def test_a_layer_that_keeps_more_than_its_last_input_is():
    class Sum(Layer):
        total = 0.0

        def forward(self, x):
            self.total += 1
            return super().forward(x)

        def backward(self, dy):
            return 2 * self.x * dy * (1 + 1e-3 * self.total)

    layer = Sum()
    (row,) = check(layer.forward, layer.backward, [X]).rows
    assert row.verdict.startswith("not repeatable")


def test_handing_on_the_upstream_gradient_is_no_offence():
    report = check(lambda a, b: a + b, lambda dy, a, b: (dy, dy), (X, X + 1))
    assert report, f"\n{report}"


def test_arguments_are_put_back_when_they_were_written_to():
    x = X.copy()

    def f(x):
        y = x * x
        x += 1
        return y

    check(f, lambda dy, x: 2 * x * dy, (x,))
    assert x[0, 0] - X[0, 0] <= 1  # the one call that shows it, and no more
