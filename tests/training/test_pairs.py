"""Segment pairs: instance for instance those of the original, and ranges that lie where they should."""

from __future__ import annotations

import functools
import json
import random
from pathlib import Path

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
    return [[tokenizer.tokenize(line) for line in document.splitlines()] for document in documents], VOCAB.read_text(
        "utf-8"
    ).split()


@pytest.mark.parametrize("case", CASES, ids=lambda case: str(case["options"]["seed"]))
def test_every_instance_is_the_originals(case):
    options = dict(case["options"])
    documents, vocabulary = original()
    got = google_instances(documents, vocabulary, random.Random(options.pop("seed")), **options)
    expected = case["instances"]
    assert len(got) == len(expected) > 20
    for one, other in zip(got, expected, strict=True):
        assert one.tokens == other["tokens"].split()
        assert one.segment_ids == [0] * other["segment_ids"][0] + [1] * other["segment_ids"][1]
        assert one.is_random_next is other["is_random_next"]
        assert one.masked_lm_positions == other["masked_lm_positions"]
        assert one.masked_lm_labels == other["masked_lm_labels"]
