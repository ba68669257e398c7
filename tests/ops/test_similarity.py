"""Pooling, cosines and the two losses of them: sentence-transformers' numbers, and the limits."""

from pathlib import Path

import numpy as np
import pytest

from minibert import gradcheck, ops
from minibert.engines import cpu

FIXTURE = Path(__file__).parent / "fixtures" / "sentences.npz"
RANKINGS = {"ranking": 20.0, "ranking at 5": 5.0, "symmetric": 20.0}
each_dtype = pytest.mark.parametrize("dtype", [np.float64, np.float32])


def case(name, dtype):
    """Part -> array, of one case of tools/make_sentence_fixtures.py."""
    with np.load(FIXTURE) as file:
        parts = {key.partition(".")[2]: file[key] for key in file.files if key.partition(".")[0] == name}
    return {key: x.astype(dtype) if x.dtype == np.float64 else x for key, x in parts.items()}


def close(actual, expected, dtype):
    assert np.asarray(actual).dtype == dtype
    np.testing.assert_allclose(actual, expected, rtol=0, atol=1e-14 if dtype == np.float64 else 2e-6)


@each_dtype
def test_regression_is_that_of_sentence_transformers(dtype):
    parts = case("cosine", dtype)
    cosines, cache = ops.cosine(parts["a"], parts["b"])
    loss, error = ops.mean_squared_error(cosines, parts["scores"])
    da, db = ops.cosine_backward(ops.mean_squared_error_backward(1.0, error), cache)
    for name, value in (("loss", loss), ("da", da), ("db", db)):
        close(value, case("cosine", np.float64)[name], dtype)


@each_dtype
@pytest.mark.parametrize("name", RANKINGS)
def test_ranking_is_that_of_sentence_transformers(name, dtype):
    parts, exact = case(name, dtype), case(name, np.float64)
    right = np.arange(len(parts["a"]))
    x, cache = ops.cosine_matrix(parts["a"], parts["b"], RANKINGS[name])
    loss, picked = ops.cross_entropy(x, right)
    dx = ops.cross_entropy_backward(1.0, picked)
    if name == "symmetric":
        other, picked = ops.cross_entropy(x.T, right)
        loss, dx = (loss + other) / dtype(2), (dx + ops.cross_entropy_backward(1.0, picked).T) / dtype(2)
    da, db = ops.cosine_matrix_backward(dx, cache)
    for part, value in (("loss", loss), ("da", da), ("db", db)):
        close(value, exact[part], dtype)


@each_dtype
def test_pooling_and_normalising_are_those_of_sentence_transformers(dtype):
    parts, exact = case("pooling", dtype), case("pooling", np.float64)
    mask = parts["mask"]
    pooled, before = ops.mean_pool(parts["x"][mask], np.concatenate([[0], np.cumsum(mask.sum(axis=1))]))
    y, cache = ops.unit(pooled)
    close(y, exact["y"], dtype)
    dx = ops.mean_pool_backward(ops.unit_backward(parts["dy"], cache), before)
    close(dx, exact["dx"][mask], dtype)
    assert not exact["dx"][~mask].any()


@each_dtype
def test_what_has_no_direction_is_zero_and_so_is_its_gradient(dtype):
    x = np.array([[0, 0, 0], [1, 2, 2]], dtype)
    y, cache = ops.unit(x)
    np.testing.assert_array_equal(y, [[0, 0, 0], [dtype(1) / dtype(3), dtype(2) / dtype(3), dtype(2) / dtype(3)]])
    np.testing.assert_array_equal(ops.unit_backward(np.ones_like(x), cache)[0], 0)
    cosines, cache = ops.cosine(x, x[::-1])
    assert not cosines.any()
    assert all(np.isfinite(gradient).all() for gradient in ops.cosine_backward(np.ones(2, dtype), cache))


@each_dtype
def test_a_text_of_no_token_has_no_mean(dtype):
    y, cache = ops.mean_pool(np.ones((2, 3), dtype), np.array([0, 0, 2, 2]))
    np.testing.assert_array_equal(y, [[0] * 3, [1] * 3, [0] * 3])
    np.testing.assert_array_equal(ops.mean_pool_backward(np.ones((3, 3), dtype), cache), np.full((2, 3), 0.5))
    y, cache = ops.mean_pool(np.ones((0, 3), dtype), np.array([0]))
    assert y.shape == ops.mean_pool_backward(y, cache).shape == (0, 3)


def test_no_gradient_of_a_direction_has_a_part_along_it():
    rng = np.random.default_rng(0)
    a, b, dy = rng.standard_normal((3, 6, 5))
    for scale in (1.0, 1e3):
        _, cache = ops.cosine(scale * a, b)
        da, db = ops.cosine_backward(dy[:, 0], cache)
        np.testing.assert_allclose([(da * a).sum(axis=1), (db * b).sum(axis=1)], 0, atol=1e-14)
    _, cache = ops.cosine(a, b)
    np.testing.assert_allclose(scale * da, ops.cosine_backward(dy[:, 0], cache)[0], rtol=1e-12)


def test_every_entry_of_a_ranking_s_gradient_is_the_complex_step():
    rng = np.random.default_rng(1)
    a, b = rng.standard_normal((2, 4, 3))
    right = np.arange(4)

    def loss(a, b):
        return ops.cross_entropy(ops.cosine_matrix(a, b, 20.0)[0], right)[0]

    x, cache = ops.cosine_matrix(a, b, 20.0)
    da, db = ops.cosine_matrix_backward(ops.cross_entropy_backward(1.0, ops.cross_entropy(x, right)[1]), cache)
    for place in np.ndindex(a.shape):
        along = np.zeros(a.shape)
        along[place] = 1
        assert abs(gradcheck.complex_step(lambda a: loss(a, b), a, along) - da[place]) < 1e-14
        assert abs(gradcheck.complex_step(lambda b: loss(a, b), b, along) - db[place]) < 1e-14


def test_the_engine_takes_the_reference():
    a, b = np.random.default_rng(2).standard_normal((2, 4, 3)).astype(np.float32)
    for name, args in (("cosine", ()), ("cosine_matrix", (20.0,))):
        one, other = (getattr(engine, name)(a, b, *args)[0] for engine in (ops, cpu))
        np.testing.assert_array_equal(one, other)
