"""Scores of named entities: what counts is the whole entity, its type and both its ends, as in seqeval and conlleval.

Tags are O, B-type, I-type; a bare B or I has the type "_". Two readings of tags that do not fit together:

    conlleval (the default)     an entity begins at B, and at an I after O or after another type
    strict (IOB2)               an entity begins at B only; an I that continues nothing is no entity

>>> entities_of(["I-PER", "I-PER", "I-LOC", "O"])
[Entity(type='PER', start=0, end=2), Entity(type='LOC', start=2, end=3)]
>>> entities_of(["I-PER", "B-PER", "I-LOC", "O"], strict=True)
[Entity(type='PER', start=1, end=2)]
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from ...errors import InputError
from .scores import Array, Scores, averaged

__all__ = ["Entity", "entities_of", "entity_scores", "entity_scores_by_type"]

Tags = Sequence[Sequence[str]]


class Entity(NamedTuple):
    """Words `start` to before `end` are one entity."""

    type: str
    start: int
    end: int


def entities_of(tags: Sequence[str], strict: bool = False) -> list[Entity]:
    """The entities of one sentence, in order."""
    found: list[Entity] = []
    type_, start = "", -1  # of the open entity; -1: none is open
    for i, tag in enumerate([*tags, "O"]):
        prefix, kind = _split(tag, i)
        continues = prefix == "I" and start >= 0 and kind == type_
        if continues:
            continue
        if start >= 0:
            found.append(Entity(type_, start, i))
        begins = prefix == "B" or (prefix == "I" and not strict)
        type_, start = kind, i if begins else -1
    return found


def entity_scores(labels: Tags, predictions: Tags, average: str = "micro", strict: bool = False) -> Scores:
    """Scores over sentences of tags; a prediction is a hit if type, start and end are all right.

    Averages over types as scores.averaged. No entity anywhere gives 0, under "macro" too, where seqeval gives nan.
    """
    _, counts = _counts(labels, predictions, strict)
    hits, predicted, support = counts.T
    return averaged(hits, predicted, support, average)


def entity_scores_by_type(labels: Tags, predictions: Tags, strict: bool = False) -> dict[str, Scores]:
    """Scores of each type that occurs, sorted by name."""
    types, counts = _counts(labels, predictions, strict)
    hits, predicted, support = counts.T[..., None]
    return {name: averaged(hits[i], predicted[i], support[i], "micro") for i, name in enumerate(types)}


def _counts(labels: Tags, predictions: Tags, strict: bool) -> tuple[list[str], Array]:
    """-> types, sorted; (types, 3): hits, predicted, really there."""
    if len(labels) != len(predictions):
        raise InputError(f"predictions: expected {len(labels)} sentences as the labels, got {len(predictions)}")
    counts: dict[str, list[int]] = defaultdict(lambda: [0, 0, 0])
    for i, (true, guess) in enumerate(zip(labels, predictions, strict=True)):
        if len(true) != len(guess):
            raise InputError(f"predictions[{i}]: expected {len(true)} tags as labels[{i}], got {len(guess)}")
        there, said = set(entities_of(true, strict)), set(entities_of(guess, strict))
        for column, group in enumerate((there & said, said, there)):
            for entity in group:
                counts[entity.type][column] += 1
    types = sorted(counts)
    return types, np.array([counts[name] for name in types], dtype=np.int64).reshape(len(types), 3)


def _split(tag: str, place: int) -> tuple[str, str]:
    """Tag -> O, B or I; type."""
    prefix, dash, kind = tag.partition("-")
    if prefix not in ("B", "I") and tag != "O":
        raise InputError(f"tag {place}: expected O, B-type or I-type, got {tag!r}")
    if dash and not kind:
        raise InputError(f"tag {place}: expected a type after the dash, got {tag!r}")
    return prefix, kind or "_"
