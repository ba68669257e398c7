"""Scores on held-out text are those of the formulas, and the baseline is what counting gives."""

import numpy as np
import pytest

from minibert import BertForMaskedLM
from minibert.training.evaluation import evaluate_pretraining, evaluate_unigram
from tests.training.toy import CONFIG, ToyData, toy_model


@pytest.mark.parametrize("pairs", [True, False], ids=["with next sentence", "masked words alone"])
def test_scores_are_of_tokens_and_not_of_batches(pairs):
    """Batches have different numbers of hidden tokens: the mean of their losses would be another number."""
    model, data = (
        toy_model(dtype="float64") if pairs else BertForMaskedLM(CONFIG, dtype="float64"),
        ToyData(per_epoch=5),
    )
    plain = data.batch
    data.batch = lambda i: {k: v for k, v in plain(i).items() if pairs or k != "next_sentence_label"}
    losses, right, following = [], [], []
    for i in range(5):
        batch = plain(i)
        inputs = {name: batch[name] for name in ("input_ids", "attention_mask", "token_type_ids")}
        out = model(**inputs)
        logits = (out.prediction_logits if pairs else out.logits)[batch["labels"] != -100]
        labels = batch["labels"][batch["labels"] != -100]
        logs = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
        losses += [-row[label] for row, label in zip(logs, labels, strict=True)]
        right += (logits.argmax(axis=1) == labels).tolist()
        if pairs:
            following += (out.seq_relationship_logits.argmax(axis=1) == batch["next_sentence_label"]).tolist()
    scores = evaluate_pretraining(model, data)
    assert scores["loss"] == pytest.approx(np.mean(losses), rel=1e-12)
    assert scores["perplexity"] == pytest.approx(np.exp(np.mean(losses)), rel=1e-12)
    assert scores["accuracy"] == np.mean(right)
    assert scores.get("next_sentence_accuracy") == (np.mean(following) if pairs else None)


class Labels:
    """Batches of which only the labels matter."""

    def __init__(self, *labels):
        self.per_epoch, self.labels = len(labels), labels

    def batch(self, i):
        return {"labels": np.array(self.labels[i])}


def test_frequencies_are_counted_where_something_is_hidden():
    """Of 3 words, counted 0, 3 and 1 times and once more each: 1/7, 4/7 and 2/7."""
    seen, unseen = Labels([[-100, 1], [1, 2]], [[1, -100]]), Labels([[1, 0]], [[-100, 2]])
    scores = evaluate_unigram(seen, unseen, 3)
    assert scores["loss"] == pytest.approx(-np.log(4 / 7 * 1 / 7 * 2 / 7) / 3)
    assert scores["accuracy"] == 1 / 3
