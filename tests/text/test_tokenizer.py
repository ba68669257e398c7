"""The public interface: calls, arguments, attributes, and what is refused."""

from __future__ import annotations

import pickle
import subprocess
import sys
import threading

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minibert.errors import InputError, LoadError
from minibert.text import AddedToken, BertTokenizer
from tests.text.reference import VOCAB, small

CLS, SEP, PAD = 2, 3, 0


def test_one_text_gives_flat_lists_and_attributes():
    enc = small()("The cat, the mask")
    assert list(enc) == ["input_ids", "token_type_ids", "attention_mask"]
    assert enc.input_ids == enc["input_ids"]
    assert enc.input_ids[0] == CLS
    assert enc.input_ids[-1] == SEP
    assert (lambda **names: sorted(names))(**enc) == sorted(enc)
    with pytest.raises(AttributeError, match="offset_mapping"):
        _ = enc.offset_mapping


def test_arrays():
    enc = small()(["a", "a b c"], padding=True, return_tensors="np", return_offsets_mapping=True)
    assert enc.input_ids.shape == enc.attention_mask.shape == (2, 5)
    assert enc.offset_mapping.shape == (2, 5, 2)
    assert all(value.dtype == np.int64 for value in enc.values())
    assert enc.input_ids[0].tolist() == [CLS, small().convert_tokens_to_ids("a"), SEP, PAD, PAD]
    assert small()("a", return_tensors="np").input_ids.shape == (1, 3)


def test_ragged_rows_cannot_be_arrays():
    with pytest.raises(InputError, match=r"rows of 3 to 4 tokens(?s:.)*padding=True"):
        small()(["a", "b c"], return_tensors="np")


@pytest.mark.parametrize("framework", ["pt", "tf", "jax", 1, True])
def test_other_frameworks_are_refused(framework):
    with pytest.raises(InputError, match="return_tensors"):
        small()("a", return_tensors=framework)


@pytest.mark.parametrize("text", ["", " ", "\t\n\r ", "\x00\x1f\x7f\u200b\ufffd", "\u0301\u0302"])
def test_nothing_to_tokenize(text):
    """K01."""
    enc = small()(text, return_offsets_mapping=True)
    assert enc.input_ids == [CLS, SEP]
    assert enc.offset_mapping == [(0, 0), (0, 0)]


@pytest.mark.parametrize("codes", [(0xD800,), (0xDFFF,), (0xDC00, 0xD800), (0xD83D, 0xDE00)])
def test_lone_surrogates_count_as_replacement_characters(codes):
    """K02: dropped by the cleaner, offsets right; two halves of a pair in two escapes stay two lone halves."""
    lone = "".join(map(chr, codes))
    enc = small()(f"the{lone} cat", add_special_tokens=False, return_offsets_mapping=True)
    assert enc.tokens(0) == small().tokenize("the cat")
    assert enc.offset_mapping[0] == (0, 3)
    assert enc.offset_mapping[-1][1] == 7 + len(lone)
    raw = BertTokenizer.from_pretrained(VOCAB, clean_text=False)
    assert raw.tokenize(f"a {lone} b") == ["a", "[UNK]", "b"]


@pytest.mark.parametrize("text", [b"\xff\xfe", b"\xc0\xaf", bytearray(b"a"), None, 3, 1.5, {"a": 1}, {"a"}, object()])
def test_what_is_no_text(text):
    """K03 and its like: bytes are not guessed at."""
    with pytest.raises(InputError, match="text: expected a text"):
        small()(text)
    with pytest.raises(InputError, match=r"text\[1\]: expected a text"):
        small()(["a", text])


def test_bytes_get_a_hint():
    with pytest.raises(InputError, match="decode"):
        small()(b"abc")


def test_nested_lists_need_to_be_called_words():
    with pytest.raises(InputError, match="is_split_into_words=True"):
        small()([["a", "b"], ["c"]])
    with pytest.raises(InputError, match="expects lists of words"):
        small()("a b", is_split_into_words=True)
    with pytest.raises(InputError, match="a list of words"):
        small()([["a", 3]], is_split_into_words=True)


