"""Attention: who sees whom, what does not matter, and what is exactly zero."""

import itertools

import numpy as np
import pytest

from minibert.ops import attention, attention_backward, attention_probs, dropout
from tests.tolerances import SAME

HEADS, SIZE = 3, 4
HIDDEN = HEADS * SIZE


def batch(*lengths, seed=0, scale=1.0):
    """qkv, cu_seqlens"""
    rng = np.random.default_rng(seed)
    return scale * rng.standard_normal((sum(lengths), 3 * HIDDEN)), np.cumsum([0, *lengths])


def both(qkv, cu_seqlens, *options, dcontext=None):
    """context, dqkv"""
    context, cache = attention(qkv, cu_seqlens, HEADS, *options)
    if dcontext is None:
        dcontext = np.random.default_rng(1).standard_normal(context.shape)
    return context, attention_backward(dcontext, cache)


@pytest.mark.parametrize("causal", [False, True])
def test_packed_is_the_same_as_one_by_one(causal):
    lengths = (5, 1, 0, 9, 2)
    qkv, cu = batch(*lengths)
    dcontext = np.random.default_rng(2).standard_normal((sum(lengths), HIDDEN))
    context, dqkv = both(qkv, cu, causal, dcontext=dcontext)
    for start, end in itertools.pairwise(cu):
        alone = np.array([0, end - start])
        one, done = both(qkv[start:end], alone, causal, dcontext=dcontext[start:end])
        np.testing.assert_array_equal(context[start:end], one)
        np.testing.assert_array_equal(dqkv[start:end], done)


def test_a_single_token_sees_only_itself():
    qkv, cu = batch(1)
    context, dqkv = both(qkv, cu)
    np.testing.assert_array_equal(context, qkv[:, 2 * HIDDEN :])
    assert not dqkv[:, : 2 * HIDDEN].any()  # its one probability is 1, whatever query and key are


@pytest.mark.parametrize("lengths", [(), (0,), (0, 0, 0)])
def test_no_token_at_all_is_no_error(lengths):
    qkv, cu = batch(*lengths)
    context, dqkv = both(qkv, cu)
    assert (context.shape, dqkv.shape) == ((0, HIDDEN), (0, 3 * HIDDEN))


def test_the_order_of_the_sequences_does_not_matter():
    a, b = batch(4, seed=3)[0], batch(7, seed=4)[0]
    first = both(np.concatenate([a, b]), np.array([0, 4, 11]), dcontext=np.ones((11, HIDDEN)))
    second = both(np.concatenate([b, a]), np.array([0, 7, 11]), dcontext=np.ones((11, HIDDEN)))
    for one, other in zip(first, second, strict=True):
        np.testing.assert_array_equal(one, np.concatenate([other[7:], other[:7]]))


def test_permuted_tokens_give_permuted_results():
    # attention knows no positions
    qkv, cu = batch(8)
    order = np.random.default_rng(5).permutation(8)
    dcontext = np.random.default_rng(6).standard_normal((8, HIDDEN))
    results = both(qkv, cu, dcontext=dcontext)
    permuted = both(qkv[order], cu, dcontext=dcontext[order])
    for one, other in zip(results, permuted, strict=True):
        np.testing.assert_allclose(other, one[order], atol=SAME)


def test_the_future_does_not_change_the_past():
    qkv, cu = batch(6)
    context, _ = attention(qkv, cu, HEADS, True)
    changed = qkv.copy()
    changed[4:] *= -3
    np.testing.assert_array_equal(attention(changed, cu, HEADS, True)[0][:4], context[:4])


def test_the_past_sends_no_gradient_to_the_future():
    qkv, cu = batch(6)
    dcontext = np.zeros((6, HIDDEN))
    dcontext[:4] = 1 + np.arange(HIDDEN)
    _, dqkv = both(qkv, cu, True, dcontext=dcontext)
    assert not dqkv[4:].any()
    assert dqkv[:4].any(axis=1).all()


@pytest.mark.parametrize("causal", [False, True])
def test_probabilities_are_one_array_a_sequence_with_rows_that_sum_to_one(causal):
    _, cache = attention(*batch(5, 0, 2), HEADS, causal, 0.5, 7)  # dropout comes after
    probs = attention_probs(cache)
    assert [p.shape for p in probs] == [(HEADS, 5, 5), (HEADS, 2, 2)]
    for p in probs:
        np.testing.assert_allclose(p.sum(axis=-1), 1, rtol=0, atol=1e-15)
        assert not (causal and np.triu(p, 1).any())


def test_a_bias_on_all_keys_changes_nothing_and_has_gradient_zero():
    # q·b adds one number to all scores of a row: the gradient of BERT's key.bias, the sum of dk, is exactly zero
    qkv, cu = batch(7, 3)
    context, dqkv = both(qkv, cu)
    shifted = qkv.copy()
    shifted[:, HIDDEN : 2 * HIDDEN] += np.random.default_rng(8).standard_normal(HIDDEN)
    np.testing.assert_allclose(attention(shifted, cu, HEADS)[0], context, atol=SAME)
    dquery, dkey = dqkv[:, :HIDDEN], dqkv[:, HIDDEN : 2 * HIDDEN]
    assert np.linalg.norm(dkey.sum(axis=0)) <= 1e-14 * np.linalg.norm(dquery)


def test_value_gradients_pass_on_all_that_comes_in():
    # columns of Pᵀ do: every query hands out its cotangent in shares that sum to 1
    dcontext = np.random.default_rng(9).standard_normal((7, HIDDEN))
    _, dqkv = both(*batch(7), dcontext=dcontext)
    np.testing.assert_allclose(dqkv[:, 2 * HIDDEN :].sum(axis=0), dcontext.sum(axis=0), atol=SAME)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_huge_scores_pick_one_key_and_stay_finite(dtype):
    qkv, cu = batch(6, scale=1e4)  # scores of 1e8
    context, cache = attention(qkv.astype(dtype), cu, HEADS)
    dqkv = attention_backward(np.ones_like(context), cache)
    assert np.isfinite(context).all()
    assert np.isfinite(dqkv).all()
    assert all(((p == 0) | (p == 1)).all() for p in attention_probs(cache))


@pytest.mark.parametrize("causal", [False, True])
def test_dropout_numbers_the_probabilities_across_the_batch(causal):
    # as one long array: (A, T, T) of the first sequence, then of the second, ...
    lengths, rate, key = (3, 0, 4, 1), 0.4, 2**63 + 12345
    qkv, cu = batch(*lengths)
    context, cache = attention(qkv, cu, HEADS, causal, rate, key)
    whole = np.concatenate([p.reshape(-1) for p in attention_probs(cache)])
    dropped = dropout(whole, rate, key)[0]
    offset = 0
    for start, end in itertools.pairwise(cu):
        length = end - start
        probs = dropped[offset : offset + HEADS * length**2].reshape(HEADS, length, length)
        offset += probs.size
        v = qkv[start:end, 2 * HIDDEN :].reshape(length, HEADS, SIZE)
        expected = np.einsum("ahk,khd->ahd", probs.transpose(1, 0, 2), v).reshape(length, HIDDEN)
        np.testing.assert_allclose(context[start:end], expected, atol=SAME)
    assert offset == whole.size


def test_arguments_are_left_alone():
    qkv, cu = batch(4, 2)
    before = qkv.copy(), cu.copy()
    both(qkv, cu, True, 0.3, 1)
    np.testing.assert_array_equal(qkv, before[0])
    np.testing.assert_array_equal(cu, before[1])
