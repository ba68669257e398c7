"""Dynamic masking: how many, which, and what becomes of them.

Bounds on drawn proportions are five standard deviations of what is drawn; the seed is fixed.
"""

from __future__ import annotations

import math

import numpy as np
import pytest

from minibert.errors import InputError
from minibert.text import BertTokenizer
from minibert.training import masking as module
from minibert.training.masking import KINDS, Masking, masking_for
from tests.specimens import WORDS

MASK, VOCAB = 4, np.arange(1000)
CONTINUES = np.zeros(1000, bool)
CONTINUES[500:] = True  # half of all pieces


def rule(kind="token", **options):
    return Masking(kind, mask_id=MASK, vocabulary=VOCAB, continues=CONTINUES, **options)


def sample(rows=2000, size=64, seed=0):
    """[CLS] A [SEP] B [SEP] padding, of all lengths."""
    rng = np.random.default_rng(seed)
    ids = rng.integers(10, 1000, (rows, size))
    ordinary = np.zeros((rows, size), bool)
    for row in range(rows):
        a, b = np.sort(rng.choice(np.arange(2, size - 1), 2, replace=False))
        ordinary[row, 1:a] = ordinary[row, a + 1 : b + 1] = True
    return ids, ordinary


def wanted(ordinary, prob=0.15):
    """Python's own rounding of the whole row's length."""
    return np.array([max(1, round((row.sum() + 3) * prob)) for row in ordinary])


@pytest.mark.parametrize("kind", KINDS)
def test_of_the_chosen_80_10_10(kind):
    ids, ordinary = sample()
    hidden, labels = rule(kind)(ids, ordinary, np.random.default_rng(1))
    chosen = labels != -100
    assert not chosen[~ordinary].any()
    np.testing.assert_array_equal(hidden[~chosen], ids[~chosen])
    np.testing.assert_array_equal(labels[chosen], ids[chosen])
    count = chosen.sum()
    assert count > 10_000
    masked = (hidden[chosen] == MASK).mean()
    kept = (hidden[chosen] == ids[chosen]).mean()
    # Tokens of a span share their fate: a span of ten weighs like ten equal draws.
    independent = count / module._SPAN_MAX if kind == "span" else count
    for got, expected in ((masked, 0.8), (kept, 0.1), (1 - masked - kept, 0.1)):
        assert abs(got - expected) < 5 * math.sqrt(expected * (1 - expected) / independent) + 1e-3  # 1/1000 of a word


@pytest.mark.parametrize("kind", ["token", "span"])
def test_as_many_as_the_original_would_choose(kind):
    ids, ordinary = sample()
    _, labels = rule(kind)(ids, ordinary, np.random.default_rng(1))
    np.testing.assert_array_equal((labels != -100).sum(axis=1), np.minimum(wanted(ordinary), ordinary.sum(axis=1)))
    _, labels = rule(kind, max_predictions=4)(ids, ordinary, np.random.default_rng(1))
    assert (labels != -100).sum(axis=1).max() == 4


def test_single_segments_have_two_special_tokens():
    ids = np.full((1, 16), 10)
    ordinary = np.ones((1, 16), bool)
    ordinary[0, [0, 11, 12, 13, 14, 15]] = False  # 10 tokens, two special ones: 0.2 * 12 = 2.4
    _, labels = rule(prob=0.2)(ids, ordinary, np.random.default_rng(0))
    assert (labels != -100).sum() == 2


def test_tokens_are_chosen_anywhere_alike():
    ids = np.full((4000, 20), 10)
    _, labels = rule(prob=0.25)(ids, np.ones((4000, 20), bool), np.random.default_rng(2))
    part = (labels != -100).mean(axis=0)  # 0.25 * 22 = 5.5, rounded to the even 6, of 20
    assert np.abs(part - 0.3).max() < 5 * math.sqrt(0.3 * 0.7 / 4000)


