"""Dropout in whole models: on with a seed only, decided by it in every bit, at every rate that the config has."""

import numpy as np
import pytest

from minibert.errors import InputError
from minibert.lab.check import check_model
from minibert.ops.attention import AttentionCache, CrossAttentionCache
from minibert.ops.dropout import DropoutCache
from minibert.ops.layer_norm import AddLayerNormCache
from tests import tolerances
from tests.models import tiny


@pytest.mark.parametrize("key", tiny.HEADS)
def test_a_dropout_seed_decides_every_bit(key):
    rng = np.random.default_rng(0)
    model = tiny.head(key)
    inputs = tiny.inputs(model, rng)
    labels = tiny.labels(model, rng, inputs["attention_mask"])

    def run(seed):
        out, grads = model.loss_and_grads(**inputs, **labels, dropout_seed=seed)
        return {**out, **grads}

    for again in (run(7), run(np.int64(7))):
        for name, x in run(7).items():
            np.testing.assert_array_equal(x, again[name])
    assert run(7)["loss"] != run(8)["loss"]
    assert run(7)["loss"] != run(None)["loss"]
    np.testing.assert_array_equal(run(None)["loss"], model(**inputs, **labels).loss)


@pytest.mark.parametrize("key", tiny.HEADS)
def test_every_gradient_is_right_with_dropout_on(key):
    """Masks are fixed by the seed, so the loss is a smooth function of the weights and the complex step checks it."""
    rng = np.random.default_rng(0)
    model = tiny.head(key)
    inputs = tiny.inputs(model, rng)
    report = check_model(
        model, model.prepare(**inputs, **tiny.labels(model, rng, inputs["attention_mask"])), dropout_seed=4
    )
    assert report.ok, str(report)


def test_every_site_has_a_mask_of_its_own():
    model = tiny.model("BertForSequenceClassification")
    caches = {}
    model.loss_at(model.parameters, model.prepare([[1, 2, 3]], labels=[0]), caches, dropout_seed=1)
    keys = [cache.key for cache in caches.values() if isinstance(cache, DropoutCache)]
    keys += [cache.drop.key for cache in caches.values() if isinstance(cache, AddLayerNormCache)]
    keys += [cache.drops[0].key for cache in caches.values() if isinstance(cache, AttentionCache | CrossAttentionCache)]
    assert len(keys) == 1 + 3 * 2 + 1  # embeddings; attention, its output and the inner layer's, twice; the classifier
    assert len(set(keys)) == len(keys)


def test_masks_do_not_depend_on_the_dtype():
    results = []
    for dtype in ("float32", "float64"):
        model = tiny.model("BertModel", dtype=dtype)
        given = {"input_ids": np.arange(12).reshape(2, 6)}
        results.append(model.vjp({"pooler_output": np.ones((2, 8))}, **given, dropout_seed=5)[0].last_hidden_state)
    allowed = tolerances.FORWARD[np.dtype("float32")]
    np.testing.assert_allclose(results[0], results[1], rtol=0, atol=allowed)


def test_masks_do_not_depend_on_padding():
    model = tiny.model("BertForSequenceClassification")
    ids = np.arange(12).reshape(2, 6)
    padded = np.pad(ids, ((0, 0), (0, 5)), constant_values=9)
    mask = np.pad(np.ones_like(ids), ((0, 0), (0, 5)))
    grads = [
        model.loss_and_grads(given, mask, labels=[0, 1], dropout_seed=2)[1]
        for given, mask in ((ids, None), (padded, mask))
    ]
    for name in grads[0]:
        np.testing.assert_array_equal(grads[0][name], grads[1][name])


@pytest.mark.parametrize("site", ["hidden_dropout_prob", "attention_probs_dropout_prob", "classifier_dropout"])
def test_every_rate_is_used(site):
    rates = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0, "classifier_dropout": 0.0, site: 0.5}
    model = tiny.model("BertForSequenceClassification", **rates)
    rng = np.random.default_rng(0)
    inputs = tiny.inputs(model, rng)
    loss = [model.loss_and_grads(**inputs, labels=[0, 1, 0], dropout_seed=seed)[0].loss for seed in (None, 1)]
    assert loss[0] != loss[1]


def test_the_classifier_has_the_hidden_rate_unless_it_has_its_own():
    assert tiny.model("BertForSequenceClassification", hidden_dropout_prob=0.3).config.classifier_rate == 0.3
    assert tiny.model("BertForSequenceClassification", classifier_dropout=0.0).config.classifier_rate == 0.0


@pytest.mark.parametrize("seed", [1.5, "1", [1]])
def test_a_seed_is_an_integer(seed):
    model = tiny.model("BertForSequenceClassification")
    with pytest.raises(InputError, match="dropout_seed: expected an integer or None, got"):
        model.loss_and_grads([[1, 2]], labels=[0], dropout_seed=seed)
