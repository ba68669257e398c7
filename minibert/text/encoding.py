"""A row of model input: tokens of one or two texts with their special tokens; truncation, windows, padding.

[CLS] a [SEP]            type ids 0 … 0
[CLS] a [SEP] b [SEP]    type ids 0 … 0 1 … 1 (the last [SEP] belongs to b)
"""

from __future__ import annotations

from array import array
from typing import Literal, NamedTuple

from ..errors import InputError
from .pipeline import Tokens

__all__ = ["PADDING_STRATEGIES", "TRUNCATION_STRATEGIES", "Encoding", "Template", "Truncation"]

TRUNCATION_STRATEGIES = ("longest_first", "only_first", "only_second", "do_not_truncate")
PADDING_STRATEGIES = ("longest", "max_length", "do_not_pad")

# What a token is, one byte each; the masks and type ids of a row are this column under a translation.
_FIRST, _SECOND, _SPECIAL, _SPECIAL_OF_SECOND, _PADDING = range(5)
_TYPE_IDS = bytes([0, 1, 0, 1, 0])
_SPECIAL_MASK = bytes([0, 0, 1, 1, 1])
_ATTENTION = bytes([1, 1, 1, 1, 0])
_SEQUENCE = (0, 1, None, None, None)


class Encoding(NamedTuple):
    """One row, as columns of equal length. Special tokens and padding have offsets (0, 0) and no word (-1)."""

    ids: array[int]
    starts: array[int]
    ends: array[int]
    words: array[int]
    kinds: bytes

    @classmethod
    def of(cls, tokens: Tokens, kind: int) -> Encoding:
        return cls(*tokens, bytes([kind]) * len(tokens.ids))

    @classmethod
    def repeated(cls, number: int, kind: int, times: int = 1) -> Encoding:
        nowhere = array("i", bytes(4 * times))
        return cls(array("i", [number]) * times, nowhere, nowhere, array("i", [-1]) * times, bytes([kind]) * times)

    @property
    def size(self) -> int:
        return len(self.ids)

    @property
    def type_ids(self) -> bytes:
        """0 for the first text and padding, 1 for the second."""
        return self.kinds.translate(_table(_TYPE_IDS))

    @property
    def special_tokens_mask(self) -> bytes:
        """1 for [CLS], [SEP] and padding, 0 for what was in the text (a literal "[SEP]" in it included)."""
        return self.kinds.translate(_table(_SPECIAL_MASK))

    @property
    def attention_mask(self) -> bytes:
        """0 for padding, 1 for the rest."""
        return self.kinds.translate(_table(_ATTENTION))

    @property
    def sequence_ids(self) -> list[int | None]:
        """0 or 1 for a token of the first or second text, None for special tokens and padding."""
        return [_SEQUENCE[kind] for kind in self.kinds]

    @property
    def word_ids(self) -> list[int | None]:
        return [None if word < 0 else word for word in self.words]

    @property
    def offsets(self) -> list[tuple[int, int]]:
        return list(zip(self.starts, self.ends, strict=True))

    def part(self, start: int, stop: int) -> Encoding:
        return Encoding(*(column[start:stop] for column in self))  # type: ignore[arg-type]

    def padded(self, length: int, pad_id: int, side: str) -> Encoding:
        """At least `length` long, filled up on the given side."""
        if self.size >= length:
            return self
        padding = Encoding.repeated(pad_id, _PADDING, length - self.size)
        return _joined(padding, self) if side == "left" else _joined(self, padding)


def _table(values: bytes) -> bytes:
    return values + bytes(256 - len(values))


def _joined(*parts: Encoding) -> Encoding:
    ids, starts, ends, words = (array("i") for _ in range(4))
    for part in parts:
        ids += part.ids
        starts += part.starts
        ends += part.ends
        words += part.words
    return Encoding(ids, starts, ends, words, b"".join(part.kinds for part in parts))


class Truncation(NamedTuple):
    """How rows that are too long are shortened.

    max_length: of the row, special tokens included. stride: tokens that each window shares with the one before.
    side: which end is cut off. odd_token_to: see `Profile`.
    """

    max_length: int
    strategy: str = "longest_first"
    stride: int = 0
    side: str = "right"
    odd_token_to: Literal["longer", "first"] = "longer"