def test_random_tokens_are_from_the_whole_vocabulary():
    ids = np.full((3000, 64), 10)
    hidden, labels = rule(prob=1.0)(ids, np.ones((3000, 64), bool), np.random.default_rng(3))
    replaced = hidden[(labels != -100) & (hidden != 10) & (hidden != MASK)]
    counts = np.bincount(replaced, minlength=1000)[np.isin(VOCAB, [10, MASK], invert=True)]
    expected = 3000 * 64 * 0.1 / 1000
    assert counts.min() > 0
    assert abs(counts.mean() - expected) < 5 * math.sqrt(expected / 1000)


def test_whole_words_are_chosen_whole():
    ids, ordinary = sample()
    numbers = wanted(ordinary)
    _, labels = rule("whole-word")(ids, ordinary, np.random.default_rng(1))
    exact = 0
    for row in range(len(ids)):
        words: list[list[int]] = []
        for place in np.flatnonzero(ordinary[row]):
            if CONTINUES[ids[row, place]] and words and words[-1][-1] == place - 1:
                words[-1].append(place)
            else:
                words.append([place])
        chosen = labels[row] != -100
        assert 1 <= chosen.sum() <= numbers[row]
        exact += chosen.sum() == numbers[row]
        if min(map(len, words)) > numbers[row]:
            assert chosen.sum() == numbers[row]  # none fits: as much of one as is wanted
            assert sum(chosen[word].any() for word in words) == 1
            continue
        left = numbers[row] - chosen.sum()
        for word in words:
            assert chosen[word].all() or not chosen[word].any()
            assert chosen[word].all() or len(word) > left  # else it would have been taken
    assert exact > 0.9 * len(ids)


def test_spans_are_runs_of_words_of_geometric_lengths():
    rows, size = 5, 20_000
    ordinary = np.ones((rows, size), bool)
    rng = np.random.default_rng(0)
    chosen, spans = module._spans(ordinary, ordinary, np.full(rows, 400), rng)
    assert (chosen.sum(axis=1) == 400).all()
    lengths = np.concatenate([np.unique(spans[row][chosen[row]], return_counts=True)[1] for row in range(rows)])
    assert lengths.max() == 10
    q = 0.8 ** np.arange(10)
    mean = (q * np.arange(1, 11)).sum() / q.sum()
    deviation = math.sqrt((q * np.arange(1, 11) ** 2).sum() / q.sum() - mean**2)
    assert abs(lengths.mean() - mean) < 5 * deviation / math.sqrt(len(lengths))


def test_spans_begin_with_words_and_cross_no_special_token():
    ids, ordinary = sample()
    masking = rule("span")
    starts = masking._starts(ids, ordinary)
    chosen, spans = module._spans(starts, ordinary, wanted(ordinary), np.random.default_rng(1))
    for row, place in zip(*np.nonzero(chosen), strict=True):
        first = spans[row, place]
        assert ordinary[row, first : place + 1].all()
        # A word, or what another span has left of one.
        assert starts[row, first] or chosen[row, first - 1]


@pytest.mark.parametrize("kind", KINDS)
def test_the_generator_decides(kind):
    ids, ordinary = sample(50)
    one, two, other = (rule(kind)(ids, ordinary, np.random.default_rng(seed)) for seed in (1, 1, 2))
    np.testing.assert_array_equal(one, two)
    assert (one[0] != other[0]).any()


def test_the_tokenizers_mask_and_pieces():
    masking = masking_for(BertTokenizer(WORDS), "whole-word", 0.15, None)
    assert masking.mask_id == WORDS.index("[MASK]")
    assert [WORDS[number] for number in np.flatnonzero(masking.continues)] == [w for w in WORDS if w.startswith("##")]
    assert masking.vocabulary.tolist() == list(range(len(WORDS)))


def test_what_is_refused():
    with pytest.raises(InputError, match=r"masking: expected one of token, whole-word, span, got 'words'"):
        rule("words")
    with pytest.raises(InputError, match=r"masked_lm_prob: expected a number above 0 and up to 1, got 0"):
        rule(prob=0)
    with pytest.raises(InputError, match=r"max_predictions: expected at least 1, got 0"):
        rule(max_predictions=0)
    with pytest.raises(InputError, match=r"expected a mask token in the vocabulary"):
        masking_for(BertTokenizer([word for word in WORDS if word != "[MASK]"]), "token", 0.15, None)
