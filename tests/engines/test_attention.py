"""The engine's attention against the reference in float64: values, gradients, masks, threads, memory."""

import gc
import importlib
import itertools
import os
import subprocess
import sys
import tracemalloc

import numpy as np
import pytest
import threadpoolctl
from hypothesis import example, given
from hypothesis import strategies as st

from minibert import ops
from minibert.engines.cpu import memory, threads
from minibert.engines.cpu.attention import attention, attention_backward, attention_probs
from minibert.engines.cpu.attention_kernels import BLOCK, _drop, _dscores
from minibert.engines.cpu.dropout import mask
from minibert.ops.dropout import dropout_keep
from tests.tolerances import ATTENTION

module = importlib.import_module("minibert.engines.cpu.attention")  # the package's attribute is the operator
KEY = 0xFEDCBA9876543210
BORDERS = [0, 1, 2, 7, 8, 9, 15, 16, 17, 31, 32, 33, 64, 65, BLOCK - 1, BLOCK, BLOCK + 1, 2 * BLOCK + 1]


def batch(lengths, heads, size, scale=1.0, seed=0):
    """qkv, cu_seqlens, dcontext"""
    rng = np.random.default_rng(seed)
    tokens, hidden = sum(lengths), heads * size
    qkv = np.float32(scale) * rng.standard_normal((tokens, 3 * hidden), dtype=np.float32)
    return qkv, np.cumsum([0, *lengths]), rng.standard_normal((tokens, hidden), dtype=np.float32)


def both(qkv, cu_seqlens, heads, *options, dcontext):
    """context, dqkv"""
    context, cache = attention(qkv, cu_seqlens, heads, *options)
    return context, attention_backward(dcontext, cache)


def assert_close(actual, expected, score=1.0):
    """score: the largest, where it is above 1; its rounding is a relative error of the probabilities."""
    assert actual.dtype == np.float32
    assert actual.shape == expected.shape
    size = np.abs(expected).max(initial=0) * max(score, 1)
    np.testing.assert_allclose(actual, expected, rtol=0, atol=ATTENTION * max(size, 1e-30))


@example([2 * BLOCK + 1, 3], 2, 8, False, 0.1, 1.0, 0)
@example([2 * BLOCK + 1, 3], 2, 8, True, 0.1, 1.0, 0)
@given(
    lengths=st.lists(st.sampled_from(BORDERS), max_size=4),
    heads=st.integers(1, 3),
    size=st.sampled_from([1, 4, 7, 8, 32, 64]),
    causal=st.booleans(),
    rate=st.sampled_from([0.0, 0.1, 0.5]),
    scale=st.sampled_from([0.1, 1.0, 5.0]),
    seed=st.integers(0, 99),
)
def test_against_the_reference(lengths, heads, size, causal, rate, scale, seed):
    qkv, cu, dcontext = batch(lengths, heads, size, scale, seed)
    options = (cu, heads, causal, rate, KEY)
    context, cache = attention(qkv, *options)
    expected, reference = ops.attention(qkv.astype(np.float64), *options)
    score = 0.0
    for start, end in itertools.pairwise(cu):
        q, k = (qkv[start:end].reshape(end - start, 3, heads, size)[:, i].transpose(1, 0, 2) for i in range(2))
        score = max(score, np.abs(q @ k.swapaxes(1, 2)).max(initial=0) / size**0.5)
    assert_close(context, expected, score)
    assert_close(attention_backward(dcontext, cache), ops.attention_backward(dcontext.astype(float), reference), score)
    probs = attention_probs(cache)
    assert len(probs) == len(reference.probs)
    for p, wanted in zip(probs, reference.probs, strict=True):
        assert_close(p, wanted, score)


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("lengths", [(3, 0, 20, 1, 31), (BLOCK + 12, 5, BLOCK + 3)])
def test_what_is_dropped_is_what_the_reference_drops(lengths, causal):
    heads, size = 3, max(lengths)  # with v the identity the context is the probabilities
    qkv, cu, _ = batch(lengths, heads, size, scale=0.1)
    tokens = len(qkv)
    v = qkv.reshape(tokens, 3, heads, size)[:, 2]
    v[...] = np.concatenate([np.eye(length, size, dtype=np.float32) for length in lengths])[:, None]
    context = attention(qkv, cu, heads, causal, 0.3, KEY)[0].reshape(tokens, heads, size)
    offset = 0
    for start, end in itertools.pairwise(cu):
        length = end - start
        keep = dropout_keep(np, heads * length**2, 0.3, KEY, offset).reshape(heads, length, length)
        offset += keep.size
        visible = np.tril(keep) if causal else keep
        np.testing.assert_array_equal(context[start:end, :, :length].transpose(1, 0, 2) != 0, visible)


@pytest.mark.parametrize("number", [0, 2**32 - 70, 2**32 - 1, 5 * 2**32 - 33])
def test_masks_beyond_32_bits(number):
    rows, keys, pitch = 5, 20, 32
    keep = dropout_keep(np, rows * keys, 0.25, KEY, number).reshape(rows, keys)
    x = np.ones((rows, pitch), np.float32)
    _drop(x, keys, number, keys, mask(0.25, KEY))
    np.testing.assert_array_equal(x[:, :keys] != 0, keep)

    probs, dprobs = np.ones((2, rows, pitch), np.float32)
    _dscores(probs, dprobs, *np.zeros((2, rows, 4), np.float32), keys, number, keys, mask(0.25, KEY))
    np.testing.assert_array_equal(probs[:, :keys] != 0, keep)
    np.testing.assert_array_equal(dprobs[:, :keys] != 0, keep)


