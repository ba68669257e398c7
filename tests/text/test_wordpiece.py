"""Greedy matching, splitting into words, joining pieces."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from minibert.text.unicode import FROZEN
from minibert.text.wordpiece import WordPiece, clean_up, join_pieces, split_words


def naive(vocab, word, max_word):
    """The algorithm as Google wrote it down, quadratic in the word."""
    if len(word) > max_word:
        return [(0, 0, len(word))]
    pieces, start = [], 0
    while start < len(word):
        for end in range(len(word), start, -1):
            piece = ("##" if start else "") + word[start:end]
            if piece in vocab:
                pieces.append((vocab[piece], start, end))
                start = end
                break
        else:
            return [(0, 0, len(word))]
    return pieces


@settings(max_examples=300)
@given(
    st.lists(st.text("ab", min_size=1, max_size=5)),
    st.lists(st.text("ab", min_size=1, max_size=5)),
    st.text("abc", max_size=30),
)
def test_greedy_matching_equals_the_naive_one(initial, inner, word):
    """K07, on random vocabularies."""
    vocab = {piece: i for i, piece in enumerate(dict.fromkeys(["[UNK]", *initial, *(f"##{piece}" for piece in inner)]))}
    assert WordPiece(vocab, 0, "##", 25).match(word) == naive(vocab, word, 25)


def test_vocabularies_that_make_matching_hard():
    """K07: {a, ##a}, and every power of a."""
    single = WordPiece({"[UNK]": 0, "a": 1, "##a": 2}, 0, "##", 100)
    assert single.match("a" * 100) == [(1, 0, 1), *((2, i, i + 1) for i in range(1, 100))]
    powers = (
        {"[UNK]": 0}
        | {"a" * size: size for size in range(1, 60)}
        | {"##" + "a" * size: 100 + size for size in range(1, 60)}
    )
    assert WordPiece(powers, 0, "##", 100).match("a" * 100) == [(59, 0, 59), (141, 59, 100)]
    assert WordPiece(powers, 0, "##", 100).match("a" * 99 + "b") == [(0, 0, 100)]


def test_limits_and_empty_words():
    pieces = WordPiece({"[UNK]": 0, "a": 1, "##a": 2}, 0, "##", 3)
    assert pieces.match("") == []
    assert pieces.match("aaa") == [(1, 0, 1), (2, 1, 2), (2, 2, 3)]
    assert pieces.match("aaaa") == [(0, 0, 4)]


def test_words_of_a_normalised_text():
    text = " don't  stop,\u3000now! "
    words = [text[start:end] for start, end in split_words(text, FROZEN.is_punctuation)]
    assert words == ["don", "'", "t", "stop", ",", "now", "!"]
    assert list(split_words("", FROZEN.is_punctuation)) == list(split_words(" \t", FROZEN.is_punctuation)) == []


def test_joining_pieces():
    assert join_pieces(["un", "##aff", "##able", ",", "he", "'", "s", "##!"], "##") == "unaffable, he ' s!"
    assert join_pieces(["##able"], "##") == "##able"
    assert clean_up("don ' t , he ' s . we 're") == "don't, he's. we're"
