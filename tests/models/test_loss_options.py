"""Class weights and label smoothing of the classifiers."""

import copy

import numpy as np
import pytest

from minibert import gradcheck, ops
from minibert.errors import InputError
from minibert.models.parameters import Keep
from tests.models import tiny

IDS = [[1, 2, 3, 4], [5, 6, 7, 8]]
WEIGHTS = [0.5, 1.0, 3.0]
OPTIONS = {"class_weights": WEIGHTS}, {"label_smoothing": 0.2}, {"class_weights": WEIGHTS, "label_smoothing": 0.2}
LABELS = {
    "BertForSequenceClassification": np.array([2, 0]),
    "BertForTokenClassification": np.array([[-100, 2, 0, 1], [1, 1, -100, -100]]),
}
each_class = pytest.mark.parametrize("cls", LABELS)


def made(cls, **options):
    model = tiny.model(cls, num_labels=3)
    model.set_loss_options(**options)
    return model


@each_class
@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_the_loss_is_the_weighted_one_and_its_gradients_are_right(cls, options):
    model, labels = made(cls, **options), LABELS[cls]
    out = model(IDS, labels=labels)
    expected, _ = ops.weighted_cross_entropy(out.logits.reshape(-1, 3), labels.reshape(-1), **options)
    assert out.loss == pytest.approx(expected, rel=1e-12)
    assert out.loss != pytest.approx(made(cls)(IDS, labels=labels).loss, rel=1e-3)
    prepared, caches = model.prepare(IDS, labels=labels), {}
    model.loss_at(model.parameters, prepared, caches)
    grads, _ = model.grads_at(prepared, caches)
    report = gradcheck.check_gradients(lambda p: model.loss_at(p, prepared, Keep())[0], model.state_dict(), grads)
    assert report, f"\n{report}"


@each_class
def test_without_them_it_is_the_plain_loss(cls):
    model, labels = made(cls, class_weights=WEIGHTS, label_smoothing=0.5), LABELS[cls]
    model.set_loss_options()
    assert model.loss_options is None
    assert model(IDS, labels=labels).loss == tiny.model(cls, num_labels=3)(IDS, labels=labels).loss
    model.set_loss_options(label_smoothing=0)
    assert model.loss_options is None


@each_class
def test_copies_have_the_same_options(cls):
    model = made(cls, class_weights=np.array(WEIGHTS, np.float32))
    for twin in (copy.deepcopy(model), model.astype("float32")):
        assert twin.loss_options == model.loss_options == (tuple(WEIGHTS), 0.0)
        assert twin(IDS, labels=LABELS[cls]).loss == pytest.approx(model(IDS, labels=LABELS[cls]).loss, rel=1e-5)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"class_weights": [1, 2]}, r"class_weights: expected shape \(3,\), one a class, got \(2,\)"),
        ({"class_weights": 2.0}, r"class_weights: expected shape \(3,\)"),
        ({"class_weights": [1, -1, 1]}, "class_weights: expected finite numbers of at least 0, got -1"),
        ({"class_weights": [1, np.inf, 1]}, "class_weights: expected finite numbers of at least 0, got inf"),
        ({"class_weights": [0, 0, 0]}, "class_weights: expected one above 0"),
        ({"class_weights": ["a", "b", "c"]}, "class_weights: expected real numbers"),
        ({"label_smoothing": 1.5}, "label_smoothing: expected a number from 0 to 1, got 1.5"),
        ({"label_smoothing": np.nan}, "label_smoothing: expected a number from 0 to 1, got nan"),
        ({"label_smoothing": [0.1]}, r"label_smoothing: expected a number from 0 to 1, got \[0.1\]"),
    ],
)
def test_impossible_options_are_refused_and_change_nothing(options, message):
    model = made("BertForTokenClassification", label_smoothing=0.1)
    with pytest.raises(InputError, match=message):
        model.set_loss_options(**options)
    assert model.loss_options == (None, 0.1)


def test_other_problems_than_single_labels_have_none():
    model = made("BertForSequenceClassification", label_smoothing=0.1)
    with pytest.raises(InputError, match="for single labels, got multi_label_classification"):
        model(IDS, labels=np.eye(2, 3))
    with pytest.raises(InputError, match="the loss of a CRF has neither"):
        tiny.head("BertCrfForTokenClassification").set_loss_options(label_smoothing=0.1)
