"""A model as a function of its parameters: any mapping, any multiple of the loss, and the second derivative."""

import copy
import pickle

import numpy as np
import pytest

import minibert as mb
from minibert.models.parameters import Block, Keep
from minibert.ops.losses import IGNORE_INDEX
from tests import tolerances
from tests.models import tiny


def case(key):
    """(model, prepared inputs and labels)"""
    rng = np.random.default_rng(3)
    model = tiny.head(key)
    inputs = tiny.inputs(model, rng)
    return model, model.prepare(**inputs, **tiny.labels(model, rng, inputs["attention_mask"]))


def gradients(model, prepared, parameters=None, dloss=1.0):
    caches = {}
    model.loss_at(model.parameters if parameters is None else parameters, prepared, caches)
    return model.grads_at(prepared, caches, dloss)


@pytest.mark.parametrize("key", tiny.HEADS)
def test_the_public_checker_checks_a_model_by_its_state_dict(key):
    model, prepared = case(key)
    grads, _ = gradients(model, prepared)
    report = mb.gradcheck.check_gradients(
        lambda parameters: model.loss_at(parameters, prepared, Keep())[0], model.state_dict(), grads
    )
    assert report, f"\n{report}"


@pytest.mark.parametrize("key", ["BertForMaskedLM", "BertForPreTraining"])
def test_googles_masked_loss_is_divided_by_a_little_more(key):
    model, prepared = case(key)
    n = (prepared.labels["labels"] != IGNORE_INDEX).sum()
    plain, logits = model.loss_at(model.parameters, prepared, Keep())
    following = 0.0
    if "seq_relationship_logits" in logits:
        answers = logits["seq_relationship_logits"], prepared.labels["next_sentence_label"]
        following, _ = model.ops.cross_entropy(*answers)
    model.label_epsilon = 0.5  # of Google's 1e-5 nothing would be seen
    assert model.astype("float32").label_epsilon == 0.5
    loss, _ = model.loss_at(model.parameters, prepared, Keep())
    assert loss == pytest.approx((plain - following) * n / (n + 0.5) + following, rel=1e-12)
    grads, _ = gradients(model, prepared)
    report = mb.gradcheck.check_gradients(lambda p: model.loss_at(p, prepared, Keep())[0], model.state_dict(), grads)
    assert report, f"\n{report}"


@pytest.mark.parametrize("key", tiny.HEADS)
def test_gradients_of_a_multiple_of_the_loss_are_that_multiple(key):
    model, prepared = case(key)
    once, dwords = gradients(model, prepared)
    thrice, dwords_thrice = gradients(model, prepared, dloss=-3.0)
    np.testing.assert_allclose(thrice.flat, -3 * once.flat, atol=tolerances.SAME, rtol=0)
    np.testing.assert_allclose(dwords_thrice, -3 * dwords, atol=tolerances.SAME, rtol=0)


@pytest.mark.parametrize("key", tiny.HEADS)
def test_a_complex_step_of_the_gradient_is_the_second_derivative(key):
    """H v by complex step: symmetric, <u, H v> = <v, H u>, and the derivative that differences see."""
    model, prepared = case(key)
    rng = np.random.default_rng(0)
    flat, spec, h = model.parameters.flat, model.parameters.spec, mb.gradcheck.STEP

    def hessian_times(v):
        grads, _ = gradients(model, prepared, Block(spec, complex, flat + 1j * h * v))
        return grads.flat.imag / h

    u, v = rng.standard_normal((2, flat.size))
    hu, hv = hessian_times(u), hessian_times(v)
    assert u @ hv == pytest.approx(v @ hu, rel=1e-10)
    step = 1e-5
    ahead, behind = (gradients(model, prepared, Block(spec, float, flat + s * v))[0].flat for s in (step, -step))
    # differences of gradients at this step are good to about 1e-8 of the largest second derivative
    np.testing.assert_allclose((ahead - behind) / (2 * step), hv, atol=1e-6 * np.abs(hv).max())


def test_second_derivatives_of_the_encoder_alone():
    model = tiny.model("BertModel")
    rng = np.random.default_rng(0)
    batch = model.prepare(**tiny.inputs(model, rng)).batch
    shape = (*batch.shape, model.config.hidden_size)
    prepared = mb.models.base.Prepared(
        batch, model.pack_cotangents({"last_hidden_state": rng.standard_normal(shape)}, batch)
    )
    v = rng.standard_normal(model.parameters.flat.size)
    stepped = Block(model.parameters.spec, complex, model.parameters.flat + 1j * mb.gradcheck.STEP * v)
    assert np.abs(gradients(model, prepared, stepped)[0].flat.imag).max() > 0


def test_a_mapping_with_the_wrong_names_is_refused():
    model, prepared = case("BertForMaskedLM")
    with pytest.raises(KeyError, match="word_embeddings"):
        model.loss_at({"a": np.zeros(3)}, prepared, {})


@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda model: pickle.loads(pickle.dumps(model))])
def test_a_copy_of_a_model_is_a_model_of_its_own(duplicate):
    model, prepared = case("BertForMaskedLM")
    twin = duplicate(model)
    before = model.parameters.flat.copy()
    np.testing.assert_array_equal(gradients(twin, prepared)[0].flat, gradients(model, prepared)[0].flat)
    twin.state_dict()["bert.encoder.layer.0.attention.self.query.weight"][...] = 7
    assert (twin.parameters["bert.encoder.layer.0.attention.self.qkv.weight"][0] == 7).all()  # views of one array still
    np.testing.assert_array_equal(model.parameters.flat, before)


def test_another_dtype_is_a_copy():
    model, _ = case("BertForMaskedLM")
    single = model.astype("float32")
    assert single.dtype == np.float32
    single.parameters.flat[:] = 0
    assert np.abs(model.parameters.flat).max() > 0


def test_vectors_are_taken_in_the_model_s_dtype():
    model = tiny.model("BertModel", dtype="float32")
    out = model(inputs_embeds=np.ones((1, 3, model.config.hidden_size), np.float64))
    assert out.last_hidden_state.dtype == np.float32


def test_positions_may_come_as_a_column_and_minus_100_asks_for_no_loss():
    model = tiny.head("BertForQuestionAnswering")
    ids = [[1, 2, 3], [4, 5, 6]]
    flat = model(ids, start_positions=[1, 0], end_positions=[2, 2]).loss
    assert model(ids, start_positions=[[1], [0]], end_positions=[[2], [2]]).loss == flat
    one = model(ids[:1], start_positions=[1], end_positions=[2]).loss
    ignored = model(ids, start_positions=[1, IGNORE_INDEX], end_positions=[2, IGNORE_INDEX]).loss
    assert ignored == pytest.approx(one, rel=1e-12)


@pytest.mark.parametrize("seed", [-1, 0.5, "a", None])
def test_impossible_seeds_are_refused(seed):
    with pytest.raises(mb.InputError, match="seed"):
        mb.BertModel(mb.BertConfig(**tiny.SIZES), seed=seed)


def test_a_config_is_checked_when_a_model_is_made_of_it():
    config = mb.BertConfig(**tiny.SIZES)
    config.num_labels = 7  # as people do
    assert mb.BertForSequenceClassification(config)([[1, 2]]).logits.shape == (1, 7)
    config.num_attention_heads = 5
    with pytest.raises(mb.ConfigError, match="num_attention_heads"):
        mb.BertModel(config)
