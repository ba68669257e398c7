"""Merging pieces: which two neighbours become one, and how that is found without looking at every word again.

Every word begins as its characters. A step joins one pair of neighbours (a, b) into the piece ab, everywhere. With n(·)
for how often a piece, or a pair of neighbours, stands in the text as it is cut up so far:

    by frequency      the pair with the highest n(a, b)                       Sennrich et al. 2016, §3.2
    by likelihood     the pair with the highest n(a, b) / (n(a) · n(b))       Schuster & Nakajima 2012, as retold since

The first is what the `tokenizers` library does under the name of WordPiece. The second is how WordPiece is commonly
described: how much likelier a and b are together than by chance. (The paper says it in words only: the unit that
raises the likelihood of the text the most; weighing each pair by how often it occurs would be nearer to that.)

As it stands the quotient is highest for two characters that occur once, next to each other: 1 / (1 · 1). So only pairs
that are frequent enough take part, and what is enough goes down in steps: half of the highest n(a, b) at first, and
half of that whenever no pair is left. Within a step the quotient decides alone. With one fixed bound instead, a low one
fills the vocabulary with numbers and names while common words stay in pieces, and a high one ends too early;
tools/compare_vocabularies.py prints how many tokens a word each of them gives.

Both stop below a least frequency. Of equal pairs the one with the older left piece is first, then the older right one.

A step touches the words that contain the pair and no others: `Segmented` keeps for each pair the words it was seen in.
"""

from __future__ import annotations

import heapq
import itertools
from collections import defaultdict
from collections.abc import Iterator, Mapping
from typing import TypeAlias

__all__ = ["METHODS", "PREFIX", "Pair", "Segmented", "by_frequency", "by_likelihood"]

PREFIX = "##"

Pair: TypeAlias = tuple[int, int]  # ids of two neighbours


class Segmented:
    """The different words of a text, cut into pieces.

    words: word → how often it occurs. pieces: the pieces at the start, each character of a word among them, as it is
    for the first of a word and with ## before it for the others. Merged pieces are appended.
    """

    def __init__(self, words: Mapping[str, int], pieces: list[str]) -> None:
        ids = {piece: number for number, piece in enumerate(pieces)}
        self.pieces = pieces
        self.times = list(words.values())
        self.rows = [[ids[word[0]], *(ids[PREFIX + c] for c in word[1:])] for word in words]
        self.single: defaultdict[int, int] = defaultdict(int)  # n(a)
        self.pairs: defaultdict[Pair, int] = defaultdict(int)  # n(a, b), without zeros
        self._where: defaultdict[Pair, list[int]] = defaultdict(list)  # rows that had the pair once, perhaps still do
        for at, (row, times) in enumerate(zip(self.rows, self.times, strict=True)):
            for piece in row:
                self.single[piece] += times
            for pair in itertools.pairwise(row):
                self.pairs[pair] += times
                self._where[pair].append(at)

    def merge(self, pair: Pair) -> dict[Pair, int]:
        """Join a pair wherever it occurs, in a word from the left. -> pairs whose n changed, and by how much.

        The piece is always a new one: no two pairs make the same, and no pair comes up again. For a stretch of text
        whose borders no merge has crossed is cut up in the same way wherever it stands.
        """
        a, b = pair
        new = len(self.pieces)
        self.pieces.append(self.pieces[a] + self.pieces[b].removeprefix(PREFIX))
        changes: defaultdict[Pair, int] = defaultdict(int)
        joined = 0
        for at in self._where.pop(pair, ()):
            row, times = self.rows[at], self.times[at]
            i = 0
            while i + 1 < len(row):
                if row[i] == a and row[i + 1] == b:
                    row[i : i + 2] = (new,)
                    joined += times
                    if i:
                        changes[row[i - 1], a] -= times
                        changes[row[i - 1], new] += times
                        self._where[row[i - 1], new].append(at)
                    if i + 1 < len(row):
                        changes[b, row[i + 1]] -= times
                        changes[new, row[i + 1]] += times
                        self._where[new, row[i + 1]].append(at)
                i += 1
        self.single[new] += joined
        self.single[a] -= joined
        self.single[b] -= joined
        changes[pair] = -self.pairs[pair]  # overlaps, as in a a a, are gone as well
        for changed, change in changes.items():
            self.pairs[changed] += change
            if not self.pairs[changed]:
                del self.pairs[changed]
                self._where.pop(changed, None)
        return changes


def by_frequency(text: Segmented, least: int) -> Iterator[Pair]:
    """Merges the most frequent pair again and again; yields each once it is merged."""
    heap = [(-n, pair) for pair, n in text.pairs.items()]
    heapq.heapify(heap)
    while heap:
        n, pair = heapq.heappop(heap)
        now = text.pairs.get(pair, 0)
        if -n > now >= least:  # less frequent than when it was put here
            heapq.heappush(heap, (-now, pair))
        elif -n == now >= least:
            for changed, change in text.merge(pair).items():
                if change > 0:
                    heapq.heappush(heap, (-text.pairs[changed], changed))
            yield pair


def by_likelihood(text: Segmented, least: int) -> Iterator[Pair]:
    """Merges the pair with the highest n(a, b) / (n(a) · n(b)) among the frequent; yields each once it is merged.

    Of equal quotients the more frequent pair is first.
    """
    floor = max(text.pairs.values(), default=0)
    while floor:
        floor = max(floor // 2, least)
        yield from _likeliest(text, floor)
        if floor == least:
            return


def _likeliest(text: Segmented, floor: int) -> Iterator[Pair]:
    """One step of `by_likelihood`: until no pair occurs `floor` times."""
    heap: list[tuple[float, int, Pair]] = []
    current: dict[Pair, tuple[float, int, Pair]] = {}  # the entry of the heap that counts
    frequent: defaultdict[int, set[Pair]] = defaultdict(set)  # piece -> pairs it is in: n(a) changes the rank of all

    def rate(pair: Pair) -> None:
        a, b = pair
        n = text.pairs.get(pair, 0)
        if n >= floor:
            frequent[a].add(pair)
            frequent[b].add(pair)
            entry = (-n / (text.single[a] * text.single[b]), -n, pair)
            if current.get(pair) != entry:
                current[pair] = entry
                heapq.heappush(heap, entry)
        elif current.pop(pair, None):
            frequent[a].discard(pair)
            frequent[b].discard(pair)

    for pair in text.pairs:
        rate(pair)
    while heap:
        entry = heapq.heappop(heap)
        pair = entry[2]
        if current.get(pair) != entry:
            continue
        changes = text.merge(pair)
        for affected in {*changes, *frequent[pair[0]], *frequent[pair[1]]}:
            rate(affected)
        yield pair


METHODS = {"bpe": by_frequency, "likelihood": by_likelihood}
