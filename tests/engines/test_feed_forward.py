"""The feed-forward network, whose rows are dealt out where there are many, and whose columns where there are few."""

import importlib
from contextlib import ExitStack
from unittest import mock

import numpy as np
import pytest
import threadpoolctl
from hypothesis import given
from hypothesis import strategies as st

from minibert import ops
from minibert.engines import cpu
from minibert.engines.cpu import threads
from tests.tolerances import OPERATOR

feed_forward, linear = (importlib.import_module(f"minibert.engines.cpu.{name}") for name in ("feed_forward", "linear"))
ROWS = linear.ROWS

heights = st.sampled_from([0, 1, 16, 33, 129, ROWS - 1, ROWS, 2 * ROWS - 1, 2 * ROWS, 3 * ROWS + 5])


def network(seed, rows, width, inner):
    rng = np.random.default_rng(seed)
    x, dy = rng.standard_normal((2, rows, width))
    weight1, bias1 = rng.standard_normal((inner, width)) / np.sqrt(width), rng.standard_normal(inner)
    weight2, bias2 = rng.standard_normal((width, inner)) / np.sqrt(inner), rng.standard_normal(width)
    return (x, weight1, bias1, weight2, bias2), dy


@given(
    heights, st.sampled_from([1, 7, 96]), st.sampled_from([1, 40, 300]), st.sampled_from([1, 2, 3]), st.integers(0, 99)
)
def test_every_height_gives_the_reference(rows, width, inner, number, seed):
    arguments, dy = network(seed, rows, width, inner)
    single = [array.astype(np.float32) for array in arguments]
    with threadpoolctl.threadpool_limits(number, "blas"):
        y, cache = cpu.feed_forward(*single, "gelu")
        found = cpu.feed_forward_backward(dy.astype(np.float32), cache)
        totals = [gradient.copy() for gradient in found[1:]]
        cpu.feed_forward_backward(dy.astype(np.float32), cache, totals)
    expected_y, cache = ops.feed_forward(*arguments, "gelu")
    expected = ops.feed_forward_backward(dy, cache)
    twice = [2 * gradient for gradient in expected[1:]]
    for one, other in zip((y, *found, *totals), (expected_y, *expected, *twice), strict=True):
        size = abs(other).max(initial=1.0)
        np.testing.assert_allclose(one, other, rtol=0, atol=OPERATOR[np.dtype(np.float32)] * size)


@pytest.mark.parametrize("rows", [64, 2 * ROWS - 1, 2 * ROWS, 3 * ROWS])
def test_no_thread_is_idle(rows):
    """Rows for less than two threads once went to one alone, backward: a training step of 500 tokens took 1.7 times as
    long."""
    arguments, dy = network(0, rows, 384, 1536)
    arguments, dy = [array.astype(np.float32) for array in arguments], dy.astype(np.float32)
    work, original = [], linear.multiply  # how many multiplications each product makes

    def multiply(a, b, out, *rest, **options):
        work.append(a.size * out.shape[1])
        return original(a, b, out, *rest, **options)

    _, cache = cpu.feed_forward(*arguments, "gelu")
    with ExitStack() as patches:
        patches.enter_context(mock.patch.object(threads, "count", return_value=2))
        for module in (linear, feed_forward):
            patches.enter_context(mock.patch.object(module, "multiply", multiply))
        cpu.feed_forward_backward(dy, cache)
    assert sum(work) == 4 * rows * 384 * 1536
    assert max(work) == (rows + 1) // 2 * 384 * 1536
