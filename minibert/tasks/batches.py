"""Rows of tokens through a model: similar lengths together, so many tokens at a time, results in order."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple, TypeVar

import numpy as np

from ..models.base import BertPreTrainedModel
from ..models.output import ModelOutput
from ..ops.xp import Array

__all__ = ["Row", "batches_of", "inputs_of", "run_rows"]

Result = TypeVar("Result")


class Row(NamedTuple):
    """What a model reads of one text, pair or window."""

    ids: Sequence[int]
    type_ids: Sequence[int]


def run_rows(
    model: BertPreTrainedModel,
    rows: Sequence[Row],
    room: int,
    read: Callable[[ModelOutput, int, int], Result],
    **options: Any,
) -> list[Result]:
    """read(out, place in the batch, length) of every row, in the order of the rows; up to `room` tokens at a time.

    What `read` keeps must be a copy, or the whole batch stays in memory with it. options are those of the call.
    """
    results: list[Any] = [None] * len(rows)
    for batch in batches_of([len(row.ids) for row in rows], room):
        out = model(**inputs_of([rows[i] for i in batch]), **options)
        for place, i in enumerate(batch):
            results[i] = read(out, place, len(rows[i].ids))
    return results


def inputs_of(rows: Sequence[Row]) -> dict[str, Array]:
    """The arguments of a call, (B, T) each. The model packs the rows, so that what fills them up is never computed."""
    longest = max(len(row.ids) for row in rows)
    inputs = {
        name: np.zeros((len(rows), longest), np.int64) for name in ("input_ids", "token_type_ids", "attention_mask")
    }
    for i, row in enumerate(rows):
        inputs["input_ids"][i, : len(row.ids)] = row.ids
        inputs["token_type_ids"][i, : len(row.ids)] = np.frombuffer(bytes(row.type_ids), np.uint8)
        inputs["attention_mask"][i, : len(row.ids)] = 1
    return inputs


def batches_of(lengths: Sequence[int], room: int) -> Iterator[list[int]]:
    """Places in `lengths`, the longest first, in batches of up to `room` tokens, which one text may exceed."""
    batch: list[int] = []
    left = room
    for i in sorted(range(len(lengths)), key=lambda i: -lengths[i]):
        if batch and lengths[i] > left:
            yield batch
            batch, left = [], room
        batch.append(i)
        left -= lengths[i]
    if batch:
        yield batch
