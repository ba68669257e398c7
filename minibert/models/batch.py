"""Packed batches: the door between (B, T) arrays with a mask and the (N, ·) rows that the model works on.

A packed batch holds the real tokens of all sequences one after another. Nothing is ever computed for padding, so no
mask exists inside the model. A key that nobody attends to is the same as a token that is not there, as long as the
others keep their positions; so masks with holes are nothing special.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from ..errors import InputError, InputTooLong
from ..ops.xp import Array, host, namespace
from .config import BertConfig


class Batch(NamedTuple):
    """N tokens of B' non-empty sequences, and where they stood in the (B, T) arrays they came from."""

    input_ids: Array | None  # (N,)
    inputs_embeds: Array | None  # (N, H), instead of ids
    token_type_ids: Array  # (N,)
    position_ids: Array  # (N,)
    cu_seqlens: Array  # (B'+1,)
    rows: Array  # (N,)  b·T + t of every token
    sequences: Array  # (B',)  which of the B sequences have a token
    shape: tuple[int, int]  # (B, T)
    choices: int = 1  # sequences that compete for one label (multiple choice)
    asked: Array | None = None  # (M,)  tokens whose last hidden states are wanted, rising; None: all

    @property
    def first_tokens(self) -> Array:
        """(B',)  where each sequence begins: its [CLS]."""
        return self.cu_seqlens[:-1]

    @property
    def cu_asked(self) -> Array:
        """(B'+1,)  where the asked tokens of each sequence begin and end among all that are asked."""
        return self.places(self.cu_seqlens)

    def places(self, tokens: Array) -> Array:
        """The rows of the last hidden states that belong to these tokens; they must have been asked for."""
        return tokens if self.asked is None else np.searchsorted(self.asked, tokens)

    def groups(self, number: int) -> list[Batch]:
        """The batch in at most so many groups of whole sequences, of about equal numbers of tokens, in order."""
        if number == 1 or len(self.sequences) < 2:
            return [self]
        ideal = np.arange(1, number) * (self.cu_seqlens[-1] / number)
        inner = {int(i) for i in np.searchsorted((self.cu_seqlens[:-1] + self.cu_seqlens[1:]) / 2, ideal)}
        borders = sorted({0, len(self.sequences)} | inner)
        return [self._group(first, last) for first, last in itertools.pairwise(borders)]

    def _group(self, first: int, last: int) -> Batch:
        """Sequences first to last."""
        start, end = self.cu_seqlens[[first, last]]
        tokens = slice(start, end)
        asked = self.asked
        return self._replace(
            input_ids=None if self.input_ids is None else self.input_ids[tokens],
            inputs_embeds=None if self.inputs_embeds is None else self.inputs_embeds[tokens],
            token_type_ids=self.token_type_ids[tokens],
            position_ids=self.position_ids[tokens],
            cu_seqlens=self.cu_seqlens[first : last + 1] - start,
            rows=self.rows[tokens],
            sequences=self.sequences[first:last],
            asked=None if asked is None else asked[(asked >= start) & (asked < end)] - start,
        )


def pack(
    config: BertConfig,
    dtype: Any,
    input_ids: Any = None,
    attention_mask: Any = None,
    token_type_ids: Any = None,
    position_ids: Any = None,
    inputs_embeds: Any = None,
) -> Batch:
    """Check everything, then keep the real tokens. Arrays or nested lists of shape (B, T).

    Positions default to 0..T-1 in every row, segments to 0, the mask to all ones.
    Raises InputError or InputTooLong, naming the argument, what was expected and what came.
    """
    if isinstance(input_ids, Mapping):
        raise InputError("input_ids: expected an array, got all inputs at once", "model(**inputs), with two stars")
    if (input_ids is None) == (inputs_embeds is None):
        got = "neither" if input_ids is None else "both"
        raise InputError(f"expected one of input_ids and inputs_embeds, got {got}")
    if input_ids is not None:
        ids = integers("input_ids", input_ids, 0, config.vocab_size, "the vocabulary")
        if ids.ndim != 2:
            raise InputError(
                f"input_ids: expected shape (batch, length), got {ids.shape}", 'tokenize with return_tensors="np"'
            )
        shape = ids.shape
    else:
        embeds = numbers("inputs_embeds", inputs_embeds)
        if embeds.ndim != 3 or embeds.shape[2] != config.hidden_size:
            raise InputError(f"inputs_embeds: expected (batch, length, {config.hidden_size}), got {embeds.shape}")
        shape = embeds.shape[:2]

    length, limit = shape[1], config.max_position_embeddings
    if position_ids is None and length > limit:
        raise InputTooLong(
            f"input has {length} tokens, the model has {limit} positions",
            f"tokenize with truncation=True, max_length={limit}, or split the text into windows",
        )
    mask = np.ones(shape, bool) if attention_mask is None else flags("attention_mask", attention_mask, shape)
    segments = np.zeros(shape, np.int64) if token_type_ids is None else token_type_ids
    segments = integers("token_type_ids", segments, 0, config.type_vocab_size, "the segments")
    positions = np.arange(length) if position_ids is None else position_ids
    positions = integers("position_ids", positions, 0, limit, "the positions")

    rows = np.flatnonzero(mask)
    lengths = mask.sum(axis=1)
    sequences = np.flatnonzero(lengths)
    return Batch(
        input_ids=None if input_ids is None else ids.reshape(-1)[rows],
        inputs_embeds=None if inputs_embeds is None else embeds.reshape(-1, config.hidden_size)[rows].astype(dtype),
        token_type_ids=_frame("token_type_ids", segments, shape).reshape(-1)[rows],
        position_ids=_frame("position_ids", positions, shape).reshape(-1)[rows],
        cu_seqlens=np.concatenate([[0], np.cumsum(lengths[sequences])]),
        rows=rows,
        sequences=sequences,
        shape=(shape[0], shape[1]),
    )


