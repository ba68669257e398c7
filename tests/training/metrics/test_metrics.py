"""Metrics: what scikit-learn, scipy, seqeval and SQuAD's official scripts answer, what must hold, what is refused."""

import doctest
import importlib
import json
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from minibert import InputError
from minibert.training import metrics

AVERAGES = ("micro", "macro", "weighted")
MODULES = ("classification", "correlation", "entities", "language_model", "squad")


def cases(name, key):
    found = json.loads((Path(__file__).parent / "fixtures" / f"{name}.json").read_text("utf-8"))["cases"]
    return pytest.mark.parametrize("case", [case for case in found if key in case])


def same(got, expected):
    expected = math.nan if expected is None else expected
    assert got == pytest.approx(expected, rel=0, abs=1e-12, nan_ok=True)


@pytest.mark.parametrize("name", MODULES)
def test_docstrings_tell_the_truth(name):
    results = doctest.testmod(importlib.import_module(f"minibert.training.metrics.{name}"))
    assert results.attempted
    assert not results.failed


@cases("classification", "accuracy")
def test_classes_as_scikit_learn(case):
    labels, predictions = case["labels"], case["predictions"]
    for given_ in ((labels, predictions), (np.array(labels), np.array(predictions))):
        same(metrics.accuracy(*given_), case["accuracy"])
        same(metrics.matthews(*given_), case["matthews"])
        for average in AVERAGES:
            same(metrics.precision_recall_f1(*given_, average)[:3], case["scores"][average])
        for positive, expected in case.get("binary", []):
            same(metrics.precision_recall_f1(*given_, positive=positive)[:3], expected)


@cases("classification", "several")
def test_several_classes_an_example_as_scikit_learn(case):
    for average, expected in case["several"].items():
        same(metrics.multi_label_scores(case["labels"], case["predictions"], average)[:3], expected)


@cases("correlation", "pearson")
def test_correlations_as_scipy(case):
    for name in ("pearson", "spearman"):
        same(getattr(metrics, name)(case["labels"], case["predictions"]), case[name])


@cases("entities", "strict")
def test_entities_as_seqeval(case):
    for name, strict in (("conlleval", False), ("strict", True)):
        given_ = case["labels"], case["predictions"]
        for average, (*expected, support) in case[name]["averages"].items():
            got = metrics.entity_scores(*given_, average, strict)
            same(got[:3], [0.0 if x is None else x for x in expected])  # seqeval: nan, a mean over no type at all
            assert got.support == support
        by_type = metrics.entity_scores_by_type(*given_, strict)
        assert len(by_type) == len(case[name]["types"])
        for got, expected in zip(by_type.values(), case[name]["types"], strict=True):
            same(tuple(got), expected)


@cases("squad", "normalized")
def test_answers_are_normalised_as_the_official_script_does(case):
    assert metrics.normalize_answer(case["text"]) == case["normalized"]


@cases("squad", "thresholds")
def test_answers_as_the_official_script_for_2_0(case):
    given_ = case["gold"], case["predictions"]
    for got, expected in (
        (metrics.evaluate_v2(*given_), case["plain"]),
        (metrics.evaluate_v2(*given_, case["no_answer"], case["threshold"]), case["thresholds"]),
    ):
        assert got.keys() == expected.keys()
        same(got, expected)


@cases("squad", "v1")
def test_answers_as_the_official_script_for_1_1(case):
    some = dict(list(case["predictions"].items())[::2])
    same(metrics.evaluate_v1(case["gold"], case["predictions"]), case["v1"])
    same(metrics.evaluate_v1(case["gold"], some), case["v1_some"])


PAIRS = st.integers(1, 4).flatmap(lambda C: st.lists(st.tuples(*[st.integers(0, C)] * 2), min_size=1, max_size=30))
NUMBERS = st.lists(st.tuples(*[st.floats(-1e100, 1e100)] * 2), min_size=2, max_size=20)
TAGS = st.sampled_from(["O", "B-a", "I-a", "B-b", "I-b"])
SENTENCES = st.lists(st.lists(st.tuples(TAGS, TAGS), max_size=8), max_size=5)


