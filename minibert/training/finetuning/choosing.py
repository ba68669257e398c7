"""Texts with several endings, one of which is right."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from ...errors import InputError
from ...models.base import BertPreTrainedModel
from ...models.config import BertConfig
from ...models.finetuning import BertForMultipleChoice
from ...ops import softmax
from ...ops.xp import Array
from ...tasks.batches import Row, inputs_of
from ...text.tokenizer import BertTokenizer
from .. import metrics
from ..readers import ChoiceExample
from .batches import ROOM, Examples, longest_row
from .classification import text_rows

__all__ = ["Choices"]


class Choices(Examples):
    """Texts and their endings, as `read_choices` gives them, for BertForMultipleChoice: a pair an ending.

    All texts have the same number of endings. max_length is of a pair; what is more is cut, from the longer of the two,
    and `notes` says of how many. The score is the accuracy.
    """

    model_class = BertForMultipleChoice
    metrics = ("accuracy",)

    def __init__(
        self,
        examples: Sequence[ChoiceExample],
        tokenizer: BertTokenizer,
        config: BertConfig,
        max_length: int | None = None,
    ) -> None:
        longest = longest_row(max_length, None, tokenizer, config, 5)
        counts = sorted({len(example.choices) for example in examples})
        if len(counts) > 1:
            raise InputError(f"choices: expected as many for every text, got {' and '.join(map(str, counts))}")
        pairs = [(example.text, choice) for example in examples for choice in example.choices]
        flat, notes = text_rows(pairs, tokenizer, longest)
        rows = [tuple(flat[i : i + counts[0]]) for i in range(0, len(flat), counts[0])] if flat else []
        super().__init__(rows, [example.label for example in examples], notes)
        self.examples = examples

    def batch(self, chosen: Sequence[int]) -> dict[str, Array]:
        flat = inputs_of([row for i in chosen for row in self.rows[i]])
        inputs = {name: array.reshape(len(chosen), -1, array.shape[1]) for name, array in flat.items()}
        return {**inputs, "labels": np.array([self.targets[i] for i in chosen], np.int64)}

    def predict(self, model: BertPreTrainedModel) -> list[Any]:
        """(K,) probabilities of the endings of every text."""
        found: list[Array] = []
        size = max(1, ROOM // (len(self.rows[0]) * max(len(row.ids) for row in self._flat())))
        for start in range(0, len(self.rows), size):
            batch = self.batch(range(start, min(start + size, len(self.rows))))
            batch.pop("labels")
            found += list(softmax(model(**batch).logits)[0])
        return found

    def scores(self, predictions: Sequence[Any]) -> dict[str, float]:
        return {"accuracy": metrics.accuracy(self.targets, np.stack(predictions).argmax(axis=1))}

    def records(self, predictions: Sequence[Any]) -> Iterator[dict[str, Any]]:
        for example, found in zip(self.examples, predictions, strict=True):
            yield {"text": example.text, "choices": list(example.choices), "label": example.label,
                   "prediction": int(found.argmax()), "scores": found.tolist()}  # fmt: skip

    def _flat(self) -> Iterator[Row]:
        yield from itertools.chain.from_iterable(self.rows)
