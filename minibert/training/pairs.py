"""Segment pairs for next-sentence prediction, by the procedure BERT was pre-trained with.

google-research/bert `create_pretraining_data.py`: sentences of a document are gathered until they fill a sequence and
cut in two at a random border; half of the time the second part is replaced by sentences from another document. Its one
stream of random numbers is followed call by call, so that one seed gives the original's instances.

A pair is two ranges of tokens: sentences of a document follow one another, and truncation only takes tokens off the
ends. So a plan of pairs is made from the lengths of the sentences, without a look at the tokens.
"""

from __future__ import annotations

import bisect
import random
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from ..errors import InputError
from ..ops.xp import Array

__all__ = ["Instance", "Pair", "document_pairs", "document_segments", "google_instances"]

CLS, SEP, MASK = "[CLS]", "[SEP]", "[MASK]"  # the original has no others


class Pair(NamedTuple):
    """Two ranges of tokens, first and one past the last, and whether the second was drawn at random."""

    a_start: int
    a_end: int
    b_start: int
    b_end: int
    is_random_next: bool


class Instance(NamedTuple):
    """What the original calls a TrainingInstance: a pair with its masks."""

    tokens: list[str]
    segment_ids: list[int]
    is_random_next: bool
    masked_lm_positions: list[int]
    masked_lm_labels: list[str]


def document_pairs(
    borders: Sequence[int] | Array,
    documents: Sequence[Sequence[int]] | Array,
    index: int,
    rng: random.Random,
    *,
    max_seq_length: int = 128,
    short_seq_prob: float = 0.1,
) -> Iterator[Pair]:
    """The pairs of document `index`, one after another; what draws from `rng` between them is part of the stream.

    borders[s], borders[s + 1] are the first and one past the last token of sentence s; documents[d] are the first and
    one past the last sentence of document d. No sentence and no document is empty.
    """
    room = max_seq_length - 3  # [CLS], [SEP], [SEP]
    target = room
    if rng.random() < short_seq_prob:
        target = rng.randint(2, room)
    first, last = (int(s) for s in documents[index])
    ends = [int(end) for end in borders[first : last + 1]]  # of the document only: the corpus may not fit into memory
    start = 0  # first sentence of the chunk, counted from the document's first
    while first + start < last:
        # The chunk: sentences until they fill the target, or until the document ends.
        stop = min(bisect.bisect_left(ends, ends[start] + target, lo=start + 1), last - first)
        count = stop - start
        a = rng.randint(1, count - 1) if count >= 2 else 1  # sentences in A
        middle = ends[start + a]
        if count == 1 or rng.random() < 0.5:
            b_start, b_end = _elsewhere(borders, documents, index, rng, target - (middle - ends[start]))
            pair = _truncated(ends[start], middle, b_start, b_end, room, rng)
            yield Pair(*pair, True)
            start += a  # what was not used is put back
        else:
            yield Pair(*_truncated(ends[start], middle, middle, ends[stop], room, rng), False)
            start = stop


def _elsewhere(borders: Any, documents: Any, index: int, rng: random.Random, wanted: int) -> tuple[int, int]:
    """Sentences of another document from a random one on, at least `wanted` tokens if it has as many."""
    for _ in range(10):  # a corpus of one document has no other: then it is this one
        other = rng.randint(0, len(documents) - 1)
        if other != index:
            break
    first, last = (int(s) for s in documents[other])
    sentence = first + rng.randint(0, last - first - 1)
    start = int(borders[sentence])
    while True:
        sentence += 1
        end = int(borders[sentence])
        if sentence == last or end - start >= wanted:
            return start, end


def _truncated(
    a_start: int, a_end: int, b_start: int, b_end: int, room: int, rng: random.Random
) -> tuple[int, int, int, int]:
    """Both ranges in `room` tokens: the longer one loses its first or its last token, again and again."""
    while (a_end - a_start) + (b_end - b_start) > room:
        if a_end - a_start > b_end - b_start:
            if rng.random() < 0.5:
                a_start += 1
            else:
                a_end -= 1
        elif rng.random() < 0.5:
            b_start += 1
        else:
            b_end -= 1
    return a_start, a_end, b_start, b_end


