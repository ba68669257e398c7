"""Normalisation keeps track of every character, and may be done chunk by chunk."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minibert.text.normalizer import Aligned, Normalizer
from minibert.text.profiles import PROFILES
from minibert.text.wordpiece import split_words

# Text rich in what normalisation treats specially: marks of many classes, ideographs, sigma, hangul, controls.
ODD = (
    "aBΣσéß İ中\U0002b820豈,'!$ \t\n\x00\u200d\ufffd"
    "\u0301\u0323\u0345\u0344\u0f73\u1b44\u302e\U0001d165가\u1112\u1161\u2260\u037e\u2028"
)
TEXTS = st.text(st.sampled_from(ODD) | st.characters(exclude_categories=["Cs"]), max_size=25)
OPTIONS = st.fixed_dictionaries(
    {
        "clean_text": st.booleans(),
        "handle_chinese_chars": st.booleans(),
        "strip_accents": st.sampled_from([None, True, False]),
        "lowercase": st.booleans(),
    }
)
BUILT: dict[tuple, tuple] = {}


def built(profile, options):
    """A normalizer and its chunks; making the class of chunks takes a few milliseconds."""
    key = (profile, *sorted(options.items()))
    if key not in BUILT:
        normalizer = Normalizer(PROFILES[profile], **options)
        BUILT[key] = normalizer, normalizer.chunks
    return BUILT[key]


def words(aligned, profile):
    is_punctuation = PROFILES[profile].unicode.is_punctuation
    return [
        (aligned.text[s:e], list(aligned.starts[s:e]), list(aligned.ends[s:e]))
        for s, e in split_words(aligned.text, is_punctuation)
    ]


@pytest.mark.parametrize("profile", PROFILES)
@settings(max_examples=150)
@given(text=TEXTS, options=OPTIONS)
def test_chunks_do_not_influence_one_another(profile, text, options):
    normalizer, chunks = built(profile, options)
    whole = words(normalizer(text), profile)
    parts = []
    for match in chunks.finditer(text):
        at = match.start()
        for word, starts, ends in words(normalizer(match.group()), profile):
            parts.append((word, [at + i for i in starts], [at + i for i in ends]))
    assert parts == whole


@pytest.mark.parametrize("profile", PROFILES)
@settings(max_examples=100)
@given(text=TEXTS, options=OPTIONS)
def test_every_character_has_an_origin(profile, text, options):
    aligned = built(profile, options)[0](text)
    assert len(aligned.text) == len(aligned.starts) == len(aligned.ends)
    assert all(0 <= start < end <= len(text) for start, end in zip(aligned.starts, aligned.ends, strict=True))
    assert all(a <= b for a, b in zip(aligned.starts, aligned.starts[1:], strict=False))


@given(st.text(st.characters(max_codepoint=127), max_size=30))
def test_printable_ascii_only_changes_its_case(text):
    lower, kept = (
        built("hf-fast", {"clean_text": True, "handle_chinese_chars": True, "strip_accents": None, "lowercase": x})[0]
        for x in (True, False)
    )
    printable = "".join(c for c in text if c.isprintable())
    assert lower(printable) == Aligned.identity(printable.lower())
    assert kept(printable) == Aligned.identity(printable)


@pytest.mark.parametrize(
    ("text", "normalised", "starts", "ends"),
    [
        ("É", "e", [0], [1]),
        ("E\u0301x", "ex", [0, 2], [1, 3]),
        ("a\x00b", "ab", [0, 2], [1, 3]),
        ("a中b", "a 中 b", [0, 1, 1, 1, 2], [1, 2, 2, 2, 3]),
        ("가", "\u1100\u1161", [0, 0], [1, 1]),
        ("İ", "i", [0], [1]),
        ("ΑΣ", "ασ", [0, 1], [1, 2]),
        ("\u0301\u0302", "", [], []),
        ("a\u302e\u1b44", "a\u1b44\u302e", [0, 1, 2], [1, 2, 3]),  # classes 224 and 9: sorted, origins by position
    ],
)
def test_origins_by_hand(text, normalised, starts, ends):
    aligned = Normalizer(PROFILES["hf-fast"])(text)
    assert (aligned.text, list(aligned.starts), list(aligned.ends)) == (normalised, starts, ends)


def test_lowering_that_lengthens_without_stripping():
    aligned = Normalizer(PROFILES["hf-fast"], strip_accents=False)("İx")
    assert (aligned.text, list(aligned.starts)) == ("i\u0307x", [0, 0, 1])
    word = Normalizer(PROFILES["google"], strip_accents=False)("İΣ")
    assert (word.text, list(word.starts)) == ("i\u0307ς", [0, 0, 1])