@given(pairs=PAIRS, random=st.randoms())
def test_scores_of_classes_are_bounded_symmetric_and_know_no_order(pairs, random):
    labels, predictions = np.array(pairs).T
    accuracy, matthews = metrics.accuracy(labels, predictions), metrics.matthews(labels, predictions)
    assert 0 <= accuracy <= 1
    assert -1 <= matthews <= 1
    assert (accuracy, matthews) == (metrics.accuracy(predictions, labels), metrics.matthews(predictions, labels))
    assert metrics.precision_recall_f1(labels, predictions, "micro").f1 == pytest.approx(accuracy)
    assert metrics.matthews(labels, labels) == (len(set(labels)) > 1)
    shuffled = np.array(random.sample(pairs, len(pairs))).T
    renamed = np.array([7, -1, 3, 100, 5])
    for average in AVERAGES:
        scores = metrics.precision_recall_f1(labels, predictions, average)
        assert all(0 <= x <= 1 + 1e-15 for x in scores[:3])
        assert scores == metrics.precision_recall_f1(*shuffled, average)
        assert scores == pytest.approx(metrics.precision_recall_f1(renamed[labels], renamed[predictions], average))
        turned = metrics.precision_recall_f1(predictions, labels, average)
        if average != "weighted":  # whose weights are the labels'
            assert (turned.precision, turned.recall, turned.f1) == (scores.recall, scores.precision, scores.f1)


@given(pairs=NUMBERS, random=st.randoms())
def test_correlations_are_bounded_symmetric_and_know_no_order(pairs, random):
    x, y = np.array(pairs).T
    shuffled = np.array(random.sample(pairs, len(pairs))).T
    for correlation in (metrics.pearson, metrics.spearman):
        value = correlation(x, y)
        assert math.isnan(value) == (len(set(x)) == 1 or len(set(y)) == 1)
        assume(not math.isnan(value))
        assert -1 <= value <= 1
        assert correlation(y, x) == value
        assert correlation(x, -y) == pytest.approx(-value, abs=1e-12)
        assert correlation(*shuffled) == pytest.approx(value, abs=1e-12)
        assert correlation(x, x) == pytest.approx(1, abs=1e-12)


@given(pairs=st.lists(st.tuples(*[st.integers(-1000, 1000)] * 2), min_size=2, max_size=20))
def test_a_rising_function_changes_no_rank(pairs):
    x, y = np.array(pairs).T
    assert metrics.spearman(x**3, y) == pytest.approx(metrics.spearman(x, y), rel=0, abs=0, nan_ok=True)


@given(sentences=SENTENCES, random=st.randoms(), strict=st.booleans())
def test_scores_of_entities_are_bounded_symmetric_and_know_no_order_of_sentences(sentences, random, strict):
    def split(rows):
        return [[a for a, _ in row] for row in rows], [[b for _, b in row] for row in rows]

    labels, predictions = split(sentences)
    for average in AVERAGES:
        scores = metrics.entity_scores(labels, predictions, average, strict)
        assert all(0 <= x <= 1 + 1e-15 for x in scores[:3])
        assert scores == metrics.entity_scores(*split(random.sample(sentences, len(sentences))), average, strict)
        assert metrics.entity_scores(labels, labels, average, strict).f1 == pytest.approx(float(scores.support > 0))
    micro, turned = metrics.entity_scores(labels, predictions), metrics.entity_scores(predictions, labels)
    assert (micro.precision, micro.recall, micro.f1) == (turned.recall, turned.precision, turned.f1)
    for row in labels:  # what is an entity for the strict is one for the others, if it is no longer for them
        loose = metrics.entities_of(row)
        assert set(metrics.entities_of(row, strict=True)) <= set(loose)
        assert all(0 <= e.start < e.end <= len(row) for e in loose)


@given(gold=st.text(max_size=20), prediction=st.text(max_size=20))
def test_scores_of_answers_are_bounded_and_symmetric(gold, prediction):
    f1, exact = metrics.overlap_f1(gold, prediction), metrics.exact_match(gold, prediction)
    assert exact <= f1 <= 1
    assert (f1, exact) == (metrics.overlap_f1(prediction, gold), metrics.exact_match(prediction, gold))
    assert metrics.overlap_f1(gold, gold) == metrics.exact_match(gold, gold) == 1


def test_a_threshold_that_is_best_is_reached():
    gold = {"a": ["x"], "b": ["y"], "c": [], "d": []}
    predictions = {"a": "x", "b": "z", "c": "x", "d": ""}
    no_answer = {"a": 0.1, "b": 0.2, "c": 0.7, "d": 0.9}
    best = metrics.evaluate_v2(gold, predictions, no_answer)
    assert (best["best_f1"], best["best_f1_thresh"]) == (75.0, 0.1)
    assert metrics.evaluate_v2(gold, predictions, no_answer, best["best_f1_thresh"])["f1"] == 75.0
    assert best["f1"] == 50.0


