"""Names of labels -> ids: by a list that was given, or in sorted order."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from ...errors import InputError, LoadError
from ...formats.files import quote

__all__ = ["check_labels", "label_ids", "listed"]

_INTEGER = re.compile(r"[+-]?[0-9]+")
_SHOWN = 20


def label_ids(found: Iterable[tuple[str, str]], given: Sequence[str] | None) -> dict[str, int]:
    """(where, label) of all that occur -> {label: id}, in order of the ids.

    Without a list the labels are sorted: by value if all are integers ("9" before "10"), else as texts. With one, a
    label outside it raises LoadError.
    """
    if given is None:
        return {label: i for i, label in enumerate(_sorted({label for _, label in found}))}
    ids = {label: i for i, label in enumerate(given)}
    for where, label in found:
        if label not in ids:
            raise LoadError(
                f"{where}: expected a label of {listed(given)}, got {quote(label)}",
                "these are the labels that were given, usually those of the training file: is it there?",
            )
    return ids


def check_labels(given: Sequence[str] | None) -> None:
    """Raises InputError unless they are different texts, at least one, or None."""
    if given is None:
        return
    if isinstance(given, str) or not given or not all(isinstance(label, str) and label for label in given):
        raise InputError(f"labels: expected a list of texts, none empty, got {quote(given)}")
    if len(set(given)) != len(given):
        raise InputError(f"labels: expected each once, got {listed(given)}")


def listed(names: Sequence[object]) -> str:
    """Names for a message, the first twenty of them."""
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(quote(name) for name in names[:_SHOWN]) + more


def _sorted(labels: set[str]) -> list[str]:
    if all(_INTEGER.fullmatch(label) for label in labels):
        return sorted(labels, key=lambda label: (int(label), label))
    return sorted(labels)