def test_pairs_in_every_form():
    expected = small()("a b", "c").input_ids
    assert small()(["a b"], ["c"]).input_ids == [expected]
    assert small()([("a b", "c"), "a"]).input_ids == [expected, small()("a").input_ids]
    assert (
        small()(["a", "b"], ["c", "d"], is_split_into_words=True).input_ids
        == expected[:2] + small()("b", "c d").input_ids[1:]
    )
    assert small()([["a", "b"]], [["c"]], is_split_into_words=True).input_ids == [expected]
    assert small()("a", "").input_ids == small()("a").input_ids  # as in the reference
    assert small()(["a"], [""]).input_ids[0][-2:] == [SEP, SEP]


@pytest.mark.parametrize("pair", ["c", ["c"], 3, [None, "c"]])
def test_pairs_that_do_not_match(pair):
    with pytest.raises(InputError, match="text_pair"):
        small()(["a", "b"], pair)


def test_empty_batch():
    assert small()([]) == {"input_ids": [], "token_type_ids": [], "attention_mask": []}
    assert small()([], padding=True).input_ids == []


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"padding": "yes"}, "padding: expected True"),
        ({"truncation": "both"}, "truncation: expected True"),
        ({"max_length": -1}, "max_length"),
        ({"max_length": 4.0}, "max_length"),
        ({"max_length": True}, "max_length"),
        ({"stride": -1}, "stride"),
        ({"stride": None}, "stride"),
        ({"padding_side": "top"}, "padding_side"),
        ({"truncation_side": "middle"}, "truncation_side"),
        (
            {"padding": True, "truncation": True, "max_length": 6, "pad_to_multiple_of": 4},
            "multiple of pad_to_multiple_of",
        ),
    ],
)
def test_impossible_arguments(options, match):
    with pytest.raises(InputError, match=match):
        small()("a b c", **options)


@pytest.mark.parametrize("limit", [0, 1, 2, 3, 4])
def test_tiny_limits(limit):
    """K10: no room for the special tokens is an error, never a negative slice."""
    for texts, special in ((("a b c d",), 2), (("a b c d", "e f g"), 3)):
        if limit < special:
            with pytest.raises(InputError, match="no room"):
                small()(*texts, truncation=True, max_length=limit)
        else:
            assert len(small()(*texts, truncation=True, max_length=limit).input_ids) == limit
        assert len(small()(*texts, truncation=True, max_length=limit, add_special_tokens=False).input_ids) == limit


def test_long_pairs():
    """K10."""
    enc = small()("the " * 700, "cat " * 400, truncation=True, max_length=512)
    assert len(enc.input_ids) == 512
    assert len(small()("the " * 700).input_ids) == 702  # no truncation asked for: the model refuses it, not we


def test_strides():
    rows = small()("a b c d e", truncation=True, max_length=5, stride=1, return_overflowing_tokens=True)
    assert [small().decode(row, skip_special_tokens=True) for row in rows.input_ids] == ["a b c", "c d e"]
    assert rows.overflow_to_sample_mapping == [0, 0]
    for stride in (3, 4, 100):
        with pytest.raises(InputError, match="stride"):
            small()("a b c d e", truncation=True, max_length=5, stride=stride, return_overflowing_tokens=True)


def test_truncating_one_text_only():
    assert small()("a b c", "d e", truncation="only_first", max_length=6).input_ids == small()("a", "d e").input_ids
    assert small()("a b", "c d e", truncation="only_second", max_length=6).input_ids == small()("a b", "c").input_ids
    for name in ("only_first", "only_second"):
        with pytest.raises(InputError, match="would leave none"):
            small()("a b c", "d e f", truncation=name, max_length=5)
    with pytest.raises(InputError, match="no second text"):
        small()("a b c", truncation="only_second", max_length=3)


@settings(max_examples=100)
@given(
    st.integers(0, 9),
    st.integers(0, 9),
    st.integers(3, 14),
    st.sampled_from(["hf-fast", "hf-slow"]),
    st.sampled_from(["left", "right"]),
)
def test_longest_first_shortens_as_little_as_possible(first, second, limit, profile, side):
    tokenizer = PROFILED[profile]
    enc = tokenizer("a " * first, "b " * second or " ", truncation=True, max_length=limit, truncation_side=side)
    kept = [enc.sequence_ids(0).count(text) for text in (0, 1)]
    assert sum(kept) == min(first + second, limit - 3)
    if kept != [first, second]:
        assert abs(kept[0] - kept[1]) <= 1 or kept[0] == first or kept[1] == second


