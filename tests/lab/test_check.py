"""Hand-written gradients of whole models against the complex step: every tensor, several weight scales, dropout too."""

import dataclasses

import numpy as np
import pytest

from minibert.errors import InputError
from minibert.lab.check import TINY, check_model, compare, gradients, references, scale_weights, specimen
from minibert.models.base import Prepared
from minibert.models.encoder import BertModel
from minibert.models.finetuning import BertForTokenClassification
from minibert.models.pretraining import BertForPreTraining
from tests.tolerances import ALARM, CLOSE

TWELVE_LAYERS = {"num_hidden_layers": 12}


def model_at(std, cls=BertForPreTraining, seed=0, dtype="float64", **config):
    model = cls(dataclasses.replace(TINY, **config), dtype=dtype, seed=seed)
    scale_weights(model, std, seed)
    return model


def passes(report, margin=CLOSE):
    assert report.ok, f"\n{report}"
    assert report.closest.margin < margin, f"\n{report}"
    return True


@pytest.mark.parametrize("dropout_seed", [None, 7], ids=["no dropout", "dropout"])
@pytest.mark.parametrize("std", [0.02, 0.15])
def test_every_tensor_of_twelve_layers_is_right(std, dropout_seed):
    model = model_at(std, **TWELVE_LAYERS)
    report = check_model(model, specimen(model), dropout_seed=dropout_seed)
    assert len(report.rows) == 206
    assert {row.name for row in report.rows} == set(model.state_dict())
    assert passes(report)


@pytest.mark.parametrize("dropout_seed", [None, 7], ids=["no dropout", "dropout"])
@pytest.mark.parametrize(
    "config",
    [
        {"hidden_act": "gelu_new"},
        {"hidden_act": "relu"},  # has a kink, but no activation is exactly 0
        {"hidden_act": "silu"},
        {"hidden_act": "tanh"},
        {"is_decoder": True},
        {"tie_word_embeddings": False},
        {"num_attention_heads": 1},
        {"num_attention_heads": 48},  # heads of one number
        {"layer_norm_eps": 1e-5},
    ],
    ids=str,
)
def test_every_variant_is_right(config, dropout_seed):
    model = model_at(0.15, **config)
    assert passes(check_model(model, specimen(model), dropout_seed=dropout_seed))


def test_the_untied_decoder_is_a_tensor_of_its_own():
    model = model_at(0.15, tie_word_embeddings=False)
    grads = gradients(model, specimen(model))
    assert grads["cls.predictions.decoder.weight"].any()
    assert {"cls.predictions.decoder.weight", "cls.predictions.decoder.bias"} <= set(references(model, specimen(model)))


@pytest.mark.parametrize("std", [0.02, 0.15])
def test_the_encoder_alone_is_right_for_random_cotangents(std):
    model = model_at(std, BertModel)
    assert passes(check_model(model, specimen(model)))


@pytest.mark.parametrize("dropout_seed", [None, 7], ids=["no dropout", "dropout"])
def test_the_gradient_of_given_word_vectors_is_right(dropout_seed):
    model = model_at(0.15, BertModel)
    rng = np.random.default_rng(0)
    mask = np.array([[1, 1, 1, 1], [0, 1, 1, 0]])
    batch = model.prepare(inputs_embeds=rng.standard_normal((2, 4, TINY.hidden_size)), attention_mask=mask).batch
    cotangents = {"last_hidden_state": rng.standard_normal((2, 4, TINY.hidden_size))}
    prepared = Prepared(batch, model.pack_cotangents(cotangents, batch))
    report = check_model(model, prepared, dropout_seed=dropout_seed)
    assert passes(report)
    rows = {row.name: row for row in report.rows}
    assert rows["inputs_embeds"].norm > 1e-3
    assert rows["embeddings.word_embeddings.weight"].norm == 0  # nothing was looked up
    assert rows["pooler.dense.weight"].norm == 0  # and nobody asked the pooler


@pytest.mark.parametrize("std", [0.02, 0.15, 0.5])
def test_twenty_seeds_raise_no_false_alarm(std):
    # half of them with dropout; measured: at most 3e-3 of the tolerance
    for seed in range(20):
        model = model_at(std, seed=seed)
        dropout_seed = seed if seed % 2 else None
        assert passes(check_model(model, specimen(model, seed), dropout_seed=dropout_seed, seed=seed), ALARM)


def test_a_wrong_gradient_raises_the_alarm_and_no_other():
    model = model_at(0.15)
    prepared = specimen(model)
    grads = gradients(model, prepared)
    name = "bert.encoder.layer.1.intermediate.dense.weight"
    grads[name] = grads[name] * (1 + 1e-6)
    report = compare(grads, references(model, prepared))
    assert [row.name for row in report.rows if not row.ok] == [name]
    assert report.closest.name == name


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.filterwarnings("ignore:invalid value:RuntimeWarning")  # of inf - inf
def test_a_gradient_that_is_not_finite_is_the_only_one_blamed(value):
    model = model_at(0.15)
    prepared = specimen(model)
    grads = gradients(model, prepared)
    grads["bert.pooler.dense.bias"] = np.full(TINY.hidden_size, value)
    report = compare(grads, references(model, prepared))
    assert {row.name: row.verdict for row in report.rows if not row.ok} == {"bert.pooler.dense.bias": "not finite"}


def test_the_check_leaves_the_model_as_it_was():
    model = model_at(0.15)
    before = model.parameters.flat.copy()
    prepared = specimen(model)
    check_model(model, prepared, dropout_seed=1)
    np.testing.assert_array_equal(model.parameters.flat, before)


def test_float32_models_are_refused_and_can_be_converted():
    model = model_at(0.15, dtype="float32")
    with pytest.raises(InputError, match='need dtype="float64", the model has float32'):
        check_model(model, specimen(model))
    twin = model.astype("float64")
    assert passes(check_model(twin, specimen(twin)))
    np.testing.assert_array_equal(twin.parameters.flat, model.parameters.flat)
    assert model.dtype == np.float32


def test_specimens_have_what_trips_backward_passes():
    model = model_at(0.02)
    batch, labels = specimen(model)
    lengths = np.diff(batch.cu_seqlens)
    assert len(set(lengths.tolist())) > 1
    assert len(np.unique(batch.input_ids)) < len(batch.input_ids)
    assert set(np.unique(batch.token_type_ids)) == {0, 1}
    assert -100 in labels["labels"]
    assert -100 in labels["next_sentence_label"]


def test_models_without_a_specimen_are_refused_by_name():
    expected = "expected a BertEncoder, .* or a model of pairs, got BertForTokenClassification"
    with pytest.raises(InputError, match=expected):
        specimen(BertForTokenClassification(TINY))
