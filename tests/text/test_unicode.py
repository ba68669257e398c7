"""The frozen edition of Unicode is the same under every Python."""

from __future__ import annotations

import hashlib
import re

from minibert.text.unicode import FROZEN, RUNNING, SURROGATE, WHITESPACE, character_class

EVERY = [chr(code) for code in range(0x110000) if not 0xD800 <= code <= 0xDFFF]


def test_sizes_of_the_classes():
    """As measured on the reference, over every code point."""
    assert sum(map(FROZEN.is_control, EVERY)) == 137_680
    assert sum(map(FROZEN.is_punctuation, EVERY)) == 726
    assert sum(map(FROZEN.is_mark, EVERY)) == 1_549
    assert len(WHITESPACE) == 25
    assert {c for c in WHITESPACE if FROZEN.is_control(c)} == set("\x0b\x0c\x85")


def test_folding_does_not_depend_on_the_running_python():
    """Fails when a later Python decomposes or lower-cases what Unicode 17 did not know: list that in unicode.py."""
    folded = "\n".join(FROZEN.decompose(c) + FROZEN.lower(c) + chr(FROZEN.combining(c)) for c in EVERY)
    assert hashlib.sha256(folded.encode()).hexdigest() == DIGEST


DIGEST = "619d8a221094b7c38558b9d80236b250f0e6fc51dec31bbf71d73a6489aa9910"


def test_classes_of_characters_as_ranges():
    characters = frozenset("abcxz^]-\\\U0001f600")
    pattern = re.compile(f"[{character_class(characters)}]")
    assert {c for c in EVERY[:0x20000] if pattern.fullmatch(c)} == characters


def test_the_running_edition_is_that_of_python():
    assert RUNNING.is_punctuation("$")
    assert RUNNING.is_punctuation("¿")
    assert not RUNNING.is_punctuation("€")
    assert RUNNING.is_control("\u00ad")
    assert not RUNNING.is_control("\t")
    assert not RUNNING.is_control("\ue000")


def test_surrogates():
    assert SURROGATE.sub("?", "a\ud800\udfffb\ud7ff\ue000") == "a??b\ud7ff\ue000"
