"""Sentences with a tag for every word."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from ...models.base import BertPreTrainedModel
from ...models.config import BertConfig
from ...models.crf import BertCrfForTokenClassification
from ...models.finetuning import BertForTokenClassification
from ...ops.losses import IGNORE_INDEX
from ...ops.xp import Array
from ...tasks.batches import Row, run_rows
from ...text.encoding import Encoding
from ...text.tokenizer import BertTokenizer
from .. import metrics
from ..readers import TaggedExample
from .batches import ROOM, Examples, longest_row

__all__ = ["Sentences"]

_BIO = re.compile(r"O|[BI](-.+)?")


class Sentences(Examples):
    """Words and their tags, as `read_conll` gives them, for BertForTokenClassification, with a CRF or without.

    A word's tag stands at its first piece; the other pieces, [CLS] and [SEP] have none. A sentence of more than
    max_length tokens is cut between two words, and `notes` says how many are; None: as many as model and tokenizer
    take.

    Scores are f1, precision and recall of entities, where tags are O, B-type and I-type, and the accuracy of words.
    A word that the model does not see, as it was cut off or has no piece, is predicted O, or the first tag where there
    is no O: it counts like any other.
    """

    model_class = BertForTokenClassification

    def __init__(
        self,
        examples: Sequence[TaggedExample],
        tokenizer: BertTokenizer,
        config: BertConfig,
        labels: Sequence[str],
        max_length: int | None = None,
    ) -> None:
        longest = longest_row(max_length, None, tokenizer, config, 3)
        cls, sep = tokenizer.cls_token_id, tokenizer.sep_token_id
        ids = {label: i for i, label in enumerate(labels)}
        words = [list(example.words) for example in examples]
        encodings = tokenizer(words, is_split_into_words=True, add_special_tokens=False).encodings if words else []
        rows: list[Row] = []
        targets: list[list[int]] = []
        self._places: list[list[int]] = []  # of the first piece of each word that has a tag
        self._words: list[list[int]] = []  # and which word it is
        for example, encoding in zip(examples, encodings, strict=True):
            size = _whole_words(encoding, longest - 2)
            pieces = encoding.words[:size]
            firsts = [i for i in range(size) if not i or pieces[i] != pieces[i - 1]]
            rows.append(Row([cls, *encoding.ids[:size], sep], bytes(size + 2)))
            self._places.append([i + 1 for i in firsts])
            self._words.append([pieces[i] for i in firsts])
            targets.append([ids[example.tags[word]] for word in self._words[-1]])
        cut = sum(encoding.size > longest - 2 for encoding in encodings)
        note = f"{cut} of {len(encodings)} sentences are longer than {longest} tokens and were cut between words"
        super().__init__(rows, targets, [note] if cut else [])
        self.examples = examples
        self.names = tuple(labels)
        entities = all(_BIO.fullmatch(label) for label in labels)
        self.metrics = ("f1", "precision", "recall", "accuracy") if entities else ("accuracy",)

    def labels(self, chosen: Sequence[int], length: int) -> dict[str, Array]:
        labels = np.full((len(chosen), length), IGNORE_INDEX)
        for row, i in zip(labels, chosen, strict=True):
            row[self._places[i]] = self.targets[i]
        return {"labels": labels}

    def predict(self, model: BertPreTrainedModel) -> list[list[str]]:
        """The tags of every sentence."""
        logits = run_rows(model, self.rows, ROOM, lambda out, i, length: out.logits[i, :length].copy())
        at_words = [scores[places] for scores, places in zip(logits, self._places, strict=True)]
        if isinstance(model, BertCrfForTokenClassification):
            found = _paths(model, at_words)
        else:
            found = [scores.argmax(axis=1) for scores in at_words]
        unseen = "O" if "O" in self.names else self.names[0]
        tags = [[unseen] * len(example.words) for example in self.examples]
        for row, words, ids in zip(tags, self._words, found, strict=True):
            for word, number in zip(words, ids.tolist(), strict=True):
                row[word] = self.names[number]
        return tags

    def scores(self, predictions: Sequence[Any]) -> dict[str, float]:
        tags = [list(example.tags) for example in self.examples]
        flat = ([tag for row in rows for tag in row] for rows in (tags, predictions))
        accuracy = {"accuracy": metrics.accuracy(*flat)}
        if "f1" not in self.metrics:
            return accuracy
        found = metrics.entity_scores(tags, predictions)
        return {"f1": found.f1, "precision": found.precision, "recall": found.recall, **accuracy}

    def records(self, predictions: Sequence[Any]) -> Iterator[dict[str, Any]]:
        for example, found in zip(self.examples, predictions, strict=True):
            yield {"words": list(example.words), "label": list(example.tags), "prediction": found}


def _whole_words(encoding: Encoding, room: int) -> int:
    """Tokens of as many whole words as there is room for; of a first word that is longer, what there is room for."""
    size = min(encoding.size, room)
    if size == encoding.size:
        return size
    whole = size
    while whole and encoding.words[whole] == encoding.words[whole - 1]:
        whole -= 1
    return whole or size


def _paths(model: BertCrfForTokenClassification, scores: Sequence[Array]) -> list[Array]:
    """The best path of tags through each sentence's words: (W, C) scores -> (W,)."""
    longest = max(map(len, scores))
    logits = np.zeros((len(scores), longest, len(model.config.id2label or {})), model.dtype)
    starts = np.zeros((len(scores), longest), np.int64)
    for i, each in enumerate(scores):
        logits[i, : len(each)], starts[i, : len(each)] = each, 1
    tags = model.decode(logits, starts)
    return [row[: len(each)] for row, each in zip(tags, scores, strict=True)]
