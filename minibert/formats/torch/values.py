"""What a pickle is read into: Python's plain values, and these few types for the rest. None of them can do anything."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from ..files import quote

__all__ = ["Dict", "Inert", "OrderedDict", "Refused", "Symbol", "describe"]


class Refused(Exception):
    """What is wrong with an instruction; `unpickle` turns it into a LoadError that says where."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


class Dict(list[tuple[object, object]]):
    """A dict of a pickle: its (key, value) pairs as they came.

    Keys from a file are never hashed (equal hashes can be chosen, deep tuples recurse) and never compared.
    """

    def __repr__(self) -> str:
        return f"<dict of {len(self)}>"


class OrderedDict(Dict):
    """A collections.OrderedDict of a pickle; it alone may be given attributes, which are dropped."""


class Inert(NamedTuple):
    """What stands for a value that is none of our business: it only remembers what it is."""

    what: str

    def __repr__(self) -> str:
        return f"<{self.what}>"


class Symbol(NamedTuple):
    """A known name, and the function of ours that stands for calling it, if it may be called.

    `meaning` is what the name says to the caller of `unpickle` without being called.
    """

    name: str
    call: Callable[[tuple[object, ...]], object] | None = None
    meaning: object = None

    def __repr__(self) -> str:
        return f"<{self.name}>"


def describe(value: object) -> str:
    """`value` for a message, in a few words however large or deep it is."""
    return f"a {type(value).__name__} of {len(value)}" if type(value) in (list, tuple) else quote(value)  # type: ignore[arg-type]