def unpack(x: Array, rows: Array, shape: tuple[int, ...]) -> Array:
    """Packed (M, ...) -> (*shape, ...), zeros where nothing was."""
    xp = namespace(x)
    if len(rows) == math.prod(shape):  # nothing is missing: rows count from 0 up
        return x.reshape(shape + x.shape[1:])
    y = xp.zeros((math.prod(shape),) + x.shape[1:], dtype=x.dtype)
    y[xp.asarray(rows)] = x
    return y.reshape(shape + x.shape[1:])


def as_array(name: str, values: Any) -> Array:
    """Nested lists or anything like an array, of any dtype, on the host; InputError if the rows differ in length.

    What is read of a batch is read on the host, where its tokens are packed: an array of a card is copied.
    """
    try:
        return np.asarray(host(values))
    except ValueError:
        raise InputError(
            f"{name}: expected rows of one length, got different ones", "tokenize with padding=True"
        ) from None


def numbers(name: str, values: Any) -> Array:
    """values as an array of numbers, real ones; otherwise InputError."""
    array = as_array(name, values)
    if array.dtype.kind not in "iuf":
        raise InputError(f"{name}: expected real numbers, got {array.dtype}")
    return array


def flags(name: str, values: Any, shape: tuple[int, ...]) -> Array:
    """values as a boolean array of that shape: 0 and 1, of any dtype, and nothing else."""
    array = as_array(name, values)
    if array.shape != tuple(shape):
        raise InputError(f"{name}: expected shape {tuple(shape)} as the input, got {array.shape}")
    if array.dtype.kind not in "biuf":
        raise InputError(f"{name}: expected 0 and 1, got {array.dtype}")
    bad = (array != 0) & (array != 1)
    if bad.any():
        place = tuple(int(i) for i in np.argwhere(bad)[0])
        raise InputError(f"{name}{list(place)} is {array[place]}, expected 0 or 1")
    return array.astype(bool)


def integers(
    name: str, values: Any, low: int, high: int, what: str, ignore: int | None = None, where: Any = True
) -> Array:
    """values as an int64 array, every one in [low, high) or equal to `ignore`; otherwise InputError with the place.

    Only places where `where` is true are looked at.
    """
    array = as_array(name, values)
    if array.size == 0 and array.dtype.kind == "f":  # an empty list
        array = array.astype(np.int64)
    if array.dtype.kind not in "iu":
        raise InputError(f"{name}: expected integers, got {array.dtype}")
    bad = ((array < low) | (array >= high)) & where
    if ignore is not None:
        bad &= array != ignore
    if bad.any():
        place = tuple(int(i) for i in np.argwhere(bad)[0])
        raise InputError(
            f"{name}{list(place) if place else ''} is {array[place]}, outside {what}: expected {low} to {high - 1}"
            + (f" or {ignore}" if ignore is not None else "")
        )
    return array.astype(np.int64)


def _frame(name: str, array: Array, shape: tuple[int, ...]) -> Array:
    """One row for all sequences, or one each."""
    if array.shape not in {tuple(shape), (1, shape[1]), (shape[1],)}:
        raise InputError(f"{name}: expected shape {tuple(shape)} as the input, got {array.shape}")
    return np.broadcast_to(array, shape)
