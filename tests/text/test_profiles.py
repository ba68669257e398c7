"""Each documented difference between the published tokenizers, one test a difference."""

from __future__ import annotations

import pickle
import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minibert.errors import InputError
from minibert.text import PROFILES, BertTokenizer
from minibert.text.wordpiece import split_words
from tests.text.reference import VOCAB

GOOGLE = ["[UNK]", "[CLS]", "[SEP]", "want", "##want", "##ed", "wa", "un", "runn", "##ing", ","]


def tokens(profile, text, **options):
    return BertTokenizer.from_pretrained(VOCAB, profile=profile, **options).tokenize(text)


def test_names():
    assert list(PROFILES) == ["hf-fast", "hf-slow", "google"]
    with pytest.raises(InputError, match="hf-fast, hf-slow, google"):
        BertTokenizer.from_pretrained(VOCAB, profile="slow")
    assert all(pickle.loads(pickle.dumps(profile)) is profile for profile in PROFILES.values())


@pytest.mark.parametrize("profile", PROFILES)
def test_vectors_of_google_tokenization_test(profile):
    tokenizer = BertTokenizer(GOOGLE, profile=profile)
    assert tokenizer.tokenize("UNwantéd,running") == ["un", "##want", "##ed", ",", "runn", "##ing"]
    assert tokenizer.encode("UNwantéd,running", add_special_tokens=False) == [7, 4, 5, 10, 8, 9]
    assert tokenizer.tokenize("unwantedX running") == ["[UNK]", "runn", "##ing"]
    basic = BertTokenizer(
        [*GOOGLE, *["ah", "博", "推", "zz", "hello", "!", "how", "are", "you", "?", "Héllo"]], profile=profile
    )
    assert basic.tokenize("ah博推zz") == ["ah", "博", "推", "zz"]
    assert basic.tokenize(" \tHeLLo!how  \n Are yoU?  ") == ["hello", "!", "how", "are", "you", "?"]
    assert basic.tokenize("H\u00e9llo") == ["hello"]
    cased = BertTokenizer([*GOOGLE, "Héllo"], profile=profile, do_lower_case=False)
    assert cased.tokenize("H\u00e9llo") == ["Héllo"]


@pytest.mark.parametrize(("profile", "limit"), [("hf-fast", 100), ("hf-slow", 100), ("google", 200)])
@pytest.mark.parametrize("letter", ["a", "é", "a\u0301"])
def test_longest_word(profile, limit, letter):
    """K05: the limit counts characters after normalisation, whatever the accents and bytes."""
    for size in (99, 100, 101, 199, 200, 201):
        assert (tokens(profile, letter * size) == ["[UNK]"]) == (size > limit), size


def test_sigma_at_the_end_of_a_word():
    assert tokens("hf-fast", "ΑΣ") == ["α", "##σ"]
    assert tokens("hf-slow", "ΑΣ") == tokens("google", "ΑΣ") == ["α", "##ς"]


def test_extension_e_of_the_ideographs():
    vocab = ["[UNK]", "[CLS]", "[SEP]", "a", "##\U0002b820", "\U0002b820", "##a"]
    split = {name: BertTokenizer(vocab, profile=name).tokenize("a\U0002b820a") for name in PROFILES}
    assert split["hf-fast"] == ["a", "##\U0002b820", "##a"]
    assert split["hf-slow"] == split["google"] == ["a", "\U0002b820", "a"]


def test_composition():
    vocab = ["[UNK]", "[CLS]", "[SEP]", "é", "e\u0301"]
    found = {name: BertTokenizer(vocab, profile=name, do_lower_case=False).tokenize("e\u0301 é") for name in PROFILES}
    assert found["hf-slow"] == ["é", "é"]
    assert found["hf-fast"] == found["google"] == ["e\u0301", "é"]


def test_control_characters():
    """Private use is dropped by Hugging Face only, unassigned code points by its slow tokenizer only."""
    assert [tokens(name, "a\ue000b") == tokens(name, "ab") for name in PROFILES] == [True, True, False]
    assert [tokens(name, "a\ufdd0b") == tokens(name, "ab") for name in PROFILES] == [False, True, False]
    assert all(tokens(name, "a\u00ad\x00\ufffd\u200db") == tokens(name, "ab") for name in PROFILES)


