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


def test_joint_words_are_the_best_of_all_there_are(parts):
    """A beam as wide as the vocabulary misses nothing: every pair, one after the other."""
    model, tokenizer = parts
    text, size = "the [MASK] sat on [MASK]", len(WORDS)

    def log_probs(text, place):
        logits = model(**tokenizer(text, return_tensors="np")).logits[0, place].astype(np.float64)
        return logits - np.log(np.exp(logits).sum())

    ids = tokenizer(text).input_ids
    first = log_probs(text, ids.index(tokenizer.mask_token_id))
    total = np.empty((size, size))
    for a in range(size):
        filled = [a if i == 2 else number for i, number in enumerate(ids)]
        logits = model(input_ids=[filled]).logits[0, 5].astype(np.float64)
        total[a] = first[a] + logits - np.log(np.exp(logits).sum())
    order = np.argsort(-total, axis=None, kind="stable")[:4]
    found = mb.pipeline("fill-mask", model=model, tokenizer=tokenizer)(text, joint=True, beams=size, top_k=4)
    assert [tuple(each["token"]) for each in found] == [tuple(map(int, divmod(i, size))) for i in order]
    np.testing.assert_allclose([each["score"] for each in found], np.exp(total.ravel()[order]), rtol=1e-5)  # float32
    assert found[0]["token_str"] == [WORDS[i] for i in found[0]["token"]]
    assert found[0]["sequence"] == tokenizer.decode(_filled(ids, found[0]["token"], tokenizer)[1:-1])


def _filled(ids, words, tokenizer):
    words = iter(words)
    return [next(words) if number == tokenizer.mask_token_id else number for number in ids]


def test_a_vocabulary_without_a_mask_is_told(parts):
    tokenizer = mb.BertTokenizer([word for word in WORDS if word != "[MASK]"])
    with pytest.raises(mb.InputError, match="has no mask token"):
        mb.fill_mask(parts[0], tokenizer, "a [MASK]")


def test_joint_words_of_one_mask_are_those_of_the_mask(parts):
    pipe = mb.pipeline("fill-mask", model=parts[0], tokenizer=parts[1], targets=["cat", "dog"])
    alone, joint = pipe("the [MASK] sat"), pipe("the [MASK] sat", joint=True)
    assert [each["token"] for each in joint] == [[each["token"]] for each in alone]
    np.testing.assert_allclose([each["score"] for each in joint], [each["score"] for each in alone], rtol=1e-5)