PROFILED = {name: BertTokenizer.from_pretrained(VOCAB, profile=name) for name in ("hf-fast", "hf-slow")}


@settings(max_examples=100)
@given(st.text(max_size=40))
def test_offsets_cover_the_text(text):
    """Tokens come in order, and each character that is not dropped belongs to one."""
    enc = small()(text, add_special_tokens=False, return_offsets_mapping=True)
    spans = enc["offset_mapping"]
    assert all(start < end for start, end in spans)
    assert spans == sorted(spans)
    for word in text.split():
        if word.isascii() and word.isalpha():
            assert enc.char_to_token(text.index(word)) is not None


def test_default_limit():
    tokenizer = BertTokenizer.from_pretrained(VOCAB, model_max_length=6)
    assert len(tokenizer("a b c d e f g", truncation=True).input_ids) == 6
    assert len(tokenizer("a", padding="max_length").input_ids) == 6
    assert len(tokenizer("a b c d e f g", max_length=4).input_ids) == 4  # max_length alone means truncation
    unlimited = small()
    assert len(unlimited("a b c d e f g", truncation=True).input_ids) == 9
    assert len(unlimited("a", padding="max_length").input_ids) == 3


def test_padding_rows_made_before():
    enc = small().pad(
        {"input_ids": [[5, 6], [7]], "token_type_ids": [[0, 1], [0]], "labels": [1, 2]},
        max_length=3,
        padding="max_length",
    )
    assert enc == {
        "input_ids": [[5, 6, 0], [7, 0, 0]],
        "token_type_ids": [[0, 1, 0], [0, 0, 0]],
        "labels": [1, 2],
        "attention_mask": [[1, 1, 0], [1, 0, 0]],
    }
    rows = small().pad([{"input_ids": [5, 6]}, {"input_ids": np.array([7])}], padding_side="left", return_tensors="np")
    assert rows.input_ids.tolist() == [[5, 6], [0, 7]]
    assert rows.attention_mask.tolist() == [[1, 1], [0, 1]]
    assert small().pad({"input_ids": [5]}, pad_to_multiple_of=4).input_ids == [5, 0, 0, 0]
    for bad in (
        3,
        [3],
        {},
        {"input_ids": [[1], 2]},
        [{"input_ids": [1]}, {"ids": [1]}],
        {"input_ids": [[1]], "attention_mask": [[1, 1]]},
    ):
        with pytest.raises(InputError, match="pad"):
            small().pad(bad)


def test_vocabulary_without_padding_or_mask():
    tokenizer = BertTokenizer(["[UNK]", "[CLS]", "[SEP]", "a"])
    assert tokenizer.pad_token is tokenizer.pad_token_id is tokenizer.mask_token is tokenizer.mask_token_id is None
    assert tokenizer("a").input_ids == [1, 3, 2]
    with pytest.raises(InputError, match="no pad token"):
        tokenizer(["a", "a a"], padding=True)


@pytest.mark.parametrize(
    ("vocab", "match"),
    [
        ({}, "vocab"),
        ([], "vocab"),
        (["a", "b"], r"unk_token '\[UNK\]'"),
        (["[UNK]", "[CLS]", "a"], "sep_token"),
        ({"[UNK]": 0, "[CLS]": 1, "[SEP]": 1}, "different ids"),
        ({"[UNK]": -1}, "id"),
        ({"[UNK]": "0"}, "id"),
        ({3: 0}, "piece"),
        ([3], "piece"),
    ],
)
def test_impossible_vocabularies(vocab, match):
    with pytest.raises(LoadError, match=match):
        BertTokenizer(vocab)


@pytest.mark.parametrize("vocab", ["vocab.txt", None, 3])
def test_what_is_no_vocabulary(vocab):
    with pytest.raises(InputError, match="from_pretrained"):
        BertTokenizer(vocab)


