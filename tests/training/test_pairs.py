"""Segment pairs: instance for instance those of the original, and ranges that lie where they should."""

from __future__ import annotations

import functools
import itertools
import json
import random
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minibert.errors import InputError
from minibert.text import BertTokenizer
from minibert.training.pairs import document_pairs, document_segments, google_instances
from tests.text.reference import VOCAB

FIXTURES = Path(__file__).parent / "fixtures"
CASES = json.loads((FIXTURES / "pairs.json").read_text("utf-8"))


@functools.cache
def original():
    """The text of the fixtures, tokenised as the original does, and its vocabulary."""
    tokenizer = BertTokenizer.from_pretrained(VOCAB, profile="google")
    documents = (FIXTURES / "text.txt").read_text("utf-8").split("\n\n")
    tokens = [[tokenizer.tokenize(line) for line in document.splitlines()] for document in documents]
    return tokens, VOCAB.read_text("utf-8").split()


@pytest.mark.parametrize("case", CASES, ids=lambda case: str(case["options"]["seed"]))
def test_every_instance_is_the_originals(case):
    options = dict(case["options"])
    documents, vocabulary = original()
    got = google_instances(documents, vocabulary, random.Random(options.pop("seed")), **options)
    expected = case["instances"]
    assert len(got) == len(expected) > 50
    for one, other in zip(got, expected, strict=True):
        assert one.tokens == other["tokens"].split()
        assert one.segment_ids == [0] * other["segment_ids"][0] + [1] * other["segment_ids"][1]
        assert one.is_random_next is other["is_random_next"]
        assert one.masked_lm_positions == other["masked_lm_positions"]
        assert one.masked_lm_labels == other["masked_lm_labels"]


def test_the_fixtures_have_every_case():
    """Truncated and short pairs, true and random ones, kept, hidden and replaced tokens, words of several pieces."""
    instances = [(case["options"], one) for case in CASES for one in case["instances"]]
    lengths = [(options["max_seq_length"] - sum(one["segment_ids"])) for options, one in instances]
    assert min(lengths) == 0 < max(lengths)
    assert {one["is_random_next"] for _, one in instances} == {True, False}
    fates = set()
    for _, one in instances:
        tokens = one["tokens"].split()
        for place, label in zip(one["masked_lm_positions"], one["masked_lm_labels"], strict=True):
            fates.add("hidden" if tokens[place] == "[MASK]" else "kept" if tokens[place] == label else "replaced")
    assert fates == {"hidden", "kept", "replaced"}
    whole = [one for options, one in instances if options["whole_word"]]
    assert any(label.startswith("##") for one in whole for label in one["masked_lm_labels"])


def test_documents_and_sentences_without_tokens_are_left_out():
    documents, vocabulary = original()
    padded = [[], *([*document, []] for document in documents), [[]]]
    one, other = (google_instances(these, vocabulary, random.Random(3)) for these in (documents, padded))
    assert one == other


def test_a_sequence_has_room_for_two_tokens():
    documents, vocabulary = original()
    assert google_instances(documents, vocabulary, random.Random(1), max_seq_length=5)
    with pytest.raises(InputError, match=r"max_seq_length: expected at least 5, of which three are special, got 4"):
        google_instances(documents, vocabulary, random.Random(1), max_seq_length=4)


# Lengths of the sentences of each document.
corpora = st.lists(st.lists(st.integers(1, 30), min_size=1, max_size=12), min_size=1, max_size=5)


def laid_out(lengths):
    borders = np.cumsum([0, *itertools.chain(*lengths)])
    ends = np.cumsum([0, *map(len, lengths)])
    return borders, np.stack([ends[:-1], ends[1:]], axis=1)


@given(corpora, st.integers(5, 40), st.sampled_from([0.0, 0.5, 1.0]), st.integers(0, 99))
def test_pairs_lie_in_their_documents(lengths, max_seq_length, short_seq_prob, seed):
    borders, documents = laid_out(lengths)
    for index, (first, last) in enumerate(documents):
        for pair in document_pairs(
            borders, documents, index, random.Random(seed), max_seq_length=max_seq_length, short_seq_prob=short_seq_prob
        ):
            a, b = pair.a_end - pair.a_start, pair.b_end - pair.b_start
            assert min(a, b) >= 1
            assert a + b <= max_seq_length - 3
            assert borders[first] <= pair.a_start < pair.a_end <= borders[last]
            if pair.is_random_next:
                owners = np.searchsorted(borders[documents[:, 1]], [pair.b_start, pair.b_end - 1], side="right")
                assert owners[0] == owners[1]
            else:
                assert pair.a_end <= pair.b_start < pair.b_end <= borders[last]
                assert len(lengths[index]) > 1


@given(corpora, st.integers(4, 40), st.sampled_from([0.0, 1.0]), st.integers(0, 99))
def test_segments_cover_their_document_once(lengths, max_seq_length, short_seq_prob, seed):
    borders, documents = laid_out(lengths)
    room = max_seq_length - 2
    for index, (first, last) in enumerate(documents):
        segments = list(
            document_segments(
                borders, documents, index, random.Random(seed), max_seq_length=max_seq_length,
                short_seq_prob=short_seq_prob,
            )
        )  # fmt: skip
        assert [segments[0][0], *(end for _, end in segments)] == [*(start for start, _ in segments), segments[-1][1]]
        assert (segments[0][0], segments[-1][1]) == (borders[first], borders[last])
        assert all(1 <= end - start <= room for start, end in segments)
        if short_seq_prob == 0:  # as full as whole sentences make them
            for (start, end), (_, following) in itertools.pairwise(segments):
                if end in borders and start in borders:
                    sentence = borders[np.searchsorted(borders, end) + 1]
                    assert sentence - start > room or following == end


def test_what_is_drawn_between_the_pairs_belongs_to_the_stream():
    borders, documents = laid_out([[5, 6, 7, 8], [9, 3, 4]])
    rng = random.Random(0)
    alone = list(document_pairs(borders, documents, 0, random.Random(0), max_seq_length=12))
    drawn = [(pair, rng.random())[0] for pair in document_pairs(borders, documents, 0, rng, max_seq_length=12)]
    assert drawn[0] == alone[0]
    assert drawn != alone
