"""What the tasks share: examples that were made rows of tokens once, and batches of them in the order of each epoch."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from typing import Any, ClassVar

import numpy as np

from ...errors import InputError, InputTooLong
from ...models.base import BertPreTrainedModel
from ...models.config import BertConfig
from ...ops.xp import Array
from ...tasks.batches import Row, inputs_of
from ...tasks.vocabulary import check_vocabulary
from ...text.tokenizer import BertTokenizer

__all__ = ["ROOM", "Batches", "Examples", "longest_row"]

ROOM = 2**14
"""Tokens that are evaluated at a time."""


class Examples:
    """Examples of a task, tokenised once, to be trained on by way of `Batches` and to be scored against.

    rows       what the model reads; of one example there may be several
    targets    what it is to say of each row, as JSON can hold it
    notes      what people should know, a sentence each: how many texts were cut
    metrics    names of the scores, the one that decides first; of all of them more is better
    """

    metrics: tuple[str, ...]
    model_class: ClassVar[type[BertPreTrainedModel]]

    def __init__(self, rows: Sequence[Any], targets: Sequence[Any], notes: Sequence[str] = ()) -> None:
        self.rows = rows
        self.targets = targets
        self.notes = tuple(notes)

    # ---- what subclasses define -------------------------------------------------------------------------------------

    def labels(self, chosen: Sequence[int], length: int) -> dict[str, Array]:
        """The labels of a batch of some rows, as the model takes them; the batch is so many tokens long."""
        raise NotImplementedError

    def predict(self, model: BertPreTrainedModel) -> list[Any]:
        """What the model says of every example."""
        raise NotImplementedError

    def scores(self, predictions: Sequence[Any]) -> dict[str, float]:
        """How good predictions are."""
        raise NotImplementedError

    def records(self, predictions: Sequence[Any]) -> Iterator[dict[str, Any]]:
        """Every example with its label and its prediction, as JSON can hold it."""
        raise NotImplementedError

    # ---- what they have ---------------------------------------------------------------------------------------------

    def batch(self, chosen: Sequence[int]) -> dict[str, Array]:
        """Arguments of the model's call for some rows, filled up to the longest, with their labels."""
        inputs = inputs_of([self.rows[i] for i in chosen])
        return {**inputs, **self.labels(chosen, inputs["input_ids"].shape[1])}

    def evaluate(self, model: BertPreTrainedModel) -> dict[str, float]:
        """{metric: value} of what the model says."""
        return self.scores(self.predict(model))

    @property
    def fingerprint(self) -> str:
        """sha256 of all that a model is shown."""
        digest = hashlib.sha256(json.dumps([type(self).__name__, list(self.targets)]).encode())
        for row in self._flat():
            digest.update(np.int64(len(row.ids)).tobytes())
            digest.update(np.asarray(row.ids, np.int64).tobytes())
            digest.update(bytes(row.type_ids))
        return digest.hexdigest()

    def _flat(self) -> Iterator[Row]:
        yield from self.rows


class Batches:
    """A source of batches for the training loop: all rows once an epoch, in the order default_rng([seed, epoch]) gives.

    The last batch of an epoch may be smaller. Rows of any lengths stand together: padding is never computed.
    """

    def __init__(self, examples: Examples, batch_size: int, seed: int = 0) -> None:
        if batch_size < 1:
            raise InputError(f"batch_size: expected at least 1, got {batch_size!r}")
        if seed < 0:
            raise InputError(f"seed: expected at least 0, got {seed!r}")
        if not len(examples.rows):
            raise InputError("examples: expected at least one to train on, got none")
        self.examples = examples
        self.batch_size = batch_size
        self.seed = seed
        self.per_epoch = -(-len(examples.rows) // batch_size)
        whole = json.dumps([examples.fingerprint, batch_size, seed])
        self.fingerprint = hashlib.sha256(whole.encode()).hexdigest()
        self._current: tuple[int, Array] | None = None

    def batch(self, i: int) -> dict[str, Array]:
        """Batch i, counted over all epochs; depends on i and the arguments only."""
        if i < 0:
            raise InputError(f"batch: expected a number of at least 0, got {i}")
        epoch, at = divmod(i, self.per_epoch)
        chosen = self._order(epoch)[at * self.batch_size : (at + 1) * self.batch_size]
        return self.examples.batch(chosen.tolist())

    def _order(self, epoch: int) -> Array:
        current = self._current  # kept for the batches that follow
        if current is None or current[0] != epoch:
            order = np.random.default_rng([self.seed, epoch]).permutation(len(self.examples.rows))
            current = self._current = epoch, order
        return current[1]


def longest_row(
    asked: int | None, default: int | None, tokenizer: BertTokenizer, config: BertConfig, least: int
) -> int:
    """Tokens of the longest row: as asked, or `default`, or as many as the model and its tokenizer take.

    Raises InputTooLong for more than the model has positions, and InputError for less than `least`.
    """
    check_vocabulary(tokenizer, config)
    if asked is None:
        room = min(config.max_position_embeddings, tokenizer.model_max_length)
        return room if default is None else min(default, room)
    if asked < least:
        raise InputError(f"max_length: expected at least {least}, got {asked}")
    if asked > config.max_position_embeddings:
        raise InputTooLong(
            f"max_length: expected at most {config.max_position_embeddings} tokens, as many as "
            f"the model has positions, got {asked}"
        )
    return asked
