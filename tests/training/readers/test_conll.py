"""CoNLL's columns give the sentences that were written, and every fault is told with its line."""

import pytest

from minibert import InputError, LoadError
from minibert.training.readers import TaggedExample, read_conll


def test_words_and_tags(file):
    data = read_conll(file("a.conll", "EU\tB-ORG\nInc\tI-ORG\nsays\tO\n\n\t\n\nNew\u00a0York\tB-LOC\n.\tO"))
    assert data.examples == [
        TaggedExample(("EU", "Inc", "says"), ("B-ORG", "I-ORG", "O")),
        TaggedExample(("New\u00a0York", "."), ("B-LOC", "O")),
    ]
    assert data.labels == ("B-LOC", "B-ORG", "I-ORG", "O")


def test_conll_2003(file):
    text = "-DOCSTART- -X- O O\n\nEU NNP I-NP I-ORG\nUN  NNP I-NP B-ORG\nParis NNP I-NP I-LOC\nsaid VB I-VP O\n\n"
    path = file("a.txt", text.replace("\n", "\r\n"))
    data = read_conll(path, scheme="IOB1")
    assert data.examples == [TaggedExample(("EU", "UN", "Paris", "said"), ("B-ORG", "B-ORG", "B-LOC", "O"))]
    assert read_conll(path, tag=2, scheme="any").examples[0].tags == ("NNP", "NNP", "NNP", "VB")
    assert read_conll(path, word=-3, tag=-1, scheme="IOB1").examples[0].words == ("NNP", "NNP", "NNP", "VB")
    with pytest.raises(LoadError, match=r"""a.txt, line 3: expected B-ORG .* after 'O', got 'I-ORG'\n  hint: .*IOB1"""):
        read_conll(path)


def test_a_sentence_begins_afresh(file):
    path = file("a.conll", "a\tB-X\n\nb\tI-X\n")
    with pytest.raises(LoadError, match="line 3: expected B-X or what goes on after 'O', got 'I-X'"):
        read_conll(path)
    assert [e.tags for e in read_conll(path, scheme="IOB1").examples] == [("B-X",), ("B-X",)]


@pytest.mark.parametrize(
    ("content", "options", "message"),
    [
        ("", {}, "a.conll: expected sentences, got an empty file"),
        ("\n\n", {}, "a.conll: expected sentences, got none"),
        ("a\tO\nb\tx\tO\n", {}, r"a.conll, line 2: expected 2 columns as in the first line, got 3: 'b\\tx\\tO\\n'"),
        ("a\tO\nb\n", {}, "a.conll, line 2: expected 2 columns as in the first line, got 1"),
        ("a\nb\n", {}, r"a.conll, line 1: expected a word and its tag in columns, got 'a\\n'"),
        ("\tO\n", {}, "a.conll, line 1: expected a word and a tag, got"),
        ("a\tO\nb\t\n", {"scheme": "any"}, "a.conll, line 2: expected a word and a tag, got"),
        ("a\tO\nb\tPER\n", {}, 'a.conll, line 2: expected O, B-type or I-type, got .PER.\n  hint: .*scheme="any"'),
        ("a\tB-\n", {}, "a.conll, line 1: expected O, B-type or I-type, got 'B-'"),
        ("a\tB-X\nb\tI-Y\n", {}, "a.conll, line 2: expected B-Y or what goes on after 'B-X', got 'I-Y'"),
        ("a\tB-X\n", {"labels": ["O"]}, "a.conll, line 1: expected a label of 'O', got 'B-X'"),
        (b"a\tO\n\xe9\tO\n", {}, "a.conll, line 2: byte 0xe9 at 0 is not UTF-8"),
        ("a\tO\n", {"tag": 3}, "line 1: tag: expected a column from 1 to 2, or -1, got 3"),
        ("a\tO\n", {"word": 0}, "line 1: word: expected a column from 1 to 2, or -1, got 0"),
        ("a\tO\n", {"scheme": "BIOES"}, "scheme: expected one of BIO, IOB1, any, got 'BIOES'"),
    ],
)  # fmt: skip
def test_faults_of_tags_are_told_with_their_line(file, content, options, message):
    with pytest.raises((LoadError, InputError), match=message):
        read_conll(file("a.conll", content), **options)
