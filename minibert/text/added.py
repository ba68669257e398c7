"""Tokens that are found in the text before it is split: [MASK] and its like, and words added for a task."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from .unicode import WHITESPACE, character_class

__all__ = ["AddedToken", "AddedTokens"]


@dataclass(frozen=True)
class AddedToken:
    """A token recognised as a whole inside a text.

    single_word: only where no letter, digit, mark or underscore touches it. lstrip, rstrip: it takes the white space
    on that side with it. normalized: looked for in the normalised text, in normalised form (so "Yes" is found in
    "YES" when lower-casing), instead of literally. special: one of the model's own, skipped by decoding on request.
    """

    content: str
    single_word: bool = False
    lstrip: bool = False
    rstrip: bool = False
    normalized: bool = False
    special: bool = False

    def __str__(self) -> str:
        return self.content


class AddedTokens:
    """All added tokens of a tokenizer, with their ids, ready to be searched for.

    `normalize` gives the normalised form of a token's text. Of several tokens that match at the same place the longest
    wins; matches never overlap.
    """

    def __init__(self, tokens: Iterable[tuple[AddedToken, int]], normalize: Callable[[str], str]) -> None:
        literal: dict[str, tuple[AddedToken, int]] = {}
        folded: dict[str, tuple[AddedToken, int]] = {}
        for token, number in tokens:
            if token.normalized:
                folded.setdefault(normalize(token.content), (token, number))
            else:
                literal.setdefault(token.content, (token, number))
        self.all_special = all(token.special for token, _ in [*literal.values(), *folded.values()])
        self.special = {content: number for content, (token, number) in literal.items() if token.special}
        self.literal = _Matcher(literal)
        self.normalized = _Matcher(folded)


class _Matcher:
    def __init__(self, tokens: dict[str, tuple[AddedToken, int]]) -> None:
        self._tokens = {content: found for content, found in tokens.items() if content}
        longest_first = sorted(self._tokens, key=len, reverse=True)
        self._pattern = re.compile("|".join(map(re.escape, longest_first))) if longest_first else None

    def __bool__(self) -> bool:
        return self._pattern is not None

    def split(self, text: str, skip_special: bool = False) -> Iterator[tuple[int, int, int | None]]:
        """(start, end, id) of stretches that cover `text` from left to right; id is None for ordinary text."""
        done = 0
        for match in self._pattern.finditer(text) if self._pattern else ():
            token, number = self._tokens[match.group()]
            start, end = match.span()
            if (skip_special and token.special) or (token.single_word and _touches_word(text, start, end)):
                continue
            if token.lstrip:
                while start > done and text[start - 1] in WHITESPACE:
                    start -= 1
            if token.rstrip:
                end = _blanks().match(text, end).end()
            if done < start:
                yield done, start, None
            yield start, end, number
            done = end
        if done < len(text):
            yield done, len(text), None


@functools.cache
def _blanks() -> Any:
    return re.compile(f"[{character_class(WHITESPACE)}]*")


@functools.cache
def _word() -> Any:
    import regex  # the word characters of Unicode's regular expressions (UTS 18); Python's own \w leaves marks out

    return regex.compile(r"[\p{Alphabetic}\p{M}\p{Nd}\p{Pc}\u200c\u200d]")


def _touches_word(text: str, start: int, end: int) -> bool:
    return bool(_word().match(text[start - 1 : start]) or _word().match(text[end : end + 1]))
