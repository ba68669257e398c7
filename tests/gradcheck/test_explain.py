"""Explanations: shapes, numbers that are none, the worst entries, large arrays, and errors that nothing explains."""

import numpy as np
import pytest

from minibert.gradcheck import check
from tests.gradcheck.planted import GAMMA, B, W, X, cube, layer_norm, layer_norm_backward, linear, said, wrong_linear


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def test_a_gradient_that_is_not_summed_where_forward_broadcasts():
    words = said(linear, wrong_linear(bias=lambda dy, x, w: dy), (X, W, B), "bias")
    assert (
        "It is not summed over axis 0: where forward broadcasts, backward sums. Sum it. Then it is the truth." in words
    )


def test_other_shapes():
    kept = wrong_linear(bias=lambda dy, x, w: dy.sum(axis=0, keepdims=True))
    assert "(keepdims keeps an axis that the argument has not). Then it is the truth." in said(
        linear, kept, (X, W, B), "bias"
    )
    words = said(cube, lambda dy, x: (3 * x**2 * dy).sum(axis=0), (X,), "x")
    assert "It is the truth summed over axis 0, one sum too many." in words
    words = said(cube, lambda dy, x: np.ones((7, 11)), (X,), "x")
    assert "no sum, transposition or reshaping turns this one into it" in words


def test_not_a_number():
    words = said(cube, lambda dy, x: 3 * x**2 * dy * np.where(x == x[1, 2], np.nan, 1), (X,), "x")
    assert "The gradient is not finite in 1 of 24 entries: its entry [1, 2] is nan. The result of f is finite" in words


def test_a_dtype():
    words = said(cube, lambda dy, x: (3 * x**2 * dy).astype(np.float32), (X,), "x")
    assert "Backward returns float32 for a float64 argument" in words


@pytest.mark.parametrize(
    "wrong",
    [lambda x: 3 * x**2 + np.sin(40 * x), lambda x: 3 * np.abs(x), lambda x: 3 * x**2 * np.exp(x * x)],
    ids=["sine", "abs", "exp"],
)
def test_what_fits_nothing_is_said_to_fit_nothing(wrong):
    words = said(cube, lambda dy, x: wrong(x) * dy, (X,), "x")
    assert words.endswith("The error has none of the forms that are known here: it is not explained.")
    assert "wrong in all 24 entries; the worst:" in words


def test_noise_on_a_gradient_is_explained_by_nothing():
    noise = np.random.default_rng(5).standard_normal(X.shape)
    words = said(cube, lambda dy, x: 3 * x**2 * dy + 1e-6 * noise * dy, (X,), "x")
    assert words.endswith("it is not explained.")


def test_the_worst_entries_are_shown_with_both_numbers():
    def backward(dy, x):
        d = 3 * x**2 * dy
        d[4, 1] += 0.5
        return d

    words = said(cube, backward, (X,), "x")
    (index, values) = words.partition("[")[2].partition("]")[::2]
    assert index == "4, 1"
    numbers = values.split()
    assert float(numbers[1]) - float(numbers[3]) == pytest.approx(0.5)
    assert "wrong in 1 of 24 entries, in row 4" in words


def test_large_arrays_are_sampled_and_a_single_wrong_entry_is_still_found(rng):
    x = rng.standard_normal((300, 40))

    def backward(dy, x):
        d = 3 * x**2 * dy
        d[217, 3] *= 1.001
        return d

    words = said(cube, backward, (x,), "x")
    assert "that were looked at, of 12000" in words
    assert "[217, 3]" in words


def test_explanations_without_complex_numbers():
    words = said(
        layer_norm, layer_norm_backward(mean=0), (X, GAMMA), "x", method="richardson"
    )  # the truth is then Richardson's
    assert "constant along axis 1" in words


def test_a_weight_that_is_sampled_has_other_rows_than_the_result():
    """More than 4096 entries, the result of as many columns but fewer rows."""
    rng = np.random.default_rng(0)
    x, w = rng.standard_normal((8, 60)), rng.standard_normal((90, 60))
    report = check(lambda x, w: (x @ w.T) @ w, lambda dy, x, w: ((dy @ w.T) @ w, (x @ w.T).T @ dy), [x, w])
    assert [row.ok for row in report.rows] == [True, False]
    assert "wrong in" in report.explain()


def test_factors_are_known_without_complex_numbers():
    assert "a factor 24 too many" in said(cube, lambda dy, x: 72 * x**2 * dy, (X,), "x", method="richardson")


def test_forms_that_overflow_are_passed_over_in_silence():
    words = said(cube, lambda dy, x: 1e-200 * x**2 * dy, (1e3 + 0 * X,), "x")
    assert "times the truth, everywhere: one constant factor." in words


def test_a_single_number_has_no_rows():
    words = said(cube, lambda dy, x: dy * x, (np.array(2.0),), "x")
    assert "wrong in its one entry" in words