@pytest.fixture
def tasks(monkeypatch):
    """Cut everything, however small; the list gets the number of parts of each call."""
    counts = []

    def share(parts, original=threads.share):
        counts.append(len(parts))
        original(parts)

    monkeypatch.setattr(module, "_LEAST", 1)
    monkeypatch.setattr(threads, "share", share)
    return counts


@pytest.mark.parametrize("lengths", [(40, 1, 0, 300, 17), (9,), (1,)])
@pytest.mark.parametrize("options", [(False, 0.0, 0), (True, 0.2, KEY)])
def test_threads_change_no_bit(lengths, options, tasks):
    qkv, cu, dcontext = batch(lengths, 4, 16)
    results = []
    for number in 1, 2, 3:
        with threadpoolctl.threadpool_limits(number, user_api="blas"):
            parts = threads.count()  # a BLAS may have fewer than it is asked for
            results.append(both(qkv, cu, 4, *options, dcontext=dcontext))
        assert tasks[-2:] == [parts, parts]
    for other in results[1:]:
        for a, b in zip(results[0], other, strict=True):
            np.testing.assert_array_equal(a, b)


def test_blas_is_held_whoever_computes(monkeypatch):
    seen = []

    def blas_threads():
        return {library.num_threads for library in threads._blas._libraries}

    monkeypatch.setattr(module, "forward_units", lambda *_: seen.append(blas_threads()))
    qkv, cu, _ = batch((12,), 2, 8)  # too little for another thread
    with threadpoolctl.threadpool_limits(2, user_api="blas"):
        assert threads.count() == 2
        attention(qkv, cu, 2)
        assert blas_threads() == {2}
    assert seen == [{1}]


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_stays_in_its_sequence(bad):
    qkv, cu, dcontext = batch((20, 150, 33), 2, 8)
    good = both(qkv, cu, 2, dcontext=dcontext)
    qkv[90, 5] = bad  # a query of the first head
    with np.errstate(invalid="ignore"):
        reference, cache = ops.attention(qkv.astype(np.float64), cu, 2)
        expected = reference, ops.attention_backward(dcontext.astype(np.float64), cache)
    for actual, other, wanted in zip(both(qkv, cu, 2, dcontext=dcontext), good, expected, strict=True):
        np.testing.assert_array_equal(actual[:20], other[:20])
        np.testing.assert_array_equal(actual[170:], other[170:])
        np.testing.assert_array_equal(np.isnan(actual), np.isnan(wanted))
        assert np.isnan(actual).any()


def test_a_batch_of_nothing():
    for cu in np.array([0]), np.array([0, 0, 0]):
        context, cache = attention(np.empty((0, 24), np.float32), cu, 2)
        assert context.shape == (0, 8)
        assert attention_backward(context, cache).shape == (0, 24)
        assert attention_probs(cache) == []


def test_views_are_welcome_and_nothing_is_shared():
    qkv, cu, dcontext = batch((5, 30), 2, 8)
    expected = both(qkv, cu, 2, dcontext=dcontext)
    wide, wide_d = np.repeat(qkv, 2, axis=1)[:, ::2], np.asfortranarray(dcontext)
    actual = both(wide, cu, 2, dcontext=wide_d)
    for a, b in zip(actual, expected, strict=True):
        np.testing.assert_array_equal(a, b)
        assert not any(np.shares_memory(a, x) for x in (qkv, wide, dcontext, wide_d))


def test_a_long_sequence_has_no_square(monkeypatch):
    monkeypatch.setattr(memory, "_arena", memory.Arena())  # one that holds nothing yet
    qkv, cu, dcontext = batch((4096,), 1, 8)
    both(*batch((2,), 1, 8)[:2], 1, dcontext=dcontext[:2])  # compiled
    gc.collect()
    tracemalloc.start()
    try:
        both(qkv, cu, 1, dcontext=dcontext)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 4096 * 4096  # bytes: a quarter of one square


def test_the_loop_that_needs_no_library(monkeypatch):
    qkv, cu, dcontext = batch((3, BLOCK + 12), 2, 8)
    expected = both(qkv, cu, 2, True, 0.1, KEY, dcontext=dcontext)
    monkeypatch.setattr(module.blas, "address", lambda: 0)
    for a, b in zip(both(qkv, cu, 2, True, 0.1, KEY, dcontext=dcontext), expected, strict=True):
        assert_close(a, b, 5)


def test_kernels_of_the_disk_cache_work_in_another_process(tmp_path):
    code = """
import numpy as np
from minibert.engines.cpu.attention import attention
from minibert.engines.cpu.attention_kernels import forward_units
context = attention(np.ones((5, 24), np.float32), np.array([0, 5]), 2)[0]
print(context.sum(), sum(forward_units.stats.cache_hits.values()))
"""
    outputs = [
        subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "NUMBA_CACHE_DIR": str(tmp_path), "PYTHONPATH": os.pathsep.join(sys.path)},
            check=True,
            capture_output=True,
            text=True,
        ).stdout.split()
        for _ in range(2)
    ]
    assert outputs == [["40.0", "0"], ["40.0", "1"]]
