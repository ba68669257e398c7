"""What users give as labels -> what the losses take: of the real tokens and sequences only, checked."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..errors import InputError
from ..ops.losses import IGNORE_INDEX
from ..ops.xp import Array
from .batch import Batch, as_array, integers, unpack


def sequence_labels(name: str, values: Any, batch: Batch, classes: int) -> Array:
    """(B,) class labels -> those of the sequences that have a token."""
    labels = integers(name, values, 0, classes, f"the {classes} classes", ignore=IGNORE_INDEX)
    if labels.shape != (batch.shape[0],):
        raise InputError(f"{name}: expected shape ({batch.shape[0]},), one label a sequence, got {labels.shape}")
    return labels[batch.sequences]


def token_labels(name: str, values: Any, batch: Batch, classes: int) -> Array:
    """(B, T) labels -> (N,), those of the real tokens. What stands at masked places is never looked at."""
    labels = as_array(name, values)
    if labels.shape != batch.shape:
        raise InputError(f"{name}: expected shape {batch.shape} as the input, got {labels.shape}")
    real = unpack(np.ones(len(batch.rows), bool), batch.rows, batch.shape)
    labels = integers(name, labels, 0, classes, f"the {classes} classes", ignore=IGNORE_INDEX, where=real)
    return labels.reshape(-1)[batch.rows]


def word_starts(word_ids: Sequence[Sequence[int | None]]) -> Array:
    """The tokenizer's word_ids of every row -> (B, T), 1 at the first token of each word, else 0.

    word_starts([encoding.word_ids(i) for i in range(len(texts))]). None is no word. A row that was cut out of a longer
    text and begins within a word counts the piece it begins with as its start.
    """
    starts = [[w is not None and w != before for before, w in itertools.pairwise([None, *row])] for row in word_ids]
    return as_array("word_ids", starts).astype(np.int64)


def position_labels(name: str, values: Any, batch: Batch) -> Array:
    """Places in the padded row -> places among the row's real tokens; IGNORE_INDEX for those beyond the row."""
    length = batch.shape[1]
    places = integers(name, values, 0, np.iinfo(np.int64).max, "the row", ignore=IGNORE_INDEX)
    if places.shape == (batch.shape[0], 1):
        places = places[:, 0]
    if places.shape != (batch.shape[0],):
        raise InputError(f"{name}: expected shape ({batch.shape[0]},), one place a row, got {places.shape}")
    result = np.full(len(batch.sequences), IGNORE_INDEX)
    for i, b in enumerate(batch.sequences):
        if 0 <= places[b] < length:
            columns = batch.rows[batch.cu_seqlens[i] : batch.cu_seqlens[i + 1]] - b * length
            found = np.flatnonzero(columns == places[b])
            if not len(found):
                raise InputError(f"{name}[{b}] is {places[b]}, a place that attention_mask takes out")
            result[i] = found[0]
    return result
