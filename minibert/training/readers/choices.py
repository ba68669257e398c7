"""JSON lines -> texts with several endings, one of them right."""

from __future__ import annotations

from typing import NamedTuple

from ...errors import LoadError
from ...formats.files import quote
from ...formats.jsonfile import parse_json_object
from .files import PathLike, read_lines

__all__ = ["ChoiceExample", "read_choices"]


class ChoiceExample(NamedTuple):
    """choices[label] is the right one."""

    text: str
    choices: tuple[str, ...]
    label: int


def read_choices(
    path: PathLike, text: str = "text", choices: str = "choices", label: str = "label"
) -> list[ChoiceExample]:
    """One example a line: {"text": ..., "choices": [..., ...], "label": 0 for the first}, under keys of one's own.

    Empty lines do not count. Whatever is not so raises LoadError naming the line.
    """
    examples = []
    for number, line in enumerate(read_lines(path), 1):
        if not line.strip():
            continue
        where = f"{path}, line {number}"
        fields = parse_json_object(line.encode(), where)
        for key in (text, choices, label):
            if key not in fields:
                raise LoadError(f"{where}: expected a key {key!r}; there are {', '.join(map(quote, fields)) or 'none'}")
        said, several, right = fields[text], fields[choices], fields[label]
        if not isinstance(said, str):
            raise LoadError(f"{where}: {text}: expected a text, got {quote(said)}")
        if not isinstance(several, list) or len(several) < 2 or not all(isinstance(one, str) for one in several):
            raise LoadError(f"{where}: {choices}: expected a list of two texts or more, got {quote(several)}")
        if type(right) is not int or not 0 <= right < len(several):
            raise LoadError(f"{where}: {label}: expected an integer from 0 to {len(several) - 1}, got {quote(right)}")
        examples.append(ChoiceExample(said, tuple(several), right))
    if not examples:
        raise LoadError(f"{path}: expected at least one row, got none")
    return examples
