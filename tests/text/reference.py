"""What the published tokenizers answered, as tools/make_tokenizer_fixtures.py wrote it down."""

from __future__ import annotations

import functools
import gzip
import json
from pathlib import Path
from typing import Any

from minibert.text import BertTokenizer

FIXTURES = Path(__file__).parent / "fixtures"
VOCAB = FIXTURES / "vocab.txt"


@functools.cache
def reference() -> dict[str, Any]:
    return json.loads(gzip.decompress((FIXTURES / "reference.json.gz").read_bytes()))


@functools.cache
def small() -> BertTokenizer:
    """The tokenizer most tests use: 1254 pieces, made for the fixtures."""
    return BertTokenizer.from_pretrained(VOCAB)


def assert_answers(tokenizer: BertTokenizer, answers: list[dict[str, Any]]) -> None:
    """Ids, offsets and words of each text, special tokens left out."""
    assert answers
    for expected in answers:
        got = tokenizer(expected["text"], add_special_tokens=False, return_offsets_mapping=True)
        what = ascii(expected["text"])
        assert got["input_ids"] == expected["ids"], what
        assert [at for span in got["offset_mapping"] for at in span] == expected["offsets"], what
        assert got.word_ids(0) == expected["words"], what
