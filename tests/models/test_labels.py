"""Labels: what each class refuses, in which words, and how the kind of loss is chosen."""

import numpy as np
import pytest

from minibert.errors import InputError
from tests.models import tiny

pytestmark = pytest.mark.usefixtures("nothing_is_computed_for_bad_input")

IDS = [[1, 2, 3, 4], [5, 6, 7, 8]]


def label_faults(shape, classes):
    """What is wrong with labels of that shape and range, and what the error says."""
    fitting = np.zeros(shape, int)
    return {
        "out of range": (np.full(shape, classes), f"is {classes}, .* expected 0 to {classes - 1} or -100"),
        "negative": (fitting - 1, "is -1, "),
        "fractions": (fitting + 0.5, "expected (integers|shape)"),
        "texts": (fitting.astype(str), "expected (integers|real numbers), got <U"),
        "booleans": (fitting.astype(bool), "expected (integers|real numbers), got bool"),
        "NaN": (np.full(shape, np.nan), "expected (integers|finite numbers)"),
        "None": (np.full(shape, None), "expected (integers|real numbers), got object"),
        "too few": (fitting[:1], "expected shape"),
        "another axis": (fitting[..., None, None], "expected shape"),
        "ragged": ([[1], [1, 2]], "expected rows of one length"),
    }


def every_bad_label():
    places = {"BertForMaskedLM": ((2, 4), 19), "BertForTokenClassification": ((2, 4), 4)}
    places |= {"BertCrfForTokenClassification": ((2, 4), 4)}
    places |= {"BertForNextSentencePrediction": ((2,), 2), "BertForSequenceClassification": ((2,), 3)}
    places |= {"BertForMultipleChoice": ((2,), 2)}
    for key, (shape, classes) in places.items():
        for what, (values, message) in label_faults(shape, classes).items():
            yield pytest.param(key, {"labels": values}, "labels.*" + message, id=f"{key} {what}")
    for name, shape, classes in (("labels", (2, 4), 19), ("next_sentence_label", (2,), 2)):
        for what, (values, message) in label_faults(shape, classes).items():
            given = {"labels": np.zeros((2, 4), int), "next_sentence_label": [0, 1], name: values}
            yield pytest.param(
                "BertForPreTraining", given, f"{name}.*{message}", id=f"BertForPreTraining {name} {what}"
            )
    for name in ("start_positions", "end_positions"):
        for what, (values, message) in label_faults((2,), 2**63 - 1).items():
            if what == "out of range":  # the answer was truncated away
                continue
            given = {"start_positions": [0, 1], "end_positions": [0, 1], name: values}
            yield pytest.param("BertForQuestionAnswering", given, f"{name}.*{message}", id=f"{name} {what}")
    scores = {
        "several labels": {"of 2": np.full((2, 3), 2.0), "of -1": np.full((2, 3), -1.0), "flat": np.zeros(2)},
        "regression": {"infinite": np.array([1, np.inf]), "two each": np.zeros((2, 2)), "texts": np.array(["1", "2"])},
    }
    for key, faults in scores.items():
        for what, values in faults.items():
            yield pytest.param(key, {"labels": values}, "labels: expected", id=f"{key} {what}")


@pytest.mark.parametrize(("key", "labels", "message"), list(every_bad_label()))
def test_bad_labels_are_refused_by_name(key, labels, message):
    model = tiny.head(key)
    ids = [IDS, IDS] if key == "BertForMultipleChoice" else IDS
    with pytest.raises(InputError, match=message):
        model.loss_and_grads(ids, **labels)


def test_a_bad_token_label_is_refused_with_its_place_in_the_padded_array():
    labels = np.zeros((2, 4), int)
    labels[1, 3] = 99
    with pytest.raises(InputError, match=r"labels\[1, 3\] is 99"):
        tiny.head("BertForMaskedLM").loss_and_grads(IDS, [[1, 1, 0, 0], [1, 1, 1, 1]], labels=labels)


def test_an_answer_at_a_masked_place_is_refused():
    model = tiny.head("BertForQuestionAnswering")
    with pytest.raises(InputError, match=r"end_positions\[1\] is 3, a place that attention_mask takes out"):
        model(IDS, [[1] * 4, [1, 1, 1, 0]], start_positions=[0, 0], end_positions=[3, 3])


@pytest.mark.parametrize("key", tiny.HEADS)
def test_an_unknown_keyword_is_refused_and_the_known_ones_are_named(key):
    model = tiny.head(key)
    with pytest.raises(TypeError, match=f"unexpected argument label; expected .*{', '.join(model.label_names)}$"):
        model(IDS, label=[0, 1])


def test_all_inputs_in_place_of_the_ids_get_a_hint():
    with pytest.raises(InputError, match="two stars"):
        tiny.model("BertModel")({"input_ids": IDS})


@pytest.mark.parametrize("key", tiny.HEADS)
def test_gradients_without_labels_are_refused_and_the_labels_are_named(key):
    model = tiny.head(key)
    ids = [IDS, IDS] if key == "BertForMultipleChoice" else IDS
    with pytest.raises(InputError, match=f"loss_and_grads: expected {' and '.join(model.label_names)}; without labels"):
        model.loss_and_grads(ids)
    if len(model.label_names) == 2:  # one of two is not enough
        with pytest.raises(InputError, match="loss_and_grads: expected"):
            model.loss_and_grads(ids, **{model.label_names[0]: np.zeros((2, 4), int)})


def test_the_problem_is_decided_by_the_labels_at_every_call():
    model = tiny.model("BertForSequenceClassification", num_labels=3)
    single = model(IDS, labels=[0, 2]).loss
    several = model(IDS, labels=np.eye(2, 3)).loss
    assert model(IDS, labels=[0, 2]).loss == single != several
    assert model.config.problem_type is None
