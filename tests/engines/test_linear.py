"""Products of every height: by rows, by columns, by BLAS, by the matrix unit and by the two kernels for few rows."""

import gc
import threading
from unittest import mock

import numpy as np
import pytest
import threadpoolctl
from hypothesis import given
from hypothesis import strategies as st

from minibert.engines import cpu
from minibert.engines.cpu import amx, packed
from tests.tolerances import OPERATOR, THREADS

rows = st.sampled_from([0, 1, 2, 3, 4, 5, 7, 11, 12, 13, 16, 31, 32, 33, 100, 128, 129, 600])
widths = st.sampled_from([1, 2, 3, 4, 5, 15, 16, 17, 31, 32, 33, 96, 255, 256, 257, 300])


def layer(rng, rows, inputs, outputs, frozen):
    x = rng.standard_normal((rows, inputs)).astype(np.float32)
    weight = rng.standard_normal((outputs, inputs)).astype(np.float32) / np.float32(np.sqrt(inputs))
    weight.flags.writeable = not frozen
    return x, weight, rng.standard_normal(outputs).astype(np.float32)


def exact(x, weight, bias):
    return x.astype(float) @ weight.T.astype(float) + bias


@given(rows, widths, widths, st.booleans(), st.booleans(), st.integers(0, 2**32 - 1), st.sampled_from([1, 2, 3]))
def test_every_shape_gives_the_product(n, inputs, outputs, frozen, matrix_unit, seed, threads):
    x, weight, bias = layer(np.random.default_rng(seed), n, inputs, outputs, frozen)
    available = amx.available if matrix_unit else lambda: False
    with threadpoolctl.threadpool_limits(threads, "blas"), mock.patch.object(amx, "available", available):
        y, cache = cpu.linear(x, weight, bias)
        dx, dweight, dbias = cpu.linear_backward(y, cache)
        totals = [dweight.copy(), dbias.copy()]
        again, *twice = cpu.linear_backward(y, cache, totals)
    assert (again == dx).all()
    assert all(a is b for a, b in zip(totals, twice, strict=True))
    tolerance = OPERATOR[np.dtype(np.float32)]
    np.testing.assert_allclose(y, exact(x, weight, bias), atol=tolerance)
    scale = max(n, outputs)
    np.testing.assert_allclose(dx, y.astype(float) @ weight, atol=tolerance * scale)
    np.testing.assert_allclose(dweight, y.T.astype(float) @ x, atol=tolerance * scale)
    np.testing.assert_allclose(dbias, y.astype(float).sum(axis=0), atol=tolerance * scale)
    for total, gradient in zip(totals, (dweight, dbias), strict=True):
        np.testing.assert_allclose(total, 2 * gradient, atol=tolerance * scale)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("order", ["C", "F"])
def test_totals_of_any_kind_are_added_to(dtype, order):
    x, weight, bias = layer(np.random.default_rng(0), 128, 96, 160, frozen=False)
    y, cache = cpu.linear(x, weight, bias)
    _, dweight, dbias = cpu.linear_backward(y, cache)
    totals = [np.ones(weight.shape, dtype, order=order), np.ones(160, dtype)]
    cpu.linear_backward(y, cache, totals)
    np.testing.assert_allclose(totals[0], 1 + dweight, atol=OPERATOR[np.dtype(np.float32)] * 160)
    np.testing.assert_allclose(totals[1], 1 + dbias, atol=OPERATOR[np.dtype(np.float32)] * 160)


def test_a_bias_gradient_over_many_rows_loses_nothing():
    # one running sum in float32 would be off by some 1e-4 relative: 0.7 is no float32, and every addition rounds alike
    dy = np.full((100_000, 8), np.float32(0.7))
    _, cache = cpu.linear(np.zeros((len(dy), 2), np.float32), np.zeros((8, 2), np.float32), np.zeros(8, np.float32))
    _, _, dbias = cpu.linear_backward(dy, cache)
    np.testing.assert_allclose(dbias, len(dy) * np.float64(np.float32(0.7)), rtol=1e-5)


@pytest.mark.parametrize("n", [1, 16, 32, 33, 128])
@pytest.mark.parametrize("frozen", [True, False])
def test_few_rows_are_the_same_on_any_number_of_threads(n, frozen):
    x, weight, bias = layer(np.random.default_rng(0), n, 768, 3072, frozen)
    results = []
    for threads in (1, 2, 3):
        with threadpoolctl.threadpool_limits(threads, "blas"):
            results.append(cpu.linear(x, weight, bias)[0].copy())
    for other in results[1:]:
        np.testing.assert_allclose(other, results[0], rtol=0, atol=THREADS * abs(results[0]).max())
        assert frozen is False or (other == results[0]).all()


def test_a_row_is_the_same_in_any_company():
    """Tiles have rows of several numbers, some filled up with zeros; the sums of a row are always in one order."""
    x, weight, bias = layer(np.random.default_rng(0), 40, 300, 70, frozen=True)
    alone = np.concatenate([cpu.linear(x[n : n + 1], weight, bias)[0] for n in range(40)])
    for n in range(1, 41):
        np.testing.assert_array_equal(cpu.linear(x[:n], weight, bias)[0], alone[:n])


def test_only_what_nobody_can_write_is_packed():
    x, weight, _ = layer(np.random.default_rng(0), 4, 8, 8, frozen=False)
    view = weight[:]
    view.flags.writeable = False
    assert not packed.fits(x, weight)
    assert not packed.fits(x, view)
    weight.flags.writeable = False
    assert packed.fits(x, view)
    assert not packed.fits(np.ones((packed.MOST + 1, 8), np.float32), view)


def test_a_weight_that_is_written_is_never_stale():
    x, weight, bias = layer(np.random.default_rng(0), 4, 8, 40, frozen=False)
    before = cpu.linear(x, weight, bias)[0].copy()
    weight *= 2
    np.testing.assert_allclose(cpu.linear(x, weight, 2 * bias)[0], 2 * before, rtol=1e-5)


def test_panels_are_made_once_and_go_with_their_weight():
    x, weight, bias = layer(np.random.default_rng(0), 4, 64, 64, frozen=True)
    before = len(packed._packed)
    for _ in range(3):
        cpu.linear(x, weight, bias)
        cpu.linear(x, weight[:32], bias[:32])  # a part is a weight of its own, whichever object names it
    assert len(packed._packed) == before + 2
    assert packed.panels(weight) is packed.panels(weight)
    del weight
    gc.collect()
    assert len(packed._packed) == before


def test_many_threads_may_be_the_first_to_pack():
    x, weight, bias = layer(np.random.default_rng(0), 16, 256, 1024, frozen=True)
    results = [None] * 8

    def run(i):
        results[i] = cpu.linear(x, weight, bias)[0]

    threads = [threading.Thread(target=run, args=(i,)) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    for result in results:
        np.testing.assert_allclose(result, exact(x, weight, bias), atol=1e-5)