def document_segments(
    borders: Sequence[int] | Array,
    documents: Sequence[Sequence[int]] | Array,
    index: int,
    rng: random.Random,
    *,
    max_seq_length: int = 128,
    short_seq_prob: float = 0.1,
) -> Iterator[tuple[int, int]]:
    """Ranges of tokens that cover document `index`: as many whole sentences as the target takes, but at least one.

    For masked LM alone; Liu et al. 2019, §4.2, call it DOC-SENTENCES. The target is drawn as for pairs. A sentence
    longer than a sequence is cut, its rest stands alone. Arguments as of `document_pairs`.
    """
    room = max_seq_length - 2  # [CLS], [SEP]
    target = room
    if rng.random() < short_seq_prob:
        target = rng.randint(2, room)
    first, last = (int(s) for s in documents[index])
    ends = [int(end) for end in borders[first : last + 1]]
    start = 0
    while start < last - first:
        stop = max(bisect.bisect_right(ends, ends[start] + target, lo=start + 1) - 1, start + 1)
        for token in range(ends[start], ends[stop], room):
            yield token, min(token + room, ends[stop])
        start = stop


def google_instances(
    documents: Sequence[Sequence[Sequence[str]]],
    vocabulary: Sequence[str],
    rng: random.Random,
    *,
    max_seq_length: int = 128,
    short_seq_prob: float = 0.1,
    masked_lm_prob: float = 0.15,
    max_predictions_per_seq: int = 20,
    dupe_factor: int = 10,
    whole_word: bool = False,
) -> list[Instance]:
    """What create_pretraining_data.py makes of these documents, lists of sentences, which are lists of tokens.

    vocabulary: the tokens in the file's order, of which random ones are drawn. rng: a fresh random.Random(seed); the
    original's flag --random_seed is 12345 if not given. whole_word is its --do_whole_word_mask. Documents and sentences
    without a token are left out, as there. The same arguments give the same list: instances, order and masks.
    """
    if max_seq_length < 5:
        raise InputError(f"max_seq_length: expected at least 5, of which three are special, got {max_seq_length}")
    shuffled = [kept for document in documents if (kept := [sentence for sentence in document if sentence])]
    rng.shuffle(shuffled)
    tokens: list[str] = []
    borders, places = [0], []
    for document in shuffled:
        first = len(borders) - 1
        for sentence in document:
            tokens.extend(sentence)
            borders.append(len(tokens))
        places.append((first, len(borders) - 1))
    instances = []
    for _ in range(dupe_factor):
        for index in range(len(places)):
            for a_start, a_end, b_start, b_end, is_random_next in document_pairs(
                borders, places, index, rng, max_seq_length=max_seq_length, short_seq_prob=short_seq_prob
            ):
                row = [CLS, *tokens[a_start:a_end], SEP, *tokens[b_start:b_end], SEP]
                number = min(max_predictions_per_seq, max(1, round(len(row) * masked_lm_prob)))
                hidden, chosen = _masked(row, number, vocabulary, rng, whole_word)
                segments = [0] * (a_end - a_start + 2) + [1] * (b_end - b_start + 1)
                labels = [row[place] for place in chosen]
                instances.append(Instance(hidden, segments, is_random_next, chosen, labels))
    rng.shuffle(instances)
    return instances


def _masked(
    row: list[str], number: int, vocabulary: Sequence[str], rng: random.Random, whole_word: bool
) -> tuple[list[str], list[int]]:
    """The row with at most `number` of its tokens chosen and 80 % of those hidden, 10 % replaced; the chosen places."""
    groups: list[list[int]] = []
    for place, token in enumerate(row):
        if token in (CLS, SEP):
            continue
        if whole_word and groups and token.startswith("##"):
            groups[-1].append(place)
        else:
            groups.append([place])
    rng.shuffle(groups)
    hidden = list(row)
    chosen: list[int] = []
    for group in groups:
        if len(chosen) == number:
            break
        if len(chosen) + len(group) > number:  # a whole word too long is passed over
            continue
        for place in group:
            if rng.random() < 0.8:
                hidden[place] = MASK
            elif rng.random() >= 0.5:
                hidden[place] = vocabulary[rng.randint(0, len(vocabulary) - 1)]
        chosen += group
    return hidden, sorted(chosen)
