"""Dropout's mask: frozen for ever, the same however it is sliced, and as good as random."""

import itertools
import math

import numpy as np
import pytest

from minibert.ops import dropout, dropout_backward, dropout_key
from minibert.ops.dropout import dropout_keep
from tests.opspecs import naive_dropout

MILLION = 10**6
SIGMAS = 5
"""The masks are constants, so no test below can fail by chance; about 300 comparisons are made, and the largest of 300
normal numbers is about 3."""


def keep(size, rate, key, offset=0):
    return dropout_keep(np, size, rate, key, offset)


def bits(*args):
    return "".join("01"[kept] for kept in keep(*args).tolist())


@pytest.mark.parametrize(
    ("rate", "key", "offset", "mask"),
    [
        (0.5, 0, 0, "0011111000101101010010000111011011100110101110110011001110110110"),
        (0.1, 0x0123456789ABCDEF, 0, "1111011111111111111111101101111111111111111111111011101111111111"),
        (0.5, 0x0123456789ABCDEF, 2**32 - 32, "1011101001001010010000010111000101111111011001111010111000111010"),
        (0.5, 2**64 - 1, 2**40 + 5, "0100010111110100100110110010111110100111110011010100000110101001"),
        (0.5, 5, 2**63 - 2, "1001"),
    ],
)
def test_masks_are_what_they_always_were(rate, key, offset, mask):
    # A training run that is resumed, or repeated from a paper, depends on these bits. They never change.
    assert bits(len(mask), rate, key, offset) == mask


@pytest.mark.parametrize(
    ("parts", "key"),
    [
        ((), 0x4F0674F87B549197),
        ((0,), 0x490A32D6978C23C8),
        ((7, "bert.embeddings.dropout"), 0x294A264702B23203),
        ((1, 2, 3), 0x509EC82676945B14),
        ((0, "a"), 0x7D4303A78EC2FEF6),
        (("0", "a"), 0x1F1EB0BCB05192B2),
    ],
)
def test_keys_are_what_they_always_were(parts, key):
    assert dropout_key(*parts) == key


@pytest.mark.parametrize("offset", [0, 7, 2**32 - 50, 2**32, 2**45 + 3])
def test_the_mask_is_the_same_whatever_the_slicing(offset):
    whole = keep(100, 0.3, 99, offset)
    for size in (1, 8, 33):
        pieces = [keep(min(size, 100 - i), 0.3, 99, offset + i) for i in range(0, 100, size)]
        np.testing.assert_array_equal(np.concatenate(pieces), whole)


def test_beyond_the_32nd_bit_the_mask_does_not_repeat():
    masks = [keep(4096, 0.5, 1, word << 32) for word in (0, 1, 2, 3, 2**31)]
    for a, b in itertools.combinations(masks, 2):
        assert independent(a, b, 0.5)


def test_the_shape_does_not_matter():
    x = np.random.default_rng(0).standard_normal((4, 5, 6))
    flat = dropout(x.reshape(-1), 0.4, 3)[0]
    np.testing.assert_array_equal(dropout(x, 0.4, 3)[0], flat.reshape(x.shape))
    np.testing.assert_array_equal(dropout(x[::-1, ::2], 0.4, 3)[0], dropout(x[::-1, ::2].copy(), 0.4, 3)[0])


@pytest.mark.parametrize("rate", [0.01, 0.1, 0.5, 0.9, 0.999])
def test_the_rate_is_kept(rate):
    sigma = math.sqrt(rate * (1 - rate) * MILLION)
    for key in (0, 1, 2**32, 2**64 - 1, dropout_key(0, "site")):
        dropped = MILLION - int(keep(MILLION, rate, key).sum())
        assert abs(dropped - rate * MILLION) <= SIGMAS * sigma


