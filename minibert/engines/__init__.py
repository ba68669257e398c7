"""Engines: the operators of minibert.ops, as they are or made fast. An engine is an object with the operators' names.

reference   the plain functions of minibert.ops
auto        the fastest one that works here; today that is the reference
"""

from __future__ import annotations

from typing import Any

from ..errors import InputError

NAMES = ("auto", "reference")


def get(name: str) -> Any:
    """The engine of that name. InputError lists the names there are."""
    if name not in NAMES:
        raise InputError(f"engine: expected one of {', '.join(NAMES)}, got {name!r}")
    from .. import ops

    return ops
