"""A file's text and lines, checked; and a fingerprint of files."""

from __future__ import annotations

import hashlib
import io
import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path

from ...errors import InputError, LoadError
from ...formats.files import impostor, open_regular

__all__ = ["PathLike", "fingerprint", "read_lines", "read_text"]

PathLike = str | os.PathLike[str]

_BOM = b"\xef\xbb\xbf"
_UTF16 = (b"\xff\xfe", b"\xfe\xff")


def read_text(path: PathLike) -> str:
    """The whole file, in strict UTF-8; a byte order mark is no part of it. Raises NotFound, LoadError."""
    with open_regular(Path(path)) as file:
        data = file.read().removeprefix(_BOM)
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        if verdict := impostor(data):
            raise LoadError(f"{path}: expected text, got {verdict[0]}", verdict[1]) from None
        start = data.rfind(b"\n", 0, error.start) + 1
        line = data.count(b"\n", 0, error.start) + 1
        raise LoadError(
            f"{path}, line {line}: byte 0x{data[error.start]:02x} at {error.start - start} is not UTF-8",
            f"convert it: iconv -f {'UTF-16' if data.startswith(_UTF16) else 'LATIN1'} -t UTF-8",
        ) from None


def read_lines(path: PathLike) -> list[str]:
    r"""The file's lines with their ends: \n, \r\n or \r. What else Unicode calls a line's end stays in the line."""
    return list(io.StringIO(read_text(path), newline=""))


def fingerprint(files: Iterable[PathLike], options: Mapping[str, object]) -> str:
    """sha256, in hexadecimal, of the files' bytes in their order and of the options. Names of files do not count.

    options: what else decides which examples come out: texts, numbers, booleans, None, and lists and dicts of them.
    """
    if isinstance(files, (str, os.PathLike)):
        raise InputError(f"files: expected a list of paths, got one: {str(files)!r}")
    digests = []
    for path in files:
        with open_regular(Path(path)) as file:
            digest = hashlib.sha256()
            while chunk := file.read(2**20):
                digest.update(chunk)
            digests.append(digest.hexdigest())
    try:
        described = json.dumps({"files": digests, "options": options}, sort_keys=True, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise InputError(f"options: expected what JSON can hold: {error}") from None
    return hashlib.sha256(described.encode()).hexdigest()
