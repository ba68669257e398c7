"""Words for masks."""

import numpy as np
import pytest

import minibert as mb
from tests.specimens import WORDS, tiny_folder


@pytest.fixture(scope="module")
def parts(tmp_path_factory):
    folder = tiny_folder(tmp_path_factory.mktemp("model"))
    return mb.BertForMaskedLM.from_pretrained(folder), mb.BertTokenizer.from_pretrained(folder)


def test_guesses_are_the_top_of_the_softmax_over_the_vocabulary(parts):
    model, tokenizer = parts
    enc = tokenizer("the [MASK] sat", return_tensors="np")
    logits = model(**enc).logits[0, 2].astype(np.float64)
    probs = np.exp(logits) / np.exp(logits).sum()
    guesses = mb.fill_mask(model, tokenizer, "the [MASK] sat", top_k=3)
    assert [g["token"] for g in guesses] == np.argsort(-probs)[:3].tolist()
    np.testing.assert_allclose([g["score"] for g in guesses], np.sort(probs)[::-1][:3], rtol=1e-5)  # float32
    assert guesses[0]["token_str"] == WORDS[guesses[0]["token"]]


def test_the_sequence_is_the_text_with_the_word_in_place(parts):
    (guess,) = mb.fill_mask(*parts, "the [MASK] sat", targets=["cat"])
    assert guess["sequence"] == "the cat sat"
    assert (guess["token"], guess["token_str"]) == (WORDS.index("cat"), "cat")


def test_several_masks_give_a_list_each(parts):
    found = mb.fill_mask(*parts, "[MASK] cat [MASK]", top_k=2)
    assert [len(guesses) for guesses in found] == [2, 2]
    assert found[1][0]["sequence"].startswith("[MASK] cat")


def test_scores_over_all_words_sum_to_1(parts):
    guesses = mb.fill_mask(*parts, "a [MASK]", top_k=10**6)
    assert len(guesses) == len(WORDS)
    assert sum(g["score"] for g in guesses) == pytest.approx(1, abs=1e-5)  # float32


def test_equal_scores_come_in_the_order_of_the_ids(parts, monkeypatch):
    model, tokenizer = parts
    logits = np.zeros((1, 5000), np.float32)  # an unstable sort mixes many ties
    logits[0, 20:30:2] = 1
    monkeypatch.setattr(model, "logits_at", lambda where, **inputs: logits)
    tokens = [guess["token"] for guess in mb.fill_mask(model, tokenizer, "a [MASK]", top_k=20)]
    assert tokens == [20, 22, 24, 26, 28, *range(15)]


def test_only_the_masked_rows_reach_the_head(parts, monkeypatch):
    model, tokenizer = parts
    rows = []
    linear = model.ops.linear

    class Counting:
        def __getattr__(self, name):
            return getattr(mb.ops, name)

        @staticmethod
        def linear(x, weight, bias):
            if weight.shape[0] == len(WORDS):
                rows.append(len(x))
            return linear(x, weight, bias)

    monkeypatch.setattr(model, "ops", Counting())
    mb.fill_mask(model, tokenizer, "the cat [MASK] on the mat")
    assert rows == [1]


@pytest.mark.parametrize(
    ("text", "options", "words"),
    [
        ("no mask", {}, r"no \[MASK\]"),
        ("a [MASK]", {"targets": ["unheardof"]}, "not one word"),
        ("a [MASK]", {"targets": ["unaffable"]}, "un, ##aff, ##able"),
        ("a [MASK]", {"targets": []}, "at least one"),
        ("a [MASK]", {"targets": "cat"}, "expected a list of words"),
        ("a [MASK]", {"top_k": 0}, "top_k"),
        (None, {}, "expected a string"),
        ("[MASK] " * 40, {}, "the model has 32 positions"),
    ],
)
def test_bad_input_is_refused(parts, text, options, words):
    with pytest.raises(mb.InputError, match=words):
        mb.fill_mask(*parts, text, **options)


def test_a_model_without_the_head_is_refused(parts):
    encoder = mb.BertModel(mb.BertConfig(vocab_size=len(WORDS), hidden_size=4, num_attention_heads=1))
    with pytest.raises(mb.InputError, match="expected a BertForMaskedLM, got BertModel"):
        mb.fill_mask(encoder, parts[1], "a [MASK]")
