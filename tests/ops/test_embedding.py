"""Gather and scatter: each the transpose of the other, and of a matrix of zeros and ones that nobody forms."""

import numpy as np
import pytest

from minibert import engines, ops

V, H = 7, 5
IDS = np.array([3, 0, 3, 3, 6, 0])  # repeated, and 1, 2, 4, 5 never asked for


def random(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape)


@pytest.fixture
def onehot():
    return np.eye(V)[IDS]  # S (N, V)


def test_lookup_is_a_product_with_the_one_hot_matrix(onehot):
    table = random(V, H)
    np.testing.assert_array_equal(ops.embedding(table, IDS)[0], onehot @ table)


def test_repeated_ids_add_up_as_in_the_dense_product(onehot):
    dy = random(len(IDS), H, seed=1)
    dtable = ops.embedding_backward(dy, ops.embedding(random(V, H), IDS)[1])
    np.testing.assert_allclose(dtable, onehot.T @ dy, rtol=0, atol=1e-15)


def test_rows_that_nobody_asked_for_have_exactly_no_gradient():
    dtable = ops.embedding_backward(random(len(IDS), H), ops.embedding(random(V, H), IDS)[1])
    assert not dtable[[1, 2, 4, 5]].any()


def test_the_row_with_id_zero_is_a_row_like_any_other():
    # no padding row here: PyTorch would drop its gradient
    dtable = ops.embedding_backward(np.ones((len(IDS), H)), ops.embedding(random(V, H), IDS)[1])
    np.testing.assert_array_equal(dtable[0], np.full(H, 2.0))


@pytest.mark.parametrize("width", [(), (H,), (2, 3)], ids=["numbers", "rows", "matrices"])
def test_gather_and_scatter_are_adjoint(width):
    # <gather x, y> = <x, scatter y>, whatever x and y
    x, y = random(V, *width), random(len(IDS), *width, seed=1)
    gathered, scattered = ops.gather_rows(x, IDS)[0], ops.scatter_rows(y, IDS, V)[0]
    assert np.vdot(gathered, y) == pytest.approx(np.vdot(x, scattered), rel=1e-14)


def test_each_backward_is_the_other_forward():
    x, y = random(V, H), random(len(IDS), H, seed=1)
    gathered, gather_cache = ops.gather_rows(x, IDS)
    scattered, scatter_cache = ops.scatter_rows(y, IDS, V)
    np.testing.assert_array_equal(ops.gather_rows_backward(y, gather_cache), scattered)
    np.testing.assert_array_equal(ops.scatter_rows_backward(x, scatter_cache), gathered)


def test_nothing_asked_gives_nothing_and_a_zero_gradient():
    y, cache = ops.embedding(random(V, H), np.array([], dtype=np.int64))
    assert y.shape == (0, H)
    np.testing.assert_array_equal(ops.embedding_backward(y, cache), np.zeros((V, H)))


def test_the_lookup_is_a_copy():
    table = random(V, H)
    y, _ = ops.embedding(table, np.arange(V))
    y[...] = 0
    assert table.all()


@pytest.mark.parametrize("engine", engines.ON_HOST)
def test_no_rows_at_all(engine):
    """As of a batch in which no word has a piece."""
    e = engines.get(engine)
    y, cache = e.gather_rows(np.ones((4, H), np.float32), np.zeros(0, np.int64))
    assert y.shape == (0, H)
    np.testing.assert_array_equal(e.gather_rows_backward(y, cache), np.zeros((4, H)))
