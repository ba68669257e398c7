"""Models of pairs: what they compute, that their gradients are right, and that they share an encoder's parameters."""

import copy

import numpy as np
import pytest

import minibert as mb
from minibert import ops
from minibert.errors import InputError
from minibert.lab.check import TINY, check_model, scale_weights, specimen
from tests.models import tiny
from tests.tolerances import CLOSE, FORWARD

IDS = np.array([[[1, 2, 3, 4], [5, 6, 0, 0]], [[7, 8, 9, 0], [3, 0, 0, 0]], [[2, 2, 5, 1], [4, 4, 4, 9]]])
MASK = np.array([[[1, 1, 1, 1], [1, 1, 0, 0]], [[1, 1, 1, 0], [1, 0, 0, 0]], [[1, 1, 1, 1], [1, 1, 1, 1]]])
SCORES = [0.8, 0.0, -0.5]
CLASSES = "BertForSentencePairs", "BertForSentenceRanking"
POOLINGS = "mean", "cls"


def vectors(model, pooling):
    """(3, 2, H) by the definition, from the states of the plain encoder."""
    states = model.encoder()(IDS.reshape(6, 4), MASK.reshape(6, 4)).last_hidden_state
    if pooling == "cls":
        return states[:, 0].reshape(3, 2, -1)
    mask = MASK.reshape(6, 4, 1)
    return ((states * mask).sum(axis=1) / mask.sum(axis=1)).reshape(3, 2, -1)


def made(cls, pooling="mean", **options):
    model = tiny.model(cls, **options)
    model.set_pooling(pooling)
    return model


@pytest.mark.parametrize("pooling", POOLINGS)
def test_the_cosine_is_that_of_the_two_texts_vectors(pooling):
    model = made("BertForSentencePairs", pooling)
    out = model(IDS, MASK, labels=SCORES)
    expected, _ = ops.cosine(*vectors(model, pooling).swapaxes(0, 1))
    np.testing.assert_allclose(out.cosines, expected, rtol=0, atol=FORWARD[model.dtype])
    assert out.loss == pytest.approx(np.mean((expected - SCORES) ** 2), rel=1e-12)
    assert model(IDS, MASK).loss is None


@pytest.mark.parametrize("symmetric", [False, True])
@pytest.mark.parametrize("pooling", POOLINGS)
def test_ranking_asks_each_for_its_own(pooling, symmetric):
    model = made("BertForSentenceRanking", pooling)
    model.set_ranking(scale=7.0, symmetric=symmetric)
    out = model(IDS, MASK)
    expected, _ = ops.cosine_matrix(*vectors(model, pooling).swapaxes(0, 1), 7.0)
    np.testing.assert_allclose(out.logits, expected, rtol=0, atol=FORWARD[model.dtype])
    losses = [ops.cross_entropy(x, np.arange(3))[0] for x in (expected, expected.T)]
    assert out.loss == pytest.approx(np.mean(losses[: 1 + symmetric]), rel=1e-12)
    assert losses[0] != pytest.approx(losses[1], rel=1e-3)


@pytest.mark.parametrize("dropout_seed", [None, 7], ids=["no dropout", "dropout"])
@pytest.mark.parametrize("pooling", POOLINGS)
@pytest.mark.parametrize("cls", CLASSES)
def test_every_gradient_is_the_complex_step(cls, pooling, dropout_seed):
    model = getattr(mb, cls)(TINY, dtype="float64")
    model.set_pooling(pooling)
    if cls == "BertForSentenceRanking":
        model.set_ranking(symmetric=True)
    scale_weights(model, 0.15)
    report = check_model(model, specimen(model), dropout_seed=dropout_seed)
    assert report.ok, f"\n{report}"
    assert report.closest.margin < CLOSE, f"\n{report}"


def test_word_vectors_in_place_of_ids_have_gradients():
    model = made("BertForSentencePairs")
    words = model.state_dict()["embeddings.word_embeddings.weight"][IDS]
    out, grads = model.loss_and_grads(inputs_embeds=words, attention_mask=MASK, labels=SCORES)
    assert out.loss == pytest.approx(model(IDS, MASK, labels=SCORES).loss, rel=1e-12)
    assert grads["inputs_embeds"].shape == words.shape
    assert not grads["inputs_embeds"][MASK == 0].any()


@pytest.mark.parametrize("cls", CLASSES)
def test_float32_stays_float32(cls):
    model = made(cls, dtype="float32")
    out, grads = model.loss_and_grads(IDS, MASK, **({"labels": SCORES} if cls == "BertForSentencePairs" else {}))
    assert {np.asarray(x).dtype for x in (*out.values(), *grads.values())} == {np.dtype(np.float32)}