def test_attributes():
    tok = small()
    assert (tok.pad_token_id, tok.unk_token_id, tok.cls_token_id, tok.sep_token_id, tok.mask_token_id) == (
        0,
        1,
        2,
        3,
        4,
    )
    assert (tok.pad_token, tok.unk_token, tok.cls_token, tok.sep_token, tok.mask_token) == (
        *("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"),
    )
    assert tok.all_special_tokens == ["[UNK]", "[SEP]", "[PAD]", "[CLS]", "[MASK]"]
    assert tok.all_special_ids == [1, 3, 0, 2, 4]
    assert tok.special_tokens_map["mask_token"] == "[MASK]"
    assert tok.vocab_size == len(tok) == len(tok.get_vocab()) == 1254
    assert tok.num_special_tokens_to_add() == 2
    assert tok.num_special_tokens_to_add(pair=True) == 3
    assert tok.do_lower_case is True
    assert "1254" in repr(tok)


def test_ids_and_tokens():
    tok = small()
    assert tok.convert_ids_to_tokens([2, 4, 9999, 3]) == ["[CLS]", "[MASK]", None, "[SEP]"]
    assert tok.convert_ids_to_tokens(np.array([2, 5]), skip_special_tokens=True) == tok.convert_ids_to_tokens([5])
    assert tok.convert_ids_to_tokens(4) == "[MASK]"
    assert tok.convert_tokens_to_ids("[MASK]") == 4
    assert tok.convert_tokens_to_ids(["[SEP]", "no such piece"]) == [3, 1]
    for bad in ("ab", [1.5], None, ["a"]):
        with pytest.raises(InputError, match="ids"):
            tok.convert_ids_to_tokens(bad)
    for bad in (None, 3, [3]):
        with pytest.raises(InputError, match="tokens"):
            tok.convert_tokens_to_ids(bad)


def test_decoding():
    tok = small()
    enc = tok(["The cat.", "a , b"], padding=True, return_tensors="np")
    assert tok.batch_decode(enc.input_ids, skip_special_tokens=True) == tok.decode(
        enc.input_ids, skip_special_tokens=True
    )
    assert tok.batch_decode(enc.input_ids, skip_special_tokens=True) == ["the cat.", "a, b"]
    assert tok.decode([]) == ""
    assert tok.decode(4) == "[MASK]"
    assert tok.decode([99999]) == ""
    with pytest.raises(InputError, match="ids"):
        tok.decode("text")


def test_added_tokens_get_the_next_ids():
    tok = BertTokenizer(["[UNK]", "[CLS]", "[SEP]", "a"], added_tokens=["New", AddedToken("[X]", special=True)])
    assert tok.get_vocab()["New"] == 4
    assert tok.get_vocab()["[X]"] == 5
    assert (tok.vocab_size, len(tok)) == (4, 6)
    assert tok.encode("a new[X]NEW", add_special_tokens=False) == [3, 4, 5, 4]
    assert tok.all_special_tokens[-1] == "[X]"
    assert tok.add_tokens(["New", "more"]) == 1
    assert tok.encode("more a") == [1, 6, 3, 2]
    assert tok.decode(tok.encode("a [X]"), skip_special_tokens=True) == "a"
    for clash in ((AddedToken("b"), 3), (AddedToken("a"), 9)):
        with pytest.raises(LoadError, match="added token"):
            BertTokenizer(["[UNK]", "[CLS]", "[SEP]", "a"], added_tokens=[clash])


