"""Lines of text files, one at a time."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from ..errors import InputError

__all__ = ["file_lines", "lines"]


def file_lines(path: Path) -> Iterator[str]:
    """The lines of a file in UTF-8, as `lines` gives them."""
    with path.open("rb") as file:
        yield from lines(file, str(path))


def lines(file: Iterable[bytes], where: str) -> Iterator[str]:
    """Lines as texts, without their ends. Raises InputError, which names `where` and the line, if one is not UTF-8."""
    for number, line in enumerate(file, 1):
        try:
            text = line.decode("utf-8-sig" if number == 1 else "utf-8")  # a byte order mark is no part of a text
        except UnicodeDecodeError as error:
            byte = line[error.start]
            raise InputError(f"{where}, line {number}: byte 0x{byte:02x} at {error.start} is not UTF-8") from None
        yield text.removesuffix("\n").removesuffix("\r")
