"""What a tokenizer returns: a dictionary of model inputs that still knows where each token came from."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from ..errors import InputError
from .encoding import Encoding

__all__ = ["BatchEncoding", "CharSpan", "TokenSpan", "as_arrays", "columns_of"]


class CharSpan(NamedTuple):
    """Characters start … end - 1 of a text, in code points."""

    start: int
    end: int


class TokenSpan(NamedTuple):
    """Tokens start … end - 1 of a row."""

    start: int
    end: int


class BatchEncoding(dict[str, Any]):
    """Model inputs by name, also as attributes, so that `model(**enc)` and `enc.input_ids` both work.

    The methods answer for one row, `batch_index`, where an index of a token, character or word is relative to that
    row; given one index only, they answer for row 0. Special tokens and padding have no word and no text: None.
    """

    def __init__(
        self,
        data: dict[str, Any] | None = None,
        encodings: Sequence[Encoding] = (),
        to_tokens: Callable[[list[int]], list[str | None]] | None = None,
    ) -> None:
        super().__init__(data or {})
        self._encodings = list(encodings)
        self._to_tokens = to_tokens

    def __getattr__(self, name: str) -> Any:
        try:
            return self[name]
        except KeyError:
            raise AttributeError(f"no model input {name!r} here; there are {', '.join(self)}") from None

    @property
    def encodings(self) -> list[Encoding]:
        """The rows."""
        return self._encodings

    def _row(self, batch_index: int) -> Encoding:
        try:
            return self._encodings[batch_index]
        except (IndexError, TypeError):
            raise InputError(f"batch_index: expected a row below {len(self._encodings)}, got {batch_index!r}") from None

    def tokens(self, batch_index: int = 0) -> list[str | None]:
        """The tokens of a row as strings."""
        row = self._row(batch_index)
        return self._to_tokens(row.ids.tolist()) if self._to_tokens else []

    def word_ids(self, batch_index: int = 0) -> list[int | None]:
        """For each token the index of its word in its text."""
        return self._row(batch_index).word_ids

    def sequence_ids(self, batch_index: int = 0) -> list[int | None]:
        """For each token 0 or 1, the text it belongs to."""
        return self._row(batch_index).sequence_ids

    def token_to_sequence(self, batch_or_token_index: int, token_index: int | None = None) -> int | None:
        """0 or 1, the text that a token belongs to."""
        batch, token = _batch_and(batch_or_token_index, token_index)
        return _at(self.sequence_ids(batch), token)

    def token_to_word(self, batch_or_token_index: int, token_index: int | None = None) -> int | None:
        """The index of the word that a token is part of."""
        batch, token = _batch_and(batch_or_token_index, token_index)
        return _at(self.word_ids(batch), token)

    def token_to_chars(self, batch_or_token_index: int, token_index: int | None = None) -> CharSpan | None:
        """The characters of its text that a token stands for."""
        batch, token = _batch_and(batch_or_token_index, token_index)
        row = self._row(batch)
        if _at(row.sequence_ids, token) is None:
            return None
        return CharSpan(row.starts[token], row.ends[token])

    def char_to_token(
        self, batch_or_char_index: int, char_index: int | None = None, sequence_index: int = 0
    ) -> int | None:
        """The first token that a character of the text `sequence_index` (0 or 1) is part of; None if it was dropped."""
        batch, char = _batch_and(batch_or_char_index, char_index)
        row = self._row(batch)
        columns = zip(row.sequence_ids, row.starts, row.ends, strict=True)
        return next(
            (i for i, (text, start, end) in enumerate(columns) if text == sequence_index and start <= char < end), None
        )

    def char_to_word(
        self, batch_or_char_index: int, char_index: int | None = None, sequence_index: int = 0
    ) -> int | None:
        """The index of the word that a character is part of."""
        batch, char = _batch_and(batch_or_char_index, char_index)
        token = self.char_to_token(batch, char, sequence_index)
        return None if token is None else self.word_ids(batch)[token]

    def word_to_tokens(
        self, batch_or_word_index: int, word_index: int | None = None, sequence_index: int = 0
    ) -> TokenSpan | None:
        """The tokens of a word of the text `sequence_index`; None if it has none in this row."""
        batch, word = _batch_and(batch_or_word_index, word_index)
        row = self._row(batch)
        columns = zip(row.sequence_ids, row.words, strict=True)
        found = [i for i, (text, index) in enumerate(columns) if text == sequence_index and index == word]
        return TokenSpan(found[0], found[-1] + 1) if found else None

    def word_to_chars(
        self, batch_or_word_index: int, word_index: int | None = None, sequence_index: int = 0
    ) -> CharSpan | None:
        """The characters of a word, first to last."""
        batch, word = _batch_and(batch_or_word_index, word_index)
        span = self.word_to_tokens(batch, word, sequence_index)
        if span is None:
            return None
        row = self._row(batch)
        return CharSpan(row.starts[span.start], row.ends[span.end - 1])


def _batch_and(first: int, second: int | None) -> tuple[int, int]:
    return (0, first) if second is None else (first, second)


def _at(column: list[int | None], token: int) -> int | None:
    if not -len(column) <= token < len(column):
        raise InputError(f"token index: expected one below {len(column)}, got {token}")
    return column[token]


_COLUMNS: dict[str, Callable[[Encoding], Any]] = {
    "input_ids": lambda row: row.ids.tolist(),
    "token_type_ids": lambda row: list(row.type_ids),
    "attention_mask": lambda row: list(row.attention_mask),
    "special_tokens_mask": lambda row: list(row.special_tokens_mask),
    "offset_mapping": lambda row: row.offsets,
    "length": lambda row: row.size,
}


def columns_of(rows: Sequence[Encoding], wanted: Sequence[str]) -> dict[str, Any]:
    """input_ids and the other entries wanted, a list with one item a row under each name."""
    return {name: list(map(_COLUMNS[name], rows)) for name in ("input_ids", *wanted)}


def as_arrays(data: dict[str, Any]) -> dict[str, Any]:
    """The lists of `data` as int64 arrays. Raises InputError where rows differ in length."""
    import numpy as np  # only callers who want arrays pay for the import

    arrays = {}
    for name, rows in data.items():
        try:
            arrays[name] = np.array(rows, dtype=np.int64)
        except (ValueError, TypeError, OverflowError):
            lengths = sorted({len(row) for row in rows if hasattr(row, "__len__")})
            what = f"rows of {lengths[0]} to {lengths[-1]} tokens" if len(lengths) > 1 else "something else"
            raise InputError(
                f"return_tensors='np': {name} must be integers in rows of one length, got {what}",
                "pass padding=True, and truncation=True if texts are long",
            ) from None
    return arrays
