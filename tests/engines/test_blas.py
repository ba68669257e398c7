"""BLAS's product from inside a kernel, and the loop in its place, against NumPy."""

import numpy as np
import pytest
import threadpoolctl
from hypothesis import given
from hypothesis import strategies as st

from minibert.engines.cpu import blas
from minibert.engines.cpu.compile import helper
from tests.tolerances import OPERATOR

SIZES = st.sampled_from([1, 2, 7, 8, 9, 15, 16, 17, 33, 65])
ADDRESSES = [pytest.param(blas.address(), id="library"), pytest.param(0, id="loop")]


@helper
def product(address, alpha, a, b, beta, c):
    blas.sgemm(address, alpha, a, b, beta, c)


def test_openblas_is_found():
    if not any(info["internal_api"] == "openblas" for info in threadpoolctl.threadpool_info()):
        pytest.skip("NumPy has another BLAS")
    assert blas.address()


def matrix(rng, rows, columns, transposed, gap):
    """A view whose rows, or columns, are `gap` numbers further apart than they are long."""
    if transposed:
        return matrix(rng, columns, rows, False, gap).T
    return rng.standard_normal((rows, columns + gap), dtype=np.float32)[:, :columns]


@pytest.mark.parametrize("address", ADDRESSES)
@given(
    sizes=st.tuples(SIZES, SIZES, SIZES),
    transposed=st.tuples(st.booleans(), st.booleans()),
    gaps=st.tuples(*[st.sampled_from([0, 1, 40])] * 3),
    factors=st.sampled_from([(1, 0), (0.25, 0), (1, 1), (-0.5, 1)]),
)
def test_product(address, sizes, transposed, gaps, factors):
    m, n, k = sizes
    rng = np.random.default_rng(0)
    a, b = matrix(rng, m, k, transposed[0], gaps[0]), matrix(rng, k, n, transposed[1], gaps[1])
    whole = rng.standard_normal((m, n + gaps[2]), dtype=np.float32)
    c, margin = whole[:, :n], whole[:, n:].copy()
    alpha, beta = factors
    exact = alpha * (a.astype(np.float64) @ b.astype(np.float64)) + beta * c
    if beta == 0:
        c[...] = np.nan  # not to be read
    product(address, np.float32(alpha), a, b, np.float32(beta), c)
    np.testing.assert_allclose(c, exact, rtol=0, atol=OPERATOR[c.dtype] * np.sqrt(k))
    np.testing.assert_array_equal(whole[:, n:], margin)


@pytest.mark.parametrize("address", ADDRESSES)
def test_a_product_of_nothing(address):
    a, b = np.ones((3, 0), np.float32), np.ones((0, 2), np.float32)
    c = np.full((3, 2), 5, np.float32)
    product(address, np.float32(1), a, b, np.float32(1), c)
    np.testing.assert_array_equal(c, 5)
    product(address, np.float32(1), b, a, np.float32(1), np.ones((0, 0), np.float32))
