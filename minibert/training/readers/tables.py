"""CSV, TSV and JSON lines -> texts, or pairs of texts, with their label."""

from __future__ import annotations

import csv
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from ...errors import InputError, LoadError
from ...formats.files import quote
from ...formats.jsonfile import parse_json_object
from ...models.config import PROBLEM_TYPES
from .files import PathLike, read_lines
from .labels import check_labels, label_ids, listed

__all__ = ["FORMATS", "TextData", "TextExample", "column_names", "read_table"]

FORMATS = ("csv", "tsv", "quoted-tsv", "jsonl")
_SUFFIXES = {".csv": "csv", ".tsv": "tsv", ".jsonl": "jsonl"}

Label = int | float | tuple[int, ...]


class TextExample(NamedTuple):
    """label: id of its class, a number, or ids of its classes in rising order; None where labels were not read."""

    text: str
    text_pair: str | None
    label: Label | None


class TextData(NamedTuple):
    """labels: the classes' names, the place of each its id; empty where there are none."""

    examples: list[TextExample]
    labels: tuple[str, ...]


def read_table(
    path: PathLike,
    text: str | int = "text",
    text_pair: str | int | None = None,
    label: str | int | None = "label",
    *,
    format: str | None = None,
    header: bool = True,
    problem_type: str = "single_label_classification",
    labels: Sequence[str] | None = None,
    separator: str = ",",
) -> TextData:
    """One example a row.

    text, text_pair, label      columns: names of the header, or numbers from 1, from the end with -1; in JSON lines,
                                keys. label=None reads a file without labels, or past them
    format      csv         commas; fields in quotes may hold commas, line ends and doubled quotes (RFC 4180)
                tsv         tabs; a quote is a character like any other (GLUE's files)
                quoted-tsv  tabs, and quotes as in csv
                jsonl       a JSON object a line
                None        what the name's end says: .csv, .tsv, .jsonl
    header      the first row holds the columns' names
    problem_type    single_label_classification     the label is the class's name; spaces around it do not count
                    multi_label_classification      names with `separator` between them, or a JSON list; may be none
                    regression                      a finite number
    labels      the classes' names, to read several files with the same ids; else those of the file, sorted, by
                value if all are integers. Another label raises LoadError

    Empty lines between rows do not count. A row of another length than the first, a label that is empty, a file
    without a row raise LoadError, a column that is not there InputError.
    """
    format = _format(path, format)
    if problem_type not in PROBLEM_TYPES:
        raise InputError(f"problem_type: expected one of {', '.join(PROBLEM_TYPES)}, got {problem_type!r}")
    if problem_type == "multi_label_classification" and not separator:
        raise InputError("separator: expected at least one character, got none")
    check_labels(labels)

    columns = [column for column in (text, text_pair, label) if column is not None]
    rows = _objects(path, columns) if format == "jsonl" else _fields(path, columns, format, header)
    if not rows:
        raise LoadError(f"{path}: expected at least one row, got none")
    texts: list[tuple[str, str | None]] = []
    values: list[tuple[str, Any]] = []
    for where, row in rows:
        first, *rest = row
        second = rest.pop(0) if text_pair is not None else None
        for column, value in ((text, first), (text_pair, second)):
            if column is not None and not isinstance(value, str):
                raise LoadError(f"{where}: {column}: expected a text, got {quote(value)}")
        texts.append((first, second))
        values.extend((where, value) for value in rest)

    if label is None:
        return TextData([TextExample(*pair, None) for pair in texts], ())
    read: Sequence[Label]
    if problem_type == "regression":
        ids, read = {}, [_number(where, value) for where, value in values]
    else:
        several = problem_type == "multi_label_classification"
        names = [(where, _names(where, value, separator if several else None)) for where, value in values]
        ids = label_ids([(where, name) for where, row_names in names for name in row_names], labels)
        if several:
            read = [tuple(sorted({ids[name] for name in row_names})) for _, row_names in names]
        else:
            read = [ids[row_names[0]] for _, row_names in names]
    return TextData([TextExample(*pair, value) for pair, value in zip(texts, read, strict=True)], tuple(ids))


def column_names(path: PathLike, format: str | None = None) -> list[str]:
    """What the header of a table says; of JSON lines nothing, as their keys have no order."""
    format = _format(path, format)
    rows = [] if format == "jsonl" else _rows(path, "," if format == "csv" else "\t", format != "tsv")
    return rows[0][1] if rows else []


