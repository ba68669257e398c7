"""The engine's activations, alone and fused with bias and column sums, against the reference in float64."""

import importlib
import subprocess
import sys

import numpy as np
import pytest
import threadpoolctl
from hypothesis import given
from hypothesis import strategies as st

from minibert import ops
from minibert.engines.cpu.activations import FUSED
from tests.tolerances import ACTIVATION

engine = importlib.import_module("minibert.engines.cpu.activations")
names = pytest.mark.parametrize("name", FUSED)
sizes = st.sampled_from([1, 2, 7, 8, 9, 15, 16, 17, 33, 63, 64, 65, 129])
scales = st.sampled_from([1e-3, 1.0, 5.0])


def numbers(seed, scale, *shape):
    """Normal float32."""
    return (scale * np.random.default_rng([seed, *shape]).standard_normal(shape)).astype(np.float32)


def expected(name, x, dy):
    """y and dx in double precision."""
    y, cache = getattr(ops, name)(x.astype(np.float64))
    return y, getattr(ops, f"{name}_backward")(dy.astype(np.float64), cache)


def near(found, wanted):
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, wanted, rtol=ACTIVATION, atol=ACTIVATION)


@names
@given(sizes, sizes, scales, st.integers(0, 99))
def test_fused(name, rows, width, scale, seed):
    u, dy, bias = (numbers(seed + i, scale, *s) for i, s in enumerate([(rows, width), (rows, width), (width,)]))
    before = u + bias
    y, du = expected(name, before, dy)
    kernels = FUSED[name]

    kept, out = u.copy(), np.empty_like(u)
    kernels.bias(kept, bias, out)
    np.testing.assert_array_equal(kept, before)
    near(out, y)

    again = np.empty_like(u)
    kernels.of(before, again)
    near(again, y)

    slope = np.empty_like(dy)
    kernels.backward(dy, before, slope)
    near(slope, du)


@names
@pytest.mark.parametrize("shape", [(), (0,), (5,), (3, 0), (2, 3, 4), (300, 700)])
@pytest.mark.parametrize("scale", [1e-3, 1.0, 5.0])
def test_operators(name, shape, scale):
    x, dy = numbers(0, scale, *shape), numbers(1, scale, *shape)
    if x.ndim > 1:  # not contiguous
        x, dy = x.T, dy.T
    kept = x.copy()
    y, cache = getattr(engine, name)(x)
    dx = getattr(engine, f"{name}_backward")(dy, cache)
    assert y.shape == dx.shape == x.shape
    assert not np.shares_memory(y, x)
    assert not np.shares_memory(dx, dy)
    np.testing.assert_array_equal(x, kept)
    for found, wanted in zip((y, dx), expected(name, x, dy), strict=True):
        near(found, wanted)


@names
def test_the_same_on_any_number_of_threads(name):
    x, dy, found = numbers(0, 1, 400, 701), numbers(1, 1, 400, 701), []
    for threads in 1, 2, 3:
        with threadpoolctl.threadpool_limits(threads, "blas"):
            y, cache = getattr(engine, name)(x)
            found.append((y, getattr(engine, f"{name}_backward")(dy, cache)))
    for other in found[1:]:
        np.testing.assert_array_equal(other, found[0])


@pytest.mark.parametrize("name", ["gelu", "gelu_new", "silu", "tanh"])
def test_nan_stays_where_it_is(name):
    x = numbers(0, 1, 4, 40)
    x[1, 3] = x[2, 39] = np.nan
    y, cache = getattr(engine, name)(x)
    np.testing.assert_array_equal(np.isnan(y), np.isnan(x))
    np.testing.assert_array_equal(np.isnan(getattr(engine, f"{name}_backward")(x * 0 + 1, cache)), np.isnan(x))


@names
def test_the_largest_numbers(name):
    x = np.array([-3e38, -1e30, -1e4, -100, 100, 1e4], np.float32)
    with np.errstate(over="ignore"):
        y, dx = expected(name, x, np.ones_like(x))
    found, cache = getattr(engine, name)(x)
    near(found, y)
    near(getattr(engine, f"{name}_backward")(np.ones_like(x), cache)[2:], dx[2:])


def test_kernels_are_found_on_the_disk_by_the_next_process(tmp_path):
    # each has a function in its closure, and Numba looks a kernel up by what that pickles to
    code = """
import numpy as np
from minibert.engines.cpu.activations import FUSED
x = np.ones((2, 9), np.float32)
for kernels in FUSED.values():
    kernels.of(x, x.copy())
    print(sum(kernels.of.stats.cache_hits.values()), kernels.of.stats.cache_misses.total())
"""
    command, found = [sys.executable, "-c", code], []
    for _ in range(2):
        found.append(subprocess.run(command, capture_output=True, text=True, check=True).stdout.split("\n")[:-1])
    assert found[1] == ["1 0"] * len(FUSED)
