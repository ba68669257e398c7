"""From tagged tokens to words and entities, by Hugging Face's strategies.

none        a token an entry
simple      neighbours with the same tag are one entity; a tag that begins with B- starts a new one
first       the pieces of a word get the label of its first, then as simple
average     a word gets the label whose mean score over its pieces is highest, then as simple
max         a word gets the label of the piece whose score is highest, then as simple
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from ..ops.xp import Array

__all__ = ["STRATEGIES", "Token", "as_entities", "as_entries", "as_words", "longest_of_overlapping"]

STRATEGIES = ("none", "simple", "first", "average", "max")

Entry = dict[str, Any]
Join = Callable[[Sequence[str]], str]


class Token(NamedTuple):
    """A token of a text, and what the model says of it."""

    text: str  # the piece; of an unknown one the characters it stands for
    start: int
    end: int
    number: int  # 1 for the first: 0 would be [CLS]
    continues: bool  # part of the same word as the token before it
    label: int
    scores: Array  # (C,)


def as_entries(tokens: Sequence[Token], names: Mapping[int, str]) -> list[Entry]:
    """Strategy none: {"entity", "score", "index", "word", "start", "end"} of every token."""
    return [
        {
            "entity": names[token.label],
            "score": float(token.scores[token.label]),
            "index": token.number,
            "word": token.text,
            "start": token.start,
            "end": token.end,
        }
        for token in tokens
    ]


def as_words(tokens: Sequence[Token], names: Mapping[int, str], strategy: str, join: Join) -> list[Entry]:
    """{"entity", "score", "word", "start", "end"} of every word, its pieces made one by first, average or max."""
    words: list[list[Token]] = []
    for token in tokens:
        if token.continues and words:
            words[-1].append(token)
        else:
            words.append([token])
    return [_word(word, names, strategy, join) for word in words]


def _word(pieces: list[Token], names: Mapping[int, str], strategy: str, join: Join) -> Entry:
    if strategy == "average":
        scores = np.mean([piece.scores for piece in pieces], axis=0)
        label = int(scores.argmax())
    else:
        piece = pieces[0] if strategy == "first" else max(pieces, key=lambda piece: float(piece.scores[piece.label]))
        scores, label = piece.scores, piece.label
    return {
        "entity": names[label],
        "score": float(scores[label]),
        "word": join([piece.text for piece in pieces]),
        "start": pieces[0].start,
        "end": pieces[-1].end,
    }


def as_entities(entries: Sequence[Entry], join: Join) -> list[Entry]:
    """Neighbours of one tag as {"entity_group", "score", "word", "start", "end"}, the score being their mean."""
    groups: list[list[Entry]] = []
    for entry in entries:
        begins, tag = _tag(entry["entity"])
        if groups and not begins and tag == _tag(groups[-1][-1]["entity"])[1]:
            groups[-1].append(entry)
        else:
            groups.append([entry])
    return [
        {
            "entity_group": group[0]["entity"].split("-", 1)[-1],
            "score": float(np.mean([entry["score"] for entry in group])),
            "word": join([entry["word"] for entry in group]),
            "start": group[0]["start"],
            "end": group[-1]["end"],
        }
        for group in groups
    ]


def _tag(label: str) -> tuple[bool, str]:
    """Whether the label begins an entity, and which kind it is of; one without B- or I- never begins one by itself."""
    return label.startswith("B-"), label[2:] if label.startswith(("B-", "I-")) else label


def longest_of_overlapping(entities: Sequence[Entry]) -> list[Entry]:
    """Of entities that overlap the longer, of equally long ones the likelier: Hugging Face's rule for windows."""
    kept: list[Entry] = []
    for entity in sorted(entities, key=lambda entity: int(entity["start"])):
        if not kept or not kept[-1]["start"] <= entity["start"] < kept[-1]["end"]:
            kept.append(entity)
        elif _rank(entity) > _rank(kept[-1]):
            kept[-1] = entity
    return kept


def _rank(entity: Entry) -> tuple[int, float]:
    return entity["end"] - entity["start"], entity["score"]