def test_special_tokens_in_the_text():
    """K09: Google's code has no notion of them."""
    assert tokens("hf-fast", "x[MASK]y") == tokens("hf-slow", "x[MASK]y") == ["x", "[MASK]", "y"]
    assert tokens("google", "x[MASK]y") == ["x", "[", "mask", "]", "y"]
    for name in ("hf-fast", "hf-slow"):
        tokenizer = BertTokenizer.from_pretrained(VOCAB, profile=name)
        assert tokenizer.tokenize("x[MASK]y", split_special_tokens=True) == ["x", "[", "mask", "]", "y"]


def as_google_wrote_it(text):
    """google-research/bert's tokenization.py, step by step after its description, without offsets."""

    def is_(c, *categories):
        return unicodedata.category(c) in categories

    text = "".join(" " if c in "\t\n\r" or is_(c, "Zs") else c for c in text if c in "\t\n\r" or not is_(c, "Cc", "Cf"))
    text = "".join(f" {c} " if any(a <= ord(c) <= b for a, b in IDEOGRAPHS) else c for c in text.replace("\ufffd", ""))
    words = []
    for word in text.split():
        marks = unicodedata.normalize("NFD", word.lower())
        word = "".join(c for c in marks if not is_(c, "Mn"))
        for c in sorted(set(word)):
            if unicodedata.category(c).startswith("P") or c in "$+<=>^`|~":
                word = word.replace(c, f" {c} ")
        words += word.split()
    return words


IDEOGRAPHS = (
    *((0x4E00, 0x9FFF), (0x3400, 0x4DBF), (0x20000, 0x2A6DF), (0x2A700, 0x2B73F), (0x2B740, 0x2B81F)),
    *((0x2B820, 0x2CEAF), (0xF900, 0xFAFF), (0x2F800, 0x2FA1F)),
)


@settings(max_examples=300)
@given(
    st.text(
        st.sampled_from("abΣσ'é\u0301\u0323\u00ad\u2028\u3000中$İ \U0002b820\u2260")
        | st.characters(exclude_categories=["Cs"])
    )
)
def test_google_profile_against_its_description(text):
    """The words; matching pieces in them is the same for every profile."""
    tokenizer = BertTokenizer(GOOGLE, profile="google")
    aligned = tokenizer._normalizer(text)
    is_punctuation = tokenizer.profile.unicode.is_punctuation
    assert [aligned.text[s:e] for s, e in split_words(aligned.text, is_punctuation)] == as_google_wrote_it(text)


def test_who_keeps_the_odd_token():
    for name, expected in (("hf-fast", (2, 3)), ("hf-slow", (3, 2)), ("google", (3, 2))):
        enc = BertTokenizer.from_pretrained(VOCAB, profile=name)("a b c d", "e f g h", truncation=True, max_length=8)
        assert (enc.sequence_ids(0).count(0), enc.sequence_ids(0).count(1)) == expected


def test_lines_of_a_vocabulary(tmp_path):
    """U+2028 ends no line; whether it survives as a piece depends on how lines are stripped."""
    path = tmp_path / "vocab.txt"
    path.write_bytes("[UNK]\n[CLS]\n[SEP]\n\u2028\n##\u2028\n a\nb\r\n".encode())
    assert list(BertTokenizer.from_pretrained(path).get_vocab()) == ["[UNK]", "[CLS]", "[SEP]", "", "##", " a", "b"]
    slow = BertTokenizer.from_pretrained(path, profile="hf-slow").get_vocab()
    assert list(slow) == ["[UNK]", "[CLS]", "[SEP]", "\u2028", "##\u2028", " a", "b"]
    google = BertTokenizer.from_pretrained(path, profile="google").get_vocab()
    assert list(google) == ["[UNK]", "[CLS]", "[SEP]", "", "##", "a", "b"]


@pytest.mark.parametrize("profile", ["hf-slow", "google"])
def test_offsets_of_the_profiles_whose_originals_have_none(profile):
    tokenizer = BertTokenizer.from_pretrained(VOCAB, profile=profile)
    text = "Cafe\u0301 \x00naïve中b, ΑΣ\u2028x [MA\x00SK]"
    enc = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
    words = [text[start:end] for start, end in enc["offset_mapping"]]
    told = "".join(words)
    assert told.replace("\x00", "").replace("\u0301", "") == "CafenaIve中b,ΑΣx[MASK]".replace("I", "ï")
    assert ("\u0301" in told) == (profile == "hf-slow")  # composed letters come from both characters
    assert text.index("中") == enc["offset_mapping"][enc.char_to_token(text.index("中"))][0]
