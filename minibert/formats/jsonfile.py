"""Strict JSON objects, for configurations and for the headers of weight files.

Python's `json` keeps the last of two equal keys, takes NaN, Infinity, 1e400, UTF-16 and halves of surrogate pairs, and
raises RecursionError on deep nesting. Two readers that disagree about a file are a way to deceive one of them, so all
of this is refused here.
"""

from __future__ import annotations

import json
import math
import os
import re
from pathlib import Path
from typing import Any, NoReturn

from ..errors import LoadError
from .files import impostor, open_regular, quote

__all__ = ["CONFIG_LIMIT", "parse_json_object", "read_json", "read_json_list"]

CONFIG_LIMIT = 16 * 2**20  # bytes; published configurations have a few thousand

_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")


def read_json(path: str | os.PathLike[str], limit: int = CONFIG_LIMIT) -> dict[str, Any]:
    """The JSON object in the file `path`, of at most `limit` bytes, in strict UTF-8.

    Raises NotFound, or LoadError naming the file if it is too large, is not JSON, or is JSON but not one object whose
    keys differ, whose numbers are finite and whose text is Unicode.
    """
    return parse_json_object(_read(Path(path), limit), str(path))


def read_json_list(path: str | os.PathLike[str], limit: int = CONFIG_LIMIT) -> list[Any]:
    """The JSON array in the file `path`; otherwise as `read_json`."""
    value = _parse(_read(Path(path), limit), str(path))
    if not isinstance(value, list):
        raise LoadError(f"{path}: expected a JSON array, got {quote(value)}")
    return value


def _read(path: Path, limit: int) -> bytes:
    with open_regular(path) as file:
        data = file.read(limit + 1)
    if len(data) > limit:
        raise LoadError(f"{path}: expected at most {limit} bytes of JSON, got more")
    if verdict := impostor(data):
        raise LoadError(f"{path}: expected JSON, got {verdict[0]}", verdict[1])
    return data


def parse_json_object(data: bytes, where: str) -> dict[str, Any]:
    """The JSON object that `data` spells, checked as in `read_json`. Errors begin with `where`."""
    value = _parse(data, where)
    if not isinstance(value, dict):
        raise LoadError(f"{where}: expected a JSON object, got {quote(value)}")
    return value


def _parse(data: bytes, where: str) -> Any:
    try:
        text = data.decode("utf-8")  # json.loads would guess UTF-16 and UTF-32 from bytes
        value = json.loads(
            text, object_pairs_hook=_distinct, parse_constant=_refuse_constant, parse_float=_finite_float
        )
        if _SURROGATE.search(text):
            json.dumps(value, ensure_ascii=False).encode()
    except UnicodeDecodeError as error:
        raise LoadError(f"{where}: expected UTF-8, got byte 0x{data[error.start]:02x} at {error.start}") from None
    except UnicodeEncodeError:
        raise LoadError(f"{where}: expected Unicode text, got half of a surrogate pair (\\ud800 to \\udfff)") from None
    except RecursionError:
        raise LoadError(f"{where}: brackets nested too deeply") from None
    except ValueError as error:
        raise LoadError(f"{where}: not valid JSON: {error}") from None
    return value


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    fields = dict(pairs)
    if len(fields) != len(pairs):
        seen: set[str] = set()
        twice = next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]
        raise ValueError(f"duplicate key {quote(twice)}")
    return fields


def _refuse_constant(text: str) -> NoReturn:
    raise ValueError(f"{text} is not a JSON number")


def _finite_float(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"{quote(text)} is too large a number")
    return number
