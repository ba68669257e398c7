"""In which forms results come back."""

import copy
import pickle

import numpy as np
import pytest

import minibert as mb
from tests import tolerances
from tests.models import tiny

IDS = [[1, 2, 3, 4], [5, 6, 7, 8]]


def test_results_by_attribute_by_name_and_by_place_are_the_same_arrays():
    out = tiny.head("BertForPreTraining")(IDS, labels=IDS, next_sentence_label=[0, 1], output_hidden_states=True)
    assert list(out) == ["loss", "prediction_logits", "seq_relationship_logits", "hidden_states"]
    assert out.prediction_logits is out["prediction_logits"] is out[1]
    assert out[0] is out.loss
    assert out[-1] is out.hidden_states
    assert out[1:3] == (out[1], out[2])
    assert out.to_tuple() == tuple(out.values())
    assert out.attentions is None
    assert "attentions" not in out
    with pytest.raises(AttributeError, match="no result 'logits'; there is loss, prediction_logits"):
        _ = out.logits


def test_without_labels_the_loss_is_none_and_absent():
    for given in ({}, {"labels": IDS}, {"labels": None}):  # pre-training needs both kinds
        out = tiny.head("BertForPreTraining")(IDS, **given)
        assert out.loss is None
        assert "loss" not in out
        assert out[0] is out.prediction_logits


def test_return_dict_false_gives_the_tuple():
    model = tiny.head("BertForTokenClassification")
    loss, logits = model(IDS, labels=np.zeros((2, 4), int), return_dict=False)
    assert loss.shape == ()
    assert logits.shape == (2, 4, 4)


@pytest.mark.parametrize("again", [copy.copy, copy.deepcopy, lambda out: pickle.loads(pickle.dumps(out))])
def test_results_can_be_copied_and_pickled(again):
    out = tiny.model("BertModel")(IDS)
    other = again(out)
    np.testing.assert_array_equal(other.pooler_output, out.pooler_output)
    assert list(other) == list(out)
    assert other.loss is None


def test_hidden_states_and_attentions_have_one_entry_a_layer():
    out = tiny.model("BertModel")(IDS, [[1, 1, 1, 1], [1, 1, 0, 0]], output_hidden_states=True, output_attentions=True)
    assert len(out.hidden_states) == 3
    assert len(out.attentions) == 2
    np.testing.assert_array_equal(out.hidden_states[-1], out.last_hidden_state)
    np.testing.assert_allclose(out.attentions[0][0].sum(axis=-1), 1, rtol=0, atol=tolerances.SAME)
    assert out.attentions[1].shape == (2, 2, 4, 4)


def test_a_masked_lm_trains_on_the_logits_it_needs():
    labels = np.full((2, 4), -100)
    labels[0, 2] = labels[1, 0] = 3
    model = tiny.model("BertForMaskedLM")
    out, _ = model.loss_and_grads(IDS, labels=labels)
    np.testing.assert_allclose(out.logits, model(IDS).logits[labels != -100], rtol=0, atol=tolerances.SAME)


def test_printing_a_model_says_what_it_is():
    text = repr(tiny.model("BertModel"))
    assert text == "BertModel(2 layers, hidden 8, 2 heads, vocabulary 19; 1,448 parameters, float64)"


def test_the_config_may_ask_for_hidden_states_and_attentions():
    config = mb.BertConfig(**tiny.SIZES, output_hidden_states=True, output_attentions=True)
    model = mb.BertModel(config)
    out = model([[1, 2, 3]])
    assert len(out.hidden_states) == config.num_hidden_layers + 1
    assert len(out.attentions) == config.num_hidden_layers
    assert model([[1, 2, 3]], output_hidden_states=False).hidden_states is None


def test_eval_is_the_model_itself():
    model = mb.BertModel(mb.BertConfig(**tiny.SIZES))
    assert model.eval() is model
