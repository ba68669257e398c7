"""The conditional random field against every path there is; at its limits; and its chain of time."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minibert import gradcheck, ops
from tests.opspecs import cu_of, paths_of

each_dtype = pytest.mark.parametrize("dtype", [np.float64, np.float32])
CLOSE = 1e-12  # two ways to add up at most 4⁵ terms; measured over 500 batches: 3e-14


def scores_of(rng, tokens, tags, scale=1.0):
    """emissions, transitions, start, end"""
    return tuple(scale * rng.standard_normal(shape) for shape in ((tokens, tags), (tags, tags), (tags,), (tags,)))


@st.composite
def batches(draw):
    """emissions, transitions, start, end, cu_seqlens; up to 4 tags and 5 tokens, some sequences without a token."""
    lengths = draw(st.lists(st.integers(0, 5), min_size=1, max_size=4))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    scale = draw(st.sampled_from([0.1, 1.0, 10.0]))
    return *scores_of(rng, sum(lengths), draw(st.integers(1, 4)), scale), cu_of(lengths)


def sequences(emissions, *rest):
    """(number, first token, last token + 1, {path: score}) of every sequence that has a token"""
    *scores, cu = rest
    for i, (a, b) in enumerate(itertools.pairwise(cu)):
        if b > a:
            yield i, a, b, dict(paths_of(emissions[a:b], *scores))


def log_total(values):
    largest = max(values)
    return largest + math.log(math.fsum(math.exp(v - largest) for v in values))


# ---- against every path ---------------------------------------------------------------------------------------------


@given(batches())
def test_the_partition_is_the_sum_over_all_paths(batch):
    found = ops.crf_log_partition(*batch)
    expected = np.zeros(len(batch[-1]) - 1)
    for i, _, _, paths in sequences(*batch):
        expected[i] = log_total(paths.values())
    np.testing.assert_allclose(found, expected, rtol=CLOSE, atol=CLOSE)


@given(batches())
def test_marginals_are_sums_of_the_probabilities_of_paths(batch):
    found = ops.crf_marginals(*batch)
    expected = np.zeros(batch[0].shape)
    for _, a, b, paths in sequences(*batch):
        total = log_total(paths.values())
        for path, score in paths.items():
            expected[np.arange(a, b), path] += math.exp(score - total)
    np.testing.assert_allclose(found, expected, rtol=0, atol=CLOSE)
    np.testing.assert_allclose(found.sum(axis=1), 1, rtol=0, atol=CLOSE)


@given(batches())
def test_the_decoded_path_is_the_best_of_all(batch):
    labels, scores = ops.crf_decode(*batch)
    assert scores.shape == (len(batch[-1]) - 1,)
    for i, a, b, paths in sequences(*batch):
        best = max(paths, key=paths.get)
        assert tuple(labels[a:b].tolist()) == best
        assert scores[i] == pytest.approx(paths[best], rel=CLOSE, abs=CLOSE)
    assert not scores[np.diff(batch[-1]) == 0].any()


@given(batches())
def test_of_equal_paths_the_lowest_last_tag_wins_then_the_one_before(batch):
    """Scores of 0 and 1, so that there are many equal ones, and sums are exact."""
    *scores, cu = batch
    scores = [np.sign(np.maximum(x, 0)) for x in scores]
    labels, _ = ops.crf_decode(*scores, cu)
    for _, a, b, paths in sequences(*scores, cu):
        best = max(paths.values())
        lowest = min((path for path, score in paths.items() if score == best), key=lambda path: path[::-1])
        assert tuple(labels[a:b].tolist()) == lowest


@given(batches(), st.integers(0, 2**32 - 1))
def test_the_loss_is_minus_the_log_of_the_probability_of_the_labels(batch, seed):
    *scores, cu = batch
    labels = np.random.default_rng(seed).integers(0, scores[0].shape[1], len(scores[0]))
    own = [log_total(p.values()) - p[tuple(labels[a:b].tolist())] for _, a, b, p in sequences(*batch)]
    loss, _ = ops.crf(*scores, labels, cu)
    assert loss == pytest.approx(math.fsum(own) / max(len(own), 1), rel=CLOSE, abs=CLOSE)


# ---- gradients ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("scale", [0.02, 1.0, 30.0])
def test_every_entry_of_every_gradient_is_the_complex_step(scale):
    rng = np.random.default_rng(0)
    cu = cu_of([4, 1, 0, 7, 4])
    scores, labels = scores_of(rng, 16, 5, scale), rng.integers(0, 5, 16)
    _, cache = ops.crf(*scores, labels, cu)
    for i, gradient in enumerate(ops.crf_backward(1.0, cache)):
        for place in np.ndindex(gradient.shape):
            along = np.zeros(gradient.shape)
            along[place] = 1
            others = list(scores)

            def loss(x, i=i, others=others):
                others[i] = x
                return ops.crf(*others, labels, cu)[0]

            slope = gradcheck.complex_step(loss, scores[i], along)
            assert abs(slope - gradient[place]) <= 1e-14, (i, place)  # measured: 2.3e-16


def test_expected_minus_observed():
    rng = np.random.default_rng(1)
    cu, labels = cu_of([3, 5]), rng.integers(0, 4, 8)
    scores = scores_of(rng, 8, 4)
    de, da, ds, df = ops.crf_backward(2.0, ops.crf(*scores, labels, cu)[1])
    marginals = ops.crf_marginals(*scores, cu)
    np.testing.assert_allclose(de, marginals - np.eye(4)[labels], rtol=0, atol=1e-15)
    np.testing.assert_allclose(ds, de[[0, 3]].sum(0), rtol=0, atol=1e-15)
    np.testing.assert_allclose(df, de[[2, 7]].sum(0), rtol=0, atol=1e-15)
    assert abs(da.sum()) < 1e-14  # as many pairs are expected as there are
    np.testing.assert_allclose(da.sum(0), de.sum(0) - ds, rtol=0, atol=1e-14)  # into a tag: all tokens but the first
    np.testing.assert_allclose(da.sum(1), de.sum(0) - df, rtol=0, atol=1e-14)


# ---- limits ---------------------------------------------------------------------------------------------------------


def test_a_sequence_of_one_token_is_softmax():
    rng = np.random.default_rng(2)
    emissions, transitions, start, end = scores_of(rng, 3, 4)
    labels, cu = np.array([1, 0, 3]), np.arange(4)
    loss, cache = ops.crf(emissions, transitions, start, end, labels, cu)
    expected, plain = ops.cross_entropy(emissions + start + end, labels)
    assert loss == pytest.approx(expected, rel=1e-15)
    de, da, _, _ = ops.crf_backward(1.0, cache)
    np.testing.assert_allclose(de, ops.cross_entropy_backward(1.0, plain), rtol=0, atol=1e-16)
    assert not da.any()


def test_without_transitions_every_token_is_on_its_own():
    rng = np.random.default_rng(3)
    emissions, labels, cu = rng.standard_normal((9, 4)), rng.integers(0, 4, 9), cu_of([2, 7])
    zeros = np.zeros((4, 4)), np.zeros(4), np.zeros(4)
    loss, _ = ops.crf(emissions, *zeros, labels, cu)
    assert loss == pytest.approx(ops.cross_entropy(emissions, labels)[0] * 9 / 2, rel=1e-14)
    np.testing.assert_array_equal(ops.crf_decode(emissions, *zeros, cu)[0], emissions.argmax(axis=1))
    np.testing.assert_allclose(ops.crf_marginals(emissions, *zeros, cu), ops.softmax(emissions)[0], rtol=1e-14)


def test_sequences_do_not_see_each_other():
    rng = np.random.default_rng(4)
    lengths = [3, 0, 6, 1, 6, 2]
    scores, labels, cu = scores_of(rng, 18, 4), rng.integers(0, 4, 18), cu_of(lengths)
    loss, cache = ops.crf(*scores, labels, cu)
    de, da, ds, df = ops.crf_backward(1.0, cache)
    alone = [(a, b) for a, b in itertools.pairwise(cu) if b > a]
    parts = [ops.crf(scores[0][a:b], *scores[1:], labels[a:b], np.array([0, b - a])) for a, b in alone]
    assert loss == pytest.approx(sum(part for part, _ in parts) / 5, rel=1e-14)
    grads = [ops.crf_backward(1 / 5, cache) for _, cache in parts]
    np.testing.assert_allclose(de, np.concatenate([g[0] for g in grads]), rtol=0, atol=1e-15)
    for total, i in ((da, 1), (ds, 2), (df, 3)):
        np.testing.assert_allclose(total, sum(g[i] for g in grads), rtol=0, atol=1e-15)
    best, _ = ops.crf_decode(*scores, cu)
    for a, b in alone:
        np.testing.assert_array_equal(ops.crf_decode(scores[0][a:b], *scores[1:], np.array([0, b - a]))[0], best[a:b])


@each_dtype
@pytest.mark.parametrize("size", [1e4, -1e4])
def test_scores_of_10000_stay_finite(size, dtype):
    rng = np.random.default_rng(5)
    scores = [(size * np.sign(x)).astype(dtype) for x in scores_of(rng, 12, 3)]
    labels, cu = rng.integers(0, 3, 12), cu_of([5, 7])
    best, total = ops.crf_decode(*scores, cu)
    assert 0 <= ops.crf(*scores, best, cu)[0] <= 12 * math.log(3)  # others may be as good
    for path in best, labels:
        loss, cache = ops.crf(*scores, path, cu)
        assert np.isfinite(loss)
        assert all(np.isfinite(g).all() for g in ops.crf_backward(1.0, cache))
    assert np.isfinite(ops.crf_marginals(*scores, cu)).all()
    assert (np.abs(ops.crf_log_partition(*scores, cu) - total) <= 12 * math.log(3) + 1).all()


def test_float32_keeps_its_digits_in_long_sequences():
    """log Z is 5664 here, where float32 numbers are 5e-4 apart; the loss, 131, is a sum of small differences."""
    rng = np.random.default_rng(6)
    scores, cu = scores_of(rng, 512, 9, 5.0), np.array([0, 512])
    labels = ops.crf_decode(*scores, cu)[0]
    labels[::100] = 0
    exact, cache = ops.crf(*[x.astype(np.float32).astype(np.float64) for x in scores], labels, cu)
    loss, rounded = ops.crf(*[x.astype(np.float32) for x in scores], labels, cu)
    assert ops.crf_log_partition(*scores, cu)[0] > 5000
    assert abs(loss - exact) <= 3e-7 * exact  # measured: 8e-8
    for a, b in zip(ops.crf_backward(1.0, rounded), ops.crf_backward(1.0, cache), strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=5e-5)  # of probabilities; measured: 2e-5


@each_dtype
def test_dtypes_are_kept(dtype):
    rng = np.random.default_rng(7)
    scores, cu = [x.astype(dtype) for x in scores_of(rng, 4, 3)], cu_of([1, 3])
    loss, cache = ops.crf(*scores, np.array([0, 1, 2, 0]), cu)
    assert (loss.shape, loss.dtype) == ((), dtype)
    for dloss in (1.0, dtype(1), np.float64(1)):
        assert [(g.shape, g.dtype) for g in ops.crf_backward(dloss, cache)] == [(x.shape, dtype) for x in scores]
    results = ops.crf_marginals(*scores, cu), ops.crf_log_partition(*scores, cu), ops.crf_decode(*scores, cu)[1]
    assert {x.dtype for x in results} == {np.dtype(dtype)}


@pytest.mark.parametrize("cu", [[0], [0, 0, 0]])
def test_no_token_at_all_is_loss_zero_and_gradient_zero(cu):
    scores, cu = scores_of(np.random.default_rng(8), 0, 3), np.array(cu)
    loss, cache = ops.crf(*scores, np.zeros(0, int), cu)
    assert loss == 0
    assert not any(g.any() for g in ops.crf_backward(1.0, cache))
    assert ops.crf_marginals(*scores, cu).shape == (0, 3)
    assert ops.crf_decode(*scores, cu)[0].shape == (0,)
    np.testing.assert_array_equal(ops.crf_log_partition(*scores, cu), np.zeros(len(cu) - 1))
