"""Texts and pairs of texts with a class, a number or several classes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from ...errors import InputError
from ...models.base import BertPreTrainedModel
from ...models.config import PROBLEM_TYPES, BertConfig
from ...models.finetuning import BertForSequenceClassification
from ...ops import softmax
from ...ops.activations import sigmoid
from ...ops.xp import Array
from ...tasks.batches import Row, run_rows
from ...text.tokenizer import BertTokenizer
from .. import metrics
from ..readers import TextExample
from .batches import ROOM, Examples, longest_row

__all__ = ["Texts", "balanced_weights", "text_rows"]


class Texts(Examples):
    """Texts and their labels, as `read_table` gives them, for BertForSequenceClassification.

    labels          the classes' names, the place of each its id; none for regression
    problem_type    single_label_classification     accuracy; of two classes Matthews' coefficient and the F1 of the
                                                    second, else its mean over the classes, macro_f1
                    regression                      Spearman's and Pearson's correlation
                    multi_label_classification      micro_f1 and macro_f1 of the classes with a probability over 0.5
    max_length      tokens, special ones included; what is more is cut, from the longer text of a pair, and `notes`
                    says of how many. None: as many as model and tokenizer take
    """

    model_class = BertForSequenceClassification

    def __init__(
        self,
        examples: Sequence[TextExample],
        tokenizer: BertTokenizer,
        config: BertConfig,
        labels: Sequence[str] = (),
        problem_type: str = "single_label_classification",
        max_length: int | None = None,
    ) -> None:
        if problem_type not in PROBLEM_TYPES:
            raise InputError(f"problem_type: expected one of {', '.join(PROBLEM_TYPES)}, got {problem_type!r}")
        if any(example.label is None for example in examples):
            raise InputError("examples: expected a label each, got some without")
        longest = longest_row(max_length, None, tokenizer, config, 5)
        texts = [(each.text, each.text_pair) if each.text_pair else each.text for each in examples]
        rows, notes = text_rows(texts, tokenizer, longest)
        super().__init__(rows, [each.label for each in examples], notes)
        self.examples = examples
        self.names = tuple(labels)
        self.problem_type = problem_type
        self.metrics = {
            "single_label_classification": ("accuracy", "f1" if len(labels) == 2 else "macro_f1", "matthews"),
            "regression": ("spearman", "pearson"),
            "multi_label_classification": ("micro_f1", "macro_f1"),
        }[problem_type]

    def labels(self, chosen: Sequence[int], length: int) -> dict[str, Array]:
        targets = [self.targets[i] for i in chosen]
        if self.problem_type == "single_label_classification":
            return {"labels": np.array(targets, np.int64)}
        return {"labels": np.array(targets, np.float64) if self.problem_type == "regression" else self._flags(targets)}

    def _flags(self, targets: Sequence[Sequence[int]]) -> Array:
        """Lists of classes -> (n, C), 1 where an example has the class."""
        flags = np.zeros((len(targets), len(self.names)))
        for row, classes in zip(flags, targets, strict=True):
            row[list(classes)] = 1
        return flags

    def predict(self, model: BertPreTrainedModel) -> list[Any]:
        """(C,) an example: probabilities; of a regression its number."""
        logits = np.stack(run_rows(model, self.rows, ROOM, lambda out, i, _: out.logits[i].copy()))
        if self.problem_type == "regression":
            return list(logits)
        single = self.problem_type == "single_label_classification"
        return list(softmax(logits)[0] if single else sigmoid(logits))

    def scores(self, predictions: Sequence[Any]) -> dict[str, float]:
        found = np.stack(predictions)
        if self.problem_type == "regression":
            numbers = found[:, 0]
            return {name: getattr(metrics, name)(self.targets, numbers) for name in self.metrics}
        if self.problem_type == "multi_label_classification":
            flags, guesses = self._flags(self.targets), found > 0.5
            return {
                f"{average}_f1": metrics.multi_label_scores(flags, guesses, average).f1
                for average in ("micro", "macro")
            }
        classes = found.argmax(axis=1)
        average = "binary" if len(self.names) == 2 else "macro"
        return {
            "accuracy": metrics.accuracy(self.targets, classes),
            self.metrics[1]: metrics.precision_recall_f1(self.targets, classes, average).f1,
            "matthews": metrics.matthews(self.targets, classes),
        }

    def records(self, predictions: Sequence[Any]) -> Iterator[dict[str, Any]]:
        for example, found in zip(self.examples, predictions, strict=True):
            texts = {"text": example.text, **({"text_pair": example.text_pair} if example.text_pair else {})}
            yield {**texts, **self._record(example.label, found)}

    def _record(self, label: Any, found: Array) -> dict[str, Any]:
        if self.problem_type == "regression":
            return {"label": label, "prediction": float(found[0])}
        scores = dict(zip(self.names, found.tolist(), strict=True))
        if self.problem_type == "multi_label_classification":
            chosen = [self.names[i] for i in np.flatnonzero(found > 0.5)]
            return {"label": [self.names[i] for i in label], "prediction": chosen, "scores": scores}
        return {"label": self.names[label], "prediction": self.names[int(found.argmax())], "scores": scores}


def text_rows(texts: Sequence[Any], tokenizer: BertTokenizer, longest: int) -> tuple[list[Row], list[str]]:
    """Texts, or (text, pair) tuples, -> rows of up to so many tokens, and a note if some had to be cut for it."""
    encodings = tokenizer(list(texts)).encodings if texts else []
    cut = [i for i, encoding in enumerate(encodings) if encoding.size > longest]
    for i in cut:
        encodings[i] = tokenizer([texts[i]], truncation=True, max_length=longest).encodings[0]
    note = f"{len(cut)} of {len(encodings)} texts are longer than {longest} tokens and were cut"
    return [Row(encoding.ids, encoding.type_ids) for encoding in encodings], [note] if cut else []


def balanced_weights(targets: Sequence[int], classes: int) -> Array:
    """(C,) weights with which all classes count the same in sum: n/(C·nⱼ), of n labels, nⱼ of class j.

    >>> balanced_weights([0, 0, 0, 1], 2).tolist() == [4 / 6, 4 / 2]
    True
    """
    counts = np.bincount(targets, minlength=classes)
    if not counts.all():
        raise InputError(f"class weights: expected every class among the labels, got none of class {counts.argmin()}")
    return np.asarray(len(targets) / (classes * counts))
