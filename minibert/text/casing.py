"""Whether a vocabulary wants lower-cased text, where no file says so.

Google stored that nowhere: its code knows the names of its folders (`validate_case_matches_checkpoint`). But a cased
vocabulary shows: it has pieces with capital letters, which lower-cased text can never reach.
"""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from ..formats.jsonfile import read_json
from .files import read
from .profiles import PROFILES

__all__ = ["advise", "capitals"]


def capitals(pieces: Collection[str]) -> list[str]:
    """The pieces with capital letters, none if they are fewer than one in a hundred: strays are no casing.

    [CLS], [unused0] and their like, which no text becomes, do not count. In bert-base-cased it is one in three.
    """
    found = [piece for piece in pieces if piece != piece.lower() and not piece.startswith("[")]
    return found if 100 * len(found) >= len(pieces) else []


def advise(folder: Path) -> tuple[bool, str] | None:
    """-> (do_lower_case, the reason), for a folder with vocab.txt; None where a file says it, or there is none."""
    if (folder / "tokenizer.json").is_file() or not (folder / "vocab.txt").is_file():
        return None
    settings = folder / "tokenizer_config.json"
    if settings.is_file() and "do_lower_case" in read_json(settings):
        return None
    cased = capitals(read(folder / "vocab.txt", PROFILES["google"]).vocab)
    if cased:
        return False, f"{len(cased)} pieces of the vocabulary have capital letters, {cased[0]!r} for one"
    return True, "no piece of the vocabulary has a capital letter"