def test_sums_of_batches_give_the_scores_of_all_tokens():
    rng = np.random.default_rng(0)
    labels = np.where(rng.random((4, 9)) < 0.3, rng.integers(0, 3, (4, 9)), -100)
    predictions, losses = rng.integers(0, 3, (4, 9)), rng.random((4, 9))
    hidden = labels != -100
    parts = [metrics.masked_correct(labels[i], predictions[i]) for i in range(4)]
    correct, count = (sum(column) for column in zip(*parts, strict=True))
    assert (correct, count) == metrics.masked_correct(labels, predictions)
    scores = metrics.masked_scores(losses[hidden].sum(), correct, count)
    assert scores.accuracy == np.mean(labels[hidden] == predictions[hidden])
    same(scores.perplexity, np.exp(losses[hidden].mean()))
    assert metrics.masked_scores(1e6, 0, 1).perplexity == math.inf


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: metrics.accuracy([], []), "labels: expected integers or texts, got none"),
        (lambda: metrics.accuracy([1, 2], [1]), "predictions: expected 2, one a label, got 1"),
        (lambda: metrics.accuracy([0.5], [1]), "labels: expected integers or texts, got float64"),
        (lambda: metrics.accuracy([[1]], [[1]]), r"labels: .*got shape \(1, 1\)"),
        (lambda: metrics.accuracy([[1], [1, 2]], [1]), "labels: .*got ragged rows"),
        (lambda: metrics.accuracy(["a"], [1]), "predictions: expected <U1 as the labels, got int64"),
        (lambda: metrics.precision_recall_f1([0, 1, 2], [0, 1, 2]), "expected two classes, got 3"),
        (lambda: metrics.precision_recall_f1([0, 2], [0, 2]), r"positive: expected one of \[0, 2\], got 1"),
        (lambda: metrics.precision_recall_f1([0], [0], "mean"), "average: expected one of binary, micro, .*got 'mean'"),
        (lambda: metrics.multi_label_scores([[0, 2]], [[0, 1]]), "labels: expected 0 and 1, got others"),
        (lambda: metrics.multi_label_scores([[0, 1]], [[1]]), r"predictions: expected shape \(1, 2\) as the labels"),
        (lambda: metrics.multi_label_scores([0, 1], [0, 1]), r"labels: expected shape \(n, C\).*got \(2,\)"),
        (lambda: metrics.multi_label_scores([[0], [0, 1]], [[0]]), "labels: .*ragged"),
        (lambda: metrics.multi_label_scores([[1]], [[1]], "binary"), "average: expected one of micro, macro, weighted"),
        (lambda: metrics.pearson([1], [1]), "at least two numbers"),
        (lambda: metrics.spearman(["1", "2"], [1, 2]), "labels: expected numbers, got <U1"),
        (lambda: metrics.entity_scores([["O"]], []), "predictions: expected 1 sentences as the labels, got 0"),
        (lambda: metrics.entity_scores([["O"]], [["O"] * 2]), r"expected 1 tags as labels\[0\], got 2"),
        (lambda: metrics.entities_of(["O", "E-PER"]), "tag 1: expected O, B-type or I-type, got 'E-PER'"),
        (lambda: metrics.entities_of(["B-"]), "tag 0: expected a type after the dash, got 'B-'"),
        (lambda: metrics.evaluate_v1({}, {}), "gold: expected at least one question"),
        (lambda: metrics.evaluate_v1({"a": []}, {"a": ""}), r"gold\['a'\]: expected an answer, got none"),
        (lambda: metrics.evaluate_v2({}, {}), "gold: expected at least one question"),
        (lambda: metrics.evaluate_v2({"a": [], "b": []}, {"b": ""}), "predictions: .*1 of 2 have none: 'a'"),
        (lambda: metrics.evaluate_v2({"a": []}, {"a": ""}, {}), "no_answer: .*1 of 1 have none: 'a'"),
        (lambda: metrics.evaluate_v2({"a": []}, {"a": ""}, {"a": math.nan}), r"no_answer\['a'\]: .*got nan"),
        (lambda: metrics.masked_correct([1], [1, 2]), r"predictions: expected shape \(1,\) as the labels, got \(2,\)"),
        (lambda: metrics.masked_scores(1.0, 0, 0), "a count of at least 1, got 0 and 0"),
        (lambda: metrics.next_sentence_accuracy([-100], [0]), "at least one pair with a label"),
    ],
)  # fmt: skip
def test_what_cannot_be_scored_is_refused(call, message):
    with pytest.raises(InputError, match=message):
        call()


def test_nan_and_infinity_are_scipys():
    assert math.isnan(metrics.pearson([1, math.inf, 2], [1, 3, 2]))
    assert math.isnan(metrics.spearman([1, math.nan, 2], [1, 3, 2]))
    assert metrics.spearman([1, math.inf, 2], [1, 3, 2]) == 1