def _format(path: PathLike, format: str | None) -> str:
    if format is None:
        format = _SUFFIXES.get(Path(path).suffix.lower(), "")
    if format not in FORMATS:
        raise InputError(f"{path}: format: expected one of {', '.join(FORMATS)}, got {format!r}")
    return format


def _fields(path: PathLike, columns: list[str | int], format: str, header: bool) -> list[tuple[str, list[Any]]]:
    """-> (where, the columns' fields) of every row."""
    rows = _rows(path, "," if format == "csv" else "\t", format != "tsv")
    if not rows:
        raise LoadError(f"{path}: expected {'a header' if header else 'at least one row'}, got an empty file")
    width = len(rows[0][1])
    for where, fields in rows:
        if len(fields) != width:
            raise LoadError(
                f"{where}: expected {width} columns as in the first row, got {len(fields)}",
                'a tab or line end inside a text? With quotes around such texts: format="quoted-tsv"'
                if format == "tsv"
                else "a separator inside a text? Put the text in quotes, and double the quotes in it",
            )
    names = rows[0][1] if header else None
    places = [_place(path, column, names, width) for column in columns]
    return [(where, [fields[place] for place in places]) for where, fields in rows[header:]]


def _rows(path: PathLike, delimiter: str, quoted: bool) -> list[tuple[str, list[str]]]:
    lines = read_lines(path)
    reader = csv.reader(
        lines, delimiter=delimiter, quoting=csv.QUOTE_MINIMAL if quoted else csv.QUOTE_NONE, strict=True
    )
    rows = []
    limit = csv.field_size_limit(max(csv.field_size_limit(), sum(map(len, lines))))  # a field may be the whole file
    where = ""
    try:
        while True:
            where = f"{path}, line {reader.line_num + 1}"
            fields = next(reader)
            if fields:
                rows.append((where, fields))
    except StopIteration:
        return rows
    except csv.Error as error:
        raise LoadError(
            f"{where}: {error} (line {reader.line_num})",
            "is a quote left open, or not doubled, in this row?"
            + (' Where quotes are characters like others: format="tsv"' if delimiter == "\t" else ""),
        ) from None
    finally:
        csv.field_size_limit(limit)


def _place(path: PathLike, column: str | int, names: list[str] | None, width: int) -> int:
    """Name, or number from 1 -> index."""
    if isinstance(column, int):
        if not 1 <= abs(column) <= width:
            raise InputError(f"{path}: expected a column from 1 to {width}, or -1 for the last, got {column}")
        return column - 1 if column > 0 else width + column
    if names is None:
        raise InputError(f"{path}: column {column!r}: expected a number, as there is no header", "columns count from 1")
    if names.count(column) != 1:
        many = "more than one" if column in names else "none"
        raise InputError(f"{path}: expected one column {column!r}, got {many}; there are {listed(names)}")
    return names.index(column)


def _objects(path: PathLike, columns: list[str | int]) -> list[tuple[str, list[Any]]]:
    """As _fields, of JSON lines."""
    rows = []
    for number, line in enumerate(read_lines(path), 1):
        if not line.strip():
            continue
        where = f"{path}, line {number}"
        fields = parse_json_object(line.encode(), where)
        for column in columns:
            if isinstance(column, int):
                raise InputError(f"{path}: column {column}: expected a key, as these are JSON lines")
            if column not in fields:
                raise InputError(f"{where}: expected a key {column!r}; there are {listed(list(fields))}")
        rows.append((where, [fields[str(column)] for column in columns]))
    return rows


def _names(where: str, value: Any, separator: str | None) -> list[str]:
    """Names of a row's classes; exactly one without a separator."""
    if separator is None:
        values = [value]
    else:
        values = value if isinstance(value, list) else _text(where, value).split(separator)
        if not isinstance(value, list) and not _text(where, value).strip():
            return []
    names = [_text(where, item).strip() for item in values]
    if not all(names):
        raise LoadError(f"{where}: expected a label, got an empty one", "label=None reads a file without labels")
    return names


def _text(where: str, value: Any) -> str:
    """A text, or an integer of JSON as one."""
    if not isinstance(value, (str, int)) or isinstance(value, bool):
        raise LoadError(f"{where}: label: expected a text or an integer, got {quote(value)}")
    return str(value)


def _number(where: str, value: Any) -> float:
    try:
        if isinstance(value, bool) or "_" in str(value):  # which Python would take: 1_000
            raise ValueError
        number = float(value)
        if not math.isfinite(number):
            raise ValueError
    except (TypeError, ValueError, OverflowError):
        raise LoadError(f"{where}: label: expected a finite number, got {quote(value)}") from None
    return number
