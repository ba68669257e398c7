"""Products on the matrix unit: exact parts, errors no larger than those of BLAS, every shape and layout."""

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minibert.engines.cpu import amx

needs_amx = pytest.mark.skipif(not amx.available(), reason="runs the instructions of AMX")

sizes = st.sampled_from([1, 2, 15, 16, 17, 31, 32, 33, 48, 64, 65, 100, 257, 400])
seeds = st.integers(0, 2**32 - 1)


def matrix(rng, rows, columns, by_columns=False):
    x = rng.standard_normal((columns, rows) if by_columns else (rows, columns)).astype(np.float32)
    return x.T if by_columns else x


def product(a, b, **options):
    out = np.full((len(a), b.shape[1]), np.nan, np.float32)
    amx.product(a, b, out, **options)
    return out


@needs_amx
@given(sizes, sizes, sizes, st.booleans(), st.booleans(), st.booleans(), seeds)
def test_every_shape_and_layout(rows, columns, depth, a_by_columns, b_by_columns, with_bias, seed):
    rng = np.random.default_rng(seed)
    a, b = matrix(rng, rows, depth, a_by_columns), matrix(rng, depth, columns, b_by_columns)
    bias = matrix(rng, 1, columns)[0] if with_bias else None
    exact = a.astype(float) @ b.astype(float) + (bias if with_bias else 0)
    size = np.abs(a).astype(float) @ np.abs(b) + 1
    assert (np.abs(product(a, b, bias=bias) - exact) <= 4e-7 * size).all()
    before = matrix(rng, rows, columns)
    total = before.copy()
    amx.product(a, b, total, add=True)
    assert (np.abs(total - before - a.astype(float) @ b) <= 4e-7 * (size + np.abs(before))).all()


@needs_amx
def test_parts_of_a_larger_array():
    rng = np.random.default_rng(0)
    x, weight, y = matrix(rng, 200, 300), matrix(rng, 150, 300), np.zeros((200, 400), np.float32)
    amx.product(x[3:90, 10:110], weight[20:140, 7:107].T, y[50:137, 33:153])
    a, b = x[3:90, 10:110].astype(float), weight[20:140, 7:107].T.astype(float)
    assert (np.abs(y[50:137, 33:153] - a @ b) <= 4e-7 * (np.abs(a) @ np.abs(b))).all()
    y[50:137, 33:153] = 0
    assert not y.any()


@needs_amx
@given(st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False), min_size=1, max_size=64), st.booleans())
def test_the_parts_of_a_number_add_up_to_it(numbers, left):
    """A product with ones and zeros gives every number back; of parts that are subnormal, nothing."""
    x = np.array(numbers, np.float32)[None]
    eye = np.eye(x.size, dtype=np.float32)
    back = product(x, eye) if left else product(eye, x.T).T
    np.testing.assert_allclose(back, x, rtol=0, atol=3 * 2.0**-126)


@needs_amx
@pytest.mark.parametrize("exponent", [*range(-149, -100), -60, 60, 127])
@pytest.mark.parametrize("left", [True, False])
def test_numbers_of_any_size_leave_their_neighbours_alone(exponent, left):
    x = np.random.default_rng(0).uniform(-2, 2, (16, 64)).astype(np.float32)
    x[:, np.arange(64) // 16 % 2 == 1] *= np.float32(2.0**exponent)  # two that are interleaved
    eye = np.eye(64, dtype=np.float32)
    np.testing.assert_allclose(product(x, eye) if left else product(eye, x.T).T, x, rtol=0, atol=3 * 2.0**-126)


@needs_amx
@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e6])
def test_errors_are_not_larger_than_those_of_blas(scale):
    rng = np.random.default_rng(0)
    a, b = matrix(rng, 256, 768), matrix(rng, 768, 256) * np.float32(scale)
    exact = a.astype(float) @ b.astype(float)
    errors = [np.sqrt(((y - exact) ** 2).mean()) for y in (product(a, b), a @ b)]
    assert errors[0] < errors[1]


@needs_amx
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, np.uint32(0x7FFFFFFF).view(np.float32)])
def test_what_is_not_finite_stays_so_and_in_its_row(bad):
    rng = np.random.default_rng(0)
    a, b = matrix(rng, 40, 64), matrix(rng, 64, 40)
    a[5, 7] = bad
    y = product(a, b)
    assert not np.isfinite(y[5]).any()
    assert np.isfinite(np.delete(y, 5, axis=0)).all()
    a[5, 7], b[9, 3] = 0, bad
    y = product(a, b)
    assert not np.isfinite(y[:, 3]).any()
    assert np.isfinite(np.delete(y, 3, axis=1)).all()


@needs_amx
def test_a_number_is_the_same_wherever_it_is_computed():
    rng = np.random.default_rng(0)
    a, b = matrix(rng, 600, 800), matrix(rng, 800, 300)
    whole = product(a, b)
    np.testing.assert_array_equal(product(a[100:177], b), whole[100:177])
    np.testing.assert_array_equal(product(a, b[:, 64:191]), whole[:, 64:191])
    with ThreadPoolExecutor(4) as pool:
        for other in pool.map(lambda _: product(a, b), range(8)):
            np.testing.assert_array_equal(other, whole)


def test_elsewhere_there_is_none(monkeypatch):
    monkeypatch.setattr(sys, "platform", "darwin")
    assert not amx.available.__wrapped__()


def test_code_for_any_processor_does_without():
    """Whoever shares a cache folder among machines tells Numba to compile for all of them."""
    program = """
        import numpy as np
        from minibert.engines import cpu
        from minibert.engines.cpu import amx
        x = np.ones((128, 64), np.float32)
        print(amx.available(), int(cpu.linear(x, x, np.zeros(128, np.float32))[0].sum()))
    """
    environment = {**os.environ, "NUMBA_CPU_NAME": "generic", "NUMBA_CPU_FEATURES": ""}
    code = "\n".join(line.strip() for line in program.splitlines())
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, env=environment, timeout=120
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["False", str(128 * 128 * 64)]
