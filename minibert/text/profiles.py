"""The three published BERT tokenizers, as one row of differences each.

All of them clean the text, split it into words and match pieces greedily; a vocabulary works with each. They differ in
the details below, which shift a few ids on unusual text. Sources: google-research/bert `tokenization.py` (HEAD), the
slow tokenizer of Hugging Face transformers, and the `tokenizers` crate (`normalizers/bert.rs`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from ..errors import InputError
from .unicode import FROZEN, RUNNING, RUNNING_ANY_OTHER, WHITESPACE, Tables

__all__ = ["PROFILES", "Profile", "profile_named"]

_BLANKS = "".join(sorted(WHITESPACE))

# Code points that are words of their own: the CJK unified and compatibility ideographs, not kana nor hangul.
_IDEOGRAPHS = "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0002a6df\U0002a700-\U0002b81f\U0002f800-\U0002fa1f"


@dataclass(frozen=True)
class Profile:
    """How one tokenizer deviates from the others."""

    name: str
    unicode: Tables
    """Edition of Unicode and choice of control categories."""
    ideographs: str
    """Inside of a character class: what is set off by blanks when Chinese characters are handled."""
    compose: bool
    """NFC before splitting, so that a piece written with a composed letter matches a decomposed text."""
    lowercase: Literal["character", "word"]
    """Each character alone after accents are stripped (Σ → σ), or the word before (Σ at its end → ς)."""
    max_word: int
    """Longer words, in characters after normalisation, become one [UNK]."""
    special_in_text: bool
    """Whether a literal "[MASK]" in the text is the mask token."""
    special_if_clean: bool
    """Whether a word is a special token if it is one once control characters are gone ("[MA\0SK]")."""
    odd_token_to: Literal["longer", "first"]
    """Who keeps the odd token when `longest_first` shortens both texts of a pair."""
    vocab_strip: str
    """Characters taken off the end of a line of vocab.txt."""
    vocab_strip_start: bool
    """Whether they are taken off the start, too."""

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return profile_named, (self.name,)  # pickled by name: the tables are functions


PROFILES = {
    profile.name: profile
    for profile in (
        Profile(
            name="hf-fast",
            unicode=FROZEN,
            # A typing error in the crate since 2019: extension E begins at U+2B920 instead of U+2B820. The first 256
            # of its characters stick to their neighbours.
            ideographs=_IDEOGRAPHS + "\U0002b920-\U0002ceaf",
            compose=False,
            lowercase="character",
            max_word=100,
            special_in_text=True,
            special_if_clean=False,
            odd_token_to="longer",  # the two final lengths are computed at once; at equal lengths the second has it
            vocab_strip=_BLANKS,
            vocab_strip_start=False,
        ),
        Profile(
            name="hf-slow",
            unicode=RUNNING_ANY_OTHER,
            ideographs=_IDEOGRAPHS + "\U0002b820-\U0002ceaf",
            compose=True,  # since 2023 (transformers, pull request 22280)
            lowercase="word",
            max_word=100,
            special_in_text=True,
            special_if_clean=True,
            odd_token_to="first",  # tokens go one by one from the longer text, at a tie from the second
            vocab_strip="\r\n",
            vocab_strip_start=False,
        ),
        Profile(
            name="google",
            unicode=RUNNING,
            ideographs=_IDEOGRAPHS + "\U0002b820-\U0002ceaf",
            compose=False,
            lowercase="word",
            max_word=200,  # 100 before November 2018
            special_in_text=False,
            special_if_clean=False,
            odd_token_to="first",
            vocab_strip=_BLANKS,
            vocab_strip_start=True,
        ),
    )
}


def profile_named(name: str) -> Profile:
    """The profile of that name. Raises InputError when there is none."""
    try:
        return PROFILES[name]
    except (KeyError, TypeError):
        raise InputError(f"tokenizer profile: expected one of {', '.join(PROFILES)}, got {name!r}") from None
