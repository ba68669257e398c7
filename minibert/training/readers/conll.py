"""CoNLL's files, a word a line and an empty line after each sentence -> words and tags."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from ...errors import InputError, LoadError
from ...formats.files import quote
from .files import PathLike, read_lines
from .labels import check_labels, label_ids

__all__ = ["SCHEMES", "TaggedData", "TaggedExample", "read_conll"]

SCHEMES = ("BIO", "IOB1", "any")
_DOCUMENT = "-DOCSTART-"


class TaggedExample(NamedTuple):
    """One sentence: as many tags as words."""

    words: tuple[str, ...]
    tags: tuple[str, ...]


class TaggedData(NamedTuple):
    """labels: the tags, the place of each its id."""

    examples: list[TaggedExample]
    labels: tuple[str, ...]


def read_conll(
    path: PathLike,
    *,
    word: int = 1,
    tag: int = -1,
    scheme: str = "BIO",
    labels: Sequence[str] | None = None,
) -> TaggedData:
    """One example a sentence. Columns are separated by tabs where a line has one, else by spaces.

    word, tag   columns, from 1, from the end with -1
    scheme      BIO     O, B-type, I-type; an entity begins with B (also called IOB2)
                IOB1    an entity begins with I, and with B only after one of its type (CoNLL-2003's own files); such
                        tags are turned into BIO
                any     tags of another kind, as parts of speech
    labels      the tags, to read several files with the same ids; else those of the file, sorted

    Lines of -DOCSTART- are passed over. A line with another number of columns than the first, an empty word or tag, a
    tag against the scheme or outside `labels` raise LoadError naming the line.
    """
    if scheme not in SCHEMES:
        raise InputError(f"scheme: expected one of {', '.join(SCHEMES)}, got {scheme!r}")
    check_labels(labels)
    examples: list[TaggedExample] = []
    found: list[tuple[str, str]] = []
    words: list[str] = []
    tags: list[str] = []
    width = 0
    lines = read_lines(path)
    for number, line in enumerate([*lines, ""], 1):
        where = f"{path}, line {number}"
        fields = _columns(line.rstrip("\r\n"))
        if not fields:
            if words:
                examples.append(TaggedExample(tuple(words), tuple(tags)))
            words, tags = [], []
            continue
        if fields[0] == _DOCUMENT:
            continue
        width = width or len(fields)
        if width < 2:
            raise LoadError(f"{where}: expected a word and its tag in columns, got {quote(line)}")
        if len(fields) != width:
            raise LoadError(f"{where}: expected {width} columns as in the first line, got {len(fields)}: {quote(line)}")
        for name, column in (("word", word), ("tag", tag)):
            if not 1 <= abs(column) <= width:
                raise InputError(f"{where}: {name}: expected a column from 1 to {width}, or -1, got {column}")
        one, its_tag = (fields[column - 1 if column > 0 else column] for column in (word, tag))
        if not one or not its_tag:
            raise LoadError(f"{where}: expected a word and a tag, got {quote(line)}")
        if scheme != "any":
            its_tag = _bio(where, its_tag, tags[-1] if tags else "O", scheme)
        words.append(one)
        tags.append(its_tag)
        found.append((where, its_tag))
    if not examples:
        raise LoadError(f"{path}: expected sentences, got {'none' if lines else 'an empty file'}")
    return TaggedData(examples, tuple(label_ids(found, labels)))


def _columns(line: str) -> list[str]:
    """Fields of a line; none if it is blank, which a line of tabs and spaces is, too."""
    if not line.strip(" \t"):
        return []
    return line.split("\t") if "\t" in line else [field for field in line.split(" ") if field]


def _bio(where: str, tag: str, before: str, scheme: str) -> str:
    """The tag as BIO, checked against the one before it."""
    prefix, _, kind = tag.partition("-")
    if tag != "O" and (prefix not in ("B", "I") or not kind):
        raise LoadError(f"{where}: expected O, B-type or I-type, got {quote(tag)}", 'tags of no scheme: scheme="any"')
    if prefix == "I" and before not in (f"B-{kind}", tag):
        if scheme == "BIO":
            raise LoadError(
                f"{where}: expected B-{kind} or what goes on after {quote(before)}, got {quote(tag)}",
                'where entities begin with I: scheme="IOB1"',
            )
        return f"B-{kind}"
    return tag