class Template(NamedTuple):
    """Puts the special tokens around one text or two; None: no special tokens."""

    cls_id: int | None
    sep_id: int | None

    def added(self, pair: bool) -> int:
        """Number of special tokens a row gets."""
        return 0 if self.cls_id is None else 3 if pair else 2

    def rows(
        self, first: Tokens, second: Tokens | None, truncation: Truncation | None, windows: bool
    ) -> list[Encoding]:
        """The row of these texts, followed, if `windows`, by those of the parts that truncation cut off.

        With two texts that were both cut, the windows come in the reference's order: every other window of the first
        text with each of the second, then the first window of the first text with the others of the second.
        Raises InputError where the texts cannot be cut to fit.
        """
        a = Encoding.of(first, _FIRST)
        b = None if second is None else Encoding.of(second, _SECOND)
        if truncation is None:
            return [self._row(a, b)]
        budget = truncation.max_length - self.added(b is not None)
        if budget < 0:
            raise InputError(
                f"max_length: {truncation.max_length} leaves no room for the "
                f"{self.added(b is not None)} special tokens of {'a text' if b is None else 'a pair'}",
                "give a larger max_length, or add_special_tokens=False",
            )
        room = truncation.max_length - self.added(pair=False)
        if windows and truncation.stride > room:
            raise InputError(
                f"stride: expected less than the {room} tokens that max_length {truncation.max_length} leaves for "
                f"text, got {truncation.stride}"
            )
        size_a, size_b = _sizes(a.size, None if b is None else b.size, budget, truncation)
        parts_a = _windows(a, size_a, truncation, windows)
        if b is None:
            return [self._row(part, None) for part in parts_a]
        parts_b = _windows(b, size_b, truncation, windows)
        rows = [self._row(parts_a[0], parts_b[0])]
        rows += [self._row(part, other) for part in parts_a[1:] for other in parts_b]
        rows += [self._row(parts_a[0], other) for other in parts_b[1:]]
        return rows

    def _row(self, a: Encoding, b: Encoding | None) -> Encoding:
        if self.cls_id is None or self.sep_id is None:
            return a if b is None else _joined(a, b)
        start = Encoding.repeated(self.cls_id, _SPECIAL)
        stop = Encoding.repeated(self.sep_id, _SPECIAL)
        if b is None:
            return _joined(start, a, stop)
        return _joined(start, a, stop, b, stop._replace(kinds=bytes([_SPECIAL_OF_SECOND])))


def _sizes(a: int, b: int | None, budget: int, truncation: Truncation) -> tuple[int, int]:
    """Tokens that each text may keep, `budget` in all."""
    excess = a + (b or 0) - budget
    if excess <= 0:
        return a, b or 0
    if truncation.strategy == "longest_first":
        return (budget, 0) if b is None else _balanced(a, b, budget, truncation.odd_token_to)
    if budget == 0:
        return 0, 0
    only_first = truncation.strategy == "only_first"
    if not only_first and b is None:
        raise InputError(
            f"truncation='only_second': a text has {a} tokens, {budget} fit, and there is no second text to shorten",
            "give text_pair, or use truncation=True",
        )
    if (a if only_first else b or 0) <= excess:
        raise InputError(
            f"truncation={truncation.strategy!r}: the pair has {a} + {b or 0} tokens, {budget} fit, "
            f"and shortening the {'first' if only_first else 'second'} text alone would leave none of it",
            "use truncation=True, which shortens the longer text, or a larger max_length",
        )
    return (a - excess, b or 0) if only_first else (a, (b or 0) - excess)


def _balanced(a: int, b: int, budget: int, odd_token_to: Literal["longer", "first"]) -> tuple[int, int]:
    """The shorter text is kept whole if it fits into half of the budget; otherwise both get half."""
    half, odd = divmod(budget, 2)
    first = half + (odd if odd_token_to == "first" or a > b else 0)
    if a <= first:
        return a, budget - a
    if b <= budget - first:
        return budget - b, b
    return first, budget - first


def _windows(row: Encoding, size: int, truncation: Truncation, all_of_them: bool) -> list[Encoding]:
    """`row` in windows of `size` tokens that overlap by the stride; only the first unless `all_of_them`."""
    if row.size <= size:
        return [row]
    left = truncation.side == "left"
    if not all_of_them:
        return [row.part(row.size - size, row.size) if left else row.part(0, size)]
    if size == 0:
        return [row.part(0, 0), row]
    step = size - truncation.stride
    if step <= 0:
        raise InputError(
            f"stride: expected less than the {size} tokens of a window "
            f"(max_length {truncation.max_length} without special tokens and the other text), got {truncation.stride}"
        )
    if left:
        stops = range(row.size, 0, -step)
        spans = [(max(0, stop - size), stop) for stop in stops]
        last = next(i for i, (start, _) in enumerate(spans) if start == 0)
    else:
        spans = [(start, min(start + size, row.size)) for start in range(0, row.size, step)]
        last = next(i for i, (_, stop) in enumerate(spans) if stop == row.size)
    return [row.part(*span) for span in spans[: last + 1]]