def test_over_many_keys_the_rate_scatters_as_it_must():
    # Sums of 1000 elements under 1000 keys: neither biased nor too even. The variance of χ² with n degrees is 2n.
    rate, n = 0.1, 1000
    z = np.array([keep(n, rate, dropout_key(i, "site")).sum() - n * (1 - rate) for i in range(1000)])
    z = z / math.sqrt(n * rate * (1 - rate))
    assert abs(z.sum()) <= SIGMAS * math.sqrt(len(z))
    assert abs((z * z).sum() - len(z)) <= SIGMAS * math.sqrt(2 * len(z))


def independent(a, b, rate):
    """Do two masks agree as often as chance would have it? Products of centred bits have mean 0 and known variance."""
    products = (a - (1 - rate)) * (b - (1 - rate)) / (rate * (1 - rate))
    return abs(products.sum()) <= SIGMAS * math.sqrt(products.size)


@pytest.mark.parametrize("rate", [0.1, 0.5])
def test_neighbours_rows_and_blocks_are_uncorrelated(rate):
    for key in (0, dropout_key(0, "site"), dropout_key(1, "site")):
        mask = keep(MILLION, rate, key)
        for lag in (1, 2, 3, 4, 8, 16, 64, 512, 768, 1024, 3072, 65536):
            assert independent(mask[:-lag], mask[lag:], rate), f"key {key:#x}, lag {lag}"


@pytest.mark.parametrize("rate", [0.1, 0.5])
def test_seeds_steps_and_sites_give_unrelated_masks(rate):
    parts = [(0, "a"), (1, "a"), (0, "b"), (1, "b"), (0, 1, "a"), (0, "layer.0.dropout"), (0, "layer.1.dropout")]
    masks = [keep(MILLION // 4, rate, dropout_key(*p)) for p in parts]
    for a, b in itertools.combinations(masks, 2):
        assert independent(a, b, rate)


@pytest.mark.parametrize("bit", [0, 1, 31, 32, 33, 63])
def test_every_bit_of_the_key_changes_the_mask(bit):
    assert independent(keep(MILLION // 4, 0.5, 12345), keep(MILLION // 4, 0.5, 12345 ^ 1 << bit), 0.5)


def test_all_patterns_of_eight_neighbours_are_equally_frequent():
    patterns = np.packbits(keep(MILLION, 0.5, dropout_key(0, "site")))
    expected = len(patterns) / 256
    chi_square = ((np.bincount(patterns, minlength=256) - expected) ** 2).sum() / expected
    assert abs(chi_square - 255) <= SIGMAS * math.sqrt(2 * 255)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_rate_zero_is_the_identity_in_both_directions(dtype):
    x = np.arange(6, dtype=dtype)
    y, cache = dropout(x, 0.0, 1)
    np.testing.assert_array_equal(y, x)
    np.testing.assert_array_equal(dropout_backward(x, cache), x)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_the_expectation_is_preserved(dtype):
    rate = 0.3
    y, _ = dropout(np.ones(MILLION, dtype), rate, dropout_key(0, "site"))
    assert y.dtype == dtype
    assert set(np.unique(y)) == {0, dtype(1 / (1 - rate))}
    assert abs(float(y.mean(dtype=np.float64)) - 1) <= SIGMAS * math.sqrt(rate / (1 - rate) / MILLION)


def test_backward_uses_the_mask_of_forward():
    y, cache = dropout(np.ones((20, 30)), 0.5, 77, 2**33)
    np.testing.assert_array_equal(dropout_backward(np.ones((20, 30)), cache), y)


def test_an_empty_array_has_an_empty_mask():
    assert dropout(np.zeros((0, 3)), 0.5, 1)[0].shape == (0, 3)


def test_an_element_on_the_threshold_is_kept():
    # the highest rate at which element 0 is still kept, by bisection: the plain statement must turn there as well
    key, low, high = 12345, 0, 2**24
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if dropout_keep(np, 1, middle / 2**24, key)[0] else (low, middle)
    assert naive_dropout(np.ones(1), low / 2**24, key)[0] > 0
    assert naive_dropout(np.ones(1), (low + 1) / 2**24, key)[0] == 0
