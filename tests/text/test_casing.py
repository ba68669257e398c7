"""A cased vocabulary that no file calls so: said, not guessed."""

import json

import pytest

import minibert as mb
from minibert.text.casing import advise, capitals

SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
LOWER = [*SPECIAL, *(f"w{i}" for i in range(195))]


def folder(tmp_path, pieces, settings=None):
    (tmp_path / "vocab.txt").write_text("\n".join(pieces) + "\n")
    if settings is not None:
        (tmp_path / "tokenizer_config.json").write_text(json.dumps(settings))
    return tmp_path


def test_special_tokens_have_no_case():
    assert capitals(LOWER) == []
    assert capitals([*SPECIAL, "[unused7]", "a"]) == []


def test_strays_are_no_casing():
    assert capitals([*LOWER, "A"]) == []
    assert capitals([*LOWER, "A", "##B", "É"]) == ["A", "##B", "É"]


def test_a_cased_vocabulary_is_said_where_nothing_says_how_to_read_it(tmp_path):
    path = folder(tmp_path, [*LOWER, "London", "Paris", "##X"])
    with pytest.warns(
        UserWarning, match="3 pieces have capital letters, as 'London': a cased model needs do_lower_case="
    ):
        tok = mb.BertTokenizer.from_pretrained(path)
    assert tok.tokenize("London") == ["[UNK]"]
    assert mb.BertTokenizer.from_pretrained(path, do_lower_case=False).tokenize("London") == ["London"]
    assert advise(path) == (False, "3 pieces of the vocabulary have capital letters, 'London' for one")


@pytest.mark.parametrize("lower", [True, False])
def test_a_file_that_says_it_is_believed(tmp_path, lower):
    path = folder(tmp_path, [*LOWER, "London", "Paris", "##X"], {"do_lower_case": lower})
    assert mb.BertTokenizer.from_pretrained(path).tokenize("London") == (["[UNK]"] if lower else ["London"])
    assert advise(path) is None


def test_advice_for_an_uncased_vocabulary_and_for_none(tmp_path):
    assert advise(tmp_path) is None
    assert advise(folder(tmp_path, LOWER)) == (True, "no piece of the vocabulary has a capital letter")