def test_padding_and_order_of_the_pairs_do_not_matter():
    model = made("BertForSentencePairs")
    wide = [np.concatenate([x, np.zeros_like(x)], axis=2)[::-1] for x in (IDS, MASK)]
    expected, grads = model.loss_and_grads(IDS, MASK, labels=SCORES)
    out, others = model.loss_and_grads(*wide, labels=SCORES[::-1])
    np.testing.assert_allclose(out.cosines[::-1], expected.cosines, rtol=0, atol=1e-13)
    for name in grads:
        np.testing.assert_allclose(others[name], grads[name], rtol=0, atol=1e-12)


# ---- the encoder ----------------------------------------------------------------------------------------------------


def test_the_encoder_has_the_very_same_parameters():
    model = made("BertForSentencePairs")
    encoder = model.encoder()
    model.state_dict()["embeddings.LayerNorm.bias"][...] += 1
    assert np.shares_memory(encoder.parameters.flat, model.parameters.flat)
    assert list(encoder.state_dict()) == list(model.state_dict())


def test_what_is_saved_is_an_encoder(tmp_path):
    model = made("BertForSentencePairs", dtype="float32")
    model.save_pretrained(tmp_path)
    for cls in (mb.BertForSentencePairs, mb.BertForSentenceRanking):
        again = cls.from_pretrained(tmp_path)
        np.testing.assert_array_equal(again.parameters.flat, model.parameters.flat)
    tiny.model("BertForMaskedLM", dtype="float32").save_pretrained(tmp_path / "masked")
    assert mb.BertForSentencePairs.from_pretrained(tmp_path / "masked")(IDS, MASK).cosines.shape == (3,)


def test_copies_have_the_same_settings():
    model = made("BertForSentenceRanking", "cls")
    model.set_ranking(scale=3.0, symmetric=True)
    for twin in (copy.deepcopy(model), model.astype("float32")):
        assert (twin.pooling, twin.scale, twin.symmetric) == ("cls", 3.0, True)
        assert twin(IDS, MASK).loss == pytest.approx(model(IDS, MASK).loss, rel=1e-4)


# ---- what is refused ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ([0.5, 0.5], r"labels: expected shape \(3,\), one score a pair, got \(2,\)"),
        ([[0.5]] * 3, r"labels: expected shape \(3,\)"),
        ([0.5, 3.8, 0.1], "labels: expected scores from -1 to 1, as cosines are, got 3.8"),
        ([0.5, np.nan, 0.1], "labels: expected scores from -1 to 1, as cosines are, got nan"),
        (["a", "b", "c"], "labels: expected real numbers"),
    ],
)
def test_bad_scores_are_refused(labels, message):
    with pytest.raises(InputError, match=message):
        made("BertForSentencePairs").loss_and_grads(IDS, MASK, labels=labels)


@pytest.mark.parametrize(
    ("ids", "mask", "message"),
    [
        (IDS[:, :1], None, r"input_ids: expected shape \(batch, 2, length\), two texts each, got \(3, 1, 4\)"),
        (IDS[:, 0], None, r"input_ids: expected shape \(batch, 2, length\)"),
        (IDS, MASK[:, 0], r"attention_mask: expected shape \(3, 2, 4\)"),
        (IDS, 0 * MASK, "attention_mask: a text has no token at all"),
    ],
)
def test_bad_pairs_are_refused(ids, mask, message):
    with pytest.raises(InputError, match=message):
        made("BertForSentencePairs")(ids, mask)


def test_impossible_settings_are_refused():
    model = made("BertForSentenceRanking")
    with pytest.raises(InputError, match="pooling: expected one of mean, cls, got 'max'"):
        model.set_pooling("max")
    for scale in (0, -1.0, np.inf, np.nan, [20.0]):
        with pytest.raises(InputError, match="scale: expected a finite number above 0"):
            model.set_ranking(scale=scale)
    with pytest.raises(TypeError, match="unexpected argument labels"):
        model(IDS, MASK, labels=[0, 1, 2])
    with pytest.raises(InputError, match="loss_and_grads: expected labels"):
        made("BertForSentencePairs").loss_and_grads(IDS, MASK)


def test_training_ranks():
    """Texts of one token: the second of a pair is another token, and by rights no nearer than the others."""
    model = made("BertForSentenceRanking", scale=0.1)
    ids = np.arange(12).reshape(6, 2, 1)
    first = model(ids).loss
    for _ in range(60):
        _, grads = model.loss_and_grads(ids)
        model.parameters.flat -= 0.02 * grads.flat
    out = model(ids)
    assert out.loss < 0.2 * first
    np.testing.assert_array_equal(out.logits.argmax(axis=1), np.arange(6))
