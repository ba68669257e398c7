"""Which head a fine-tuning begins with."""

import warnings

import numpy as np
import pytest

import minibert as mb
from minibert.checkpoint import MissingWeights
from minibert.training.finetuning import is_for, open_model, own_labels
from tests.training.finetuning.toys import TAGS, config

TEXTS, CRF = mb.BertForSequenceClassification, mb.BertCrfForTokenClassification


@pytest.fixture
def saved(tmp_path):
    def save(cls, **options):
        cls(config(**options), seed=1).save_pretrained(tmp_path / "saved")
        return tmp_path / "saved"

    return save


def fresh(*args, **options):
    """-> the model, and the names that its warning says are new."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        model = open_model(*args, **options)
    assert all(warning.category is MissingWeights for warning in caught)
    assert bool(caught) == bool(model.load_report.missing)
    return model, model.load_report.missing


def test_an_encoder_gets_a_head_with_the_names(saved):
    path = saved(mb.BertModel)
    model, new = fresh(TEXTS, path, ("bad", "good"), "single_label_classification", hidden_dropout_prob=0.2)
    assert new == ["classifier.weight", "classifier.bias"]
    assert (model.config.id2label, model.config.hidden_dropout_prob) == ({0: "bad", 1: "good"}, 0.2)
    again, _ = fresh(TEXTS, path, ("bad", "good"), "single_label_classification")
    other, _ = fresh(TEXTS, path, ("bad", "good"), "single_label_classification", seed=1)
    np.testing.assert_array_equal(model.parameters["classifier.weight"], again.parameters["classifier.weight"])
    assert not np.array_equal(model.parameters["classifier.weight"], other.parameters["classifier.weight"])


def test_a_masked_lm_gets_a_pooler_too_where_it_is_read(saved):
    path = saved(mb.BertForMaskedLM)
    assert set(fresh(TEXTS, path, ("a", "b", "c"))[1]) == {
        "classifier.weight", "classifier.bias", "bert.pooler.dense.weight", "bert.pooler.dense.bias",
    }  # fmt: skip
    assert fresh(mb.BertForTokenClassification, path, TAGS)[1] == ["classifier.weight", "classifier.bias"]
    assert fresh(mb.BertForQuestionAnswering, path)[1] == ["qa_outputs.weight", "qa_outputs.bias"]


def test_a_head_is_kept_for_the_same_labels_only(saved):
    path = saved(TEXTS, id2label={0: "good", 1: "bad"})
    assert own_labels(TEXTS, path, "single_label_classification") == ("good", "bad")
    assert fresh(TEXTS, path, ("good", "bad"), "single_label_classification")[1] == []
    assert fresh(TEXTS, path, ("bad", "good"), "single_label_classification")[1]
    model, new = fresh(TEXTS, path, ("bad", "good", "so so"), "single_label_classification")
    assert new == ["classifier.weight", "classifier.bias"]
    assert model.parameters["classifier.weight"].shape == (3, 32)
    assert fresh(TEXTS, path, ("good", "bad"), "multi_label_classification")[1]
    assert fresh(mb.BertForMultipleChoice, path)[1]
    assert fresh(TEXTS, path, (), "regression")[1]


def test_more_than_ten_labels_keep_their_ids(saved):
    names = tuple(f"L{i}" for i in range(12))
    path = saved(TEXTS, id2label=dict(enumerate(names)))
    assert own_labels(TEXTS, path, "single_label_classification") == names
    assert fresh(TEXTS, path, names, "single_label_classification")[1] == []


def test_heads_without_names_are_kept_for_their_task(saved):
    path = saved(mb.BertForQuestionAnswering)
    assert fresh(mb.BertForQuestionAnswering, path)[1] == []
    path = saved(mb.BertForMultipleChoice, num_labels=1)
    assert fresh(mb.BertForMultipleChoice, path)[1] == []
    assert not is_for(TEXTS, path, "regression")
    path = saved(TEXTS, num_labels=1)
    assert fresh(TEXTS, path, (), "regression")[1] == []
    assert not is_for(TEXTS, path, "single_label_classification")


def test_a_tagger_may_get_transitions_and_lose_them(saved):
    path = saved(mb.BertForTokenClassification, id2label=dict(enumerate(TAGS)))
    model, new = fresh(CRF, path, TAGS)
    assert new == ["crf.transitions", "crf.start_transitions", "crf.end_transitions"]
    model.save_pretrained(path)
    assert fresh(CRF, path, TAGS)[1] == []
    assert fresh(mb.BertForTokenClassification, path, TAGS)[1] == []
    assert len(fresh(CRF, path, ("O", "B-X"))[1]) == 5
