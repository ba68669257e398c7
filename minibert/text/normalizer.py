"""Text as the vocabulary knows it: cleaned, ideographs set apart, accents stripped, lower case, each character traced.

Every step takes and returns an `Aligned`: the text so far, and for each of its characters the range of the original
text it came from. Offsets of tokens are read off it at the end, so no step can lose them.
"""

from __future__ import annotations

import functools
import re
import unicodedata
from array import array
from collections.abc import Callable
from typing import Any, NamedTuple

from .profiles import Profile
from .unicode import WHITESPACE, Tables, character_class

__all__ = ["Aligned", "Normalizer"]


class Aligned(NamedTuple):
    """A normalised text; character i comes from `original[starts[i]:ends[i]]`."""

    text: str
    starts: array[int]
    ends: array[int]

    @classmethod
    def identity(cls, text: str) -> Aligned:
        return cls(text, array("i", range(len(text))), array("i", range(1, len(text) + 1)))

    def part(self, start: int, end: int) -> Aligned:
        return Aligned(self.text[start:end], self.starts[start:end], self.ends[start:end])

    def spread(self, replace: Callable[[str], str]) -> Aligned:
        """Each character replaced by zero or more, all of them from where it came."""
        pieces = []
        starts, ends = array("i"), array("i")
        for c, start, end in zip(self.text, self.starts, self.ends, strict=True):
            piece = replace(c)
            pieces.append(piece)
            for _ in piece:
                starts.append(start)
                ends.append(end)
        return Aligned("".join(pieces), starts, ends)


class Normalizer:
    """The steps one tokenizer applies, in its order.

    clean_text: drop control characters and U+FFFD, make every white space a blank. handle_chinese_chars: a blank on
    both sides of each ideograph. strip_accents: NFD, then drop the marks (Mn); None means "as lowercase says".
    """

    def __init__(
        self,
        profile: Profile,
        *,
        clean_text: bool = True,
        handle_chinese_chars: bool = True,
        strip_accents: bool | None = None,
        lowercase: bool = True,
    ) -> None:
        self.profile = profile
        self.clean_text = clean_text
        self.handle_chinese_chars = handle_chinese_chars
        self.strip_accents = strip_accents
        self.lowercase = lowercase
        self._ideograph = re.compile(f"[{profile.ideographs}]")

    def __call__(self, text: str) -> Aligned:
        """`text` normalised, with the origin of each character. Time and memory are linear in its length, but for
        sorting runs of combining marks, n log n in the length of the run."""
        if text.isascii() and text.isprintable():
            return Aligned.identity(text.lower() if self.lowercase else text)  # nothing else can change

        profile, tables = self.profile, self.profile.unicode
        aligned = self.clean(Aligned.identity(text))
        if self.handle_chinese_chars and self._ideograph.search(aligned.text):
            aligned = aligned.spread(lambda c: f" {c} " if self._ideograph.match(c) else c)
        if profile.compose:
            aligned = _compose(aligned)
        if self.lowercase and profile.lowercase == "word":
            aligned = _lower_words(aligned)
        if self.lowercase if self.strip_accents is None else self.strip_accents:
            aligned = _strip_accents(aligned, tables)
        if self.lowercase and profile.lowercase == "character":
            aligned = aligned.spread(tables.lower)
        return aligned

    def clean(self, aligned: Aligned) -> Aligned:
        """The first step alone: control characters and U+FFFD dropped, white space made blank."""
        if not self.clean_text:
            return aligned
        return aligned.spread(functools.partial(_clean, self.profile.unicode.is_control))

    @property
    def chunks(self) -> re.Pattern[str]:
        """Cuts a raw text into chunks that may be normalised one by one, white space between them left out."""
        return _chunks(self.profile, self.clean_text, self.handle_chinese_chars)


@functools.cache
def _chunks(profile: Profile, clean_text: bool, handle_chinese_chars: bool) -> re.Pattern[str]:
    """White space separates in every profile. Where characters are folded one by one, a punctuation mark that has no
    decomposition and an ideograph stand alone as well, whatever is around them: smaller chunks repeat more often, which
    the cache of words lives on. (Those beyond U+FFFF are left to `split_words`: the ranges of a class beyond the first
    plane are searched one after another, for every letter.)
    """
    blank = character_class(WHITESPACE - frozenset("\x0b\x0c\x85") if clean_text else WHITESPACE)
    if profile.lowercase == "word":
        return re.compile(f"[^{blank}]+")
    tables = profile.unicode
    ideograph = re.compile(f"[{profile.ideographs}]")
    alone = character_class(
        frozenset(
            c
            for c in map(chr, range(0x10000))
            if (tables.is_punctuation(c) and tables.decompose(c) == c) or (handle_chinese_chars and ideograph.match(c))
        )
    )
    return re.compile(f"[^{blank}{alone}]+|[{alone}]")


def _clean(is_control: Callable[[str], bool], c: str) -> str:
    if c == "\ufffd" or is_control(c):
        return ""
    return " " if c in WHITESPACE else c


def _lower_words(aligned: Aligned) -> Aligned:
    """str.lower: the one rule that looks around is Σ, and σ is as long as ς, so widths may be taken one by one."""
    lower = aligned.text.lower()
    if len(lower) == len(aligned.text):
        return aligned._replace(text=lower)
    return aligned.spread(str.lower)._replace(text=lower)


def _strip_accents(aligned: Aligned, tables: Tables) -> Aligned:
    """Canonical decomposition (NFD: decompose, then sort each run of marks by class, stably), then drop the marks.

    As in the reference, the origin of a sorted run goes by position, not by character: its n-th character that began
    a decomposition takes the n-th origin, and what a decomposition added takes that of the character before it.
    """
    ordered: list[tuple[str, bool]] = []  # character, whether it began a decomposition
    run: list[tuple[int, str, bool]] = []

    def flush() -> None:
        run.sort(key=lambda mark: mark[0])
        ordered.extend((c, begins) for _, c, begins in run)
        run.clear()

    for original in aligned.text:
        begins = True
        for c in tables.decompose(original):
            order = tables.combining(c)
            if order:
                run.append((order, c, begins))
            else:
                if run:
                    flush()
                ordered.append((c, begins))
            begins = False
    flush()

    kept: list[str] = []
    starts, ends = array("i"), array("i")
    origin = -1
    for c, begins in ordered:
        origin += begins
        if not tables.is_mark(c):
            kept.append(c)
            starts.append(aligned.starts[origin])
            ends.append(aligned.ends[origin])
    return Aligned("".join(kept), starts, ends)


@functools.cache
def _composable() -> Any:
    """One character and all after it that NFC might join to it."""
    import regex  # only this step needs it, and only one profile has this step

    return regex.compile(r"(?s).[^[\p{NFC_Quick_Check=Yes}&&\p{Canonical_Combining_Class=0}]]*", regex.V1)


def _compose(aligned: Aligned) -> Aligned:
    """NFC. What is joined, or reordered on the way, comes from the whole stretch that took part."""
    if unicodedata.is_normalized("NFC", aligned.text):
        return aligned
    pieces = []
    starts, ends = array("i"), array("i")
    for match in _composable().finditer(aligned.text):
        first, last = match.span()
        piece = unicodedata.normalize("NFC", match.group())
        if piece == match.group():
            starts.extend(aligned.starts[first:last])
            ends.extend(aligned.ends[first:last])
        else:
            starts.extend([aligned.starts[first]] * len(piece))
            ends.extend([aligned.ends[last - 1]] * len(piece))
        pieces.append(piece)
    return Aligned("".join(pieces), starts, ends)