def test_places_of_tokens_characters_and_words():
    enc = small()(["the cat", "x"], ["unseen cats!", "a b"], padding=True)
    row = enc.tokens(0)
    first, second = row.index("the"), row.index("!")
    assert enc.char_to_token(0) == enc.char_to_token(0, 0) == first
    assert enc.char_to_token(0, 11, sequence_index=1) == second
    assert enc.char_to_token(0, 6, sequence_index=1) is None  # the blank
    assert enc.token_to_chars(0, first) == (0, 3)
    assert enc.token_to_chars(0, 0) is None
    assert enc.token_to_word(0, second) == 2
    assert enc.token_to_sequence(0, second) == 1
    span = enc.word_to_tokens(0, 1, sequence_index=1)
    assert "".join(row[span.start : span.end]).replace("##", "") == "cats"
    assert enc.word_to_chars(0, 1, sequence_index=1) == (7, 11)
    assert enc.char_to_word(0, 8, sequence_index=1) == 1
    assert enc.word_to_tokens(0, 99) is None
    assert enc.word_to_chars(0, 99) is None
    assert enc.char_to_word(0, 99) is None
    assert enc.word_ids(1)[-1] is None
    assert enc.sequence_ids(1)[-1] is None
    assert len(enc.encodings) == 2
    assert enc.encodings[1].size == len(enc.input_ids[1])
    for call in (lambda: enc.word_ids(2), lambda: enc.token_to_chars(0, 999), lambda: enc.tokens("a")):
        with pytest.raises(InputError, match="index"):
            call()


def test_tokenize_and_encode():
    assert small().tokenize("The [MASK]!") == ["the", "[MASK]", "!"]
    assert small().tokenize("a", "b", add_special_tokens=True) == ["[CLS]", "a", "[SEP]", "b", "[SEP]"]
    assert small().encode("a", "b") == small()("a", "b").input_ids
    with pytest.raises(InputError, match="one text"):
        small().tokenize(["a"])


def test_words_are_those_that_pieces_are_made_of():
    text = "Déjà vu,  unheardof\u00a0(中文)\tA-b\x00"
    assert small().words(text) == ["deja", "vu", ",", "unheardof", "(", "中", "文", ")", "a", "-", "b"]
    encoding = small()(text, add_special_tokens=False).encodings[0]
    assert len(small().words(text)) == len(set(encoding.words))
    assert small().words("") == []


def test_tokens_become_a_text_as_in_decoding():
    tokens = ["run", "##ning", ",", "the", "[UNK]"]
    assert small().convert_tokens_to_string(tokens) == "running, the [UNK]"
    assert small().convert_tokens_to_string([]) == ""


def test_pickling_and_threads():
    copy = pickle.loads(pickle.dumps(small()))
    texts = [f"The cat number {i} né 中" for i in range(300)]
    expected = copy(texts).input_ids
    results = []
    threads = [threading.Thread(target=lambda: results.append(small()(texts).input_ids)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [expected] * 4


def test_importing_is_light():
    code = (
        "import sys, minibert.text as t; t.BertTokenizer(['[UNK]', '[CLS]', '[SEP]'])('é'); "
        "print('numpy' in sys.modules, 'regex' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False"]


@pytest.mark.parametrize("profile", ["hf-fast", "hf-slow", "google"])
@given(text=st.text(st.one_of(st.characters(), st.sampled_from("aT é中.,[]#\ud800\u0301"))))
def test_plain_ids_are_those_of_a_text_without_special_tokens(profile, text):
    added = ["cat"], [AddedToken("dog", special=True)]
    for more in added:
        tokenizer = BertTokenizer(small().get_vocab(), profile=profile, added_tokens=more)
        for one in (text, f"a cat{text}dog [MASK] [SEP]"):
            assert tokenizer.plain_ids(one) == tokenizer.encode(
                one, add_special_tokens=False, split_special_tokens=True
            )


def test_the_fingerprint_knows_what_changes_ids_and_nothing_else():
    vocab = small().get_vocab()
    same = BertTokenizer(vocab, model_max_length=7, padding_side="left", truncation_side="left")
    assert same.fingerprint == BertTokenizer(vocab).fingerprint == small().fingerprint
    others = [
        BertTokenizer({**vocab, "new": len(vocab)}),
        BertTokenizer(vocab, do_lower_case=False),
        BertTokenizer(vocab, strip_accents=False),
        BertTokenizer(vocab, tokenize_chinese_chars=False),
        BertTokenizer(vocab, clean_text=False),
        BertTokenizer(vocab, added_tokens=["new"]),
        BertTokenizer(vocab, max_input_chars_per_word=3),
        BertTokenizer(vocab, profile="google"),
        BertTokenizer(vocab, profile="hf-slow"),
    ]
    assert len({tokenizer.fingerprint for tokenizer in [same, *others]}) == 1 + len(others)
