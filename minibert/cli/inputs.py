"""Where a verb's texts and model come from."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from ..errors import InputError, MinibertError, NotFound
from ..locate import embedded
from ..text.lines import file_lines, lines
from . import MODEL_VARIABLE


class UsageError(MinibertError):
    """The arguments make no sense together."""

    exit_code = 2


def model_of(args: Any) -> str:
    """--model, or the environment's, or the one that comes with minibert."""
    return str(args.model or os.environ.get(MODEL_VARIABLE) or embedded())


def texts_of(args: Any) -> Iterator[str]:
    """Texts of the command line, of --file, or of stdin's lines; an empty line is an empty text."""
    if args.file is not None and args.texts:
        raise UsageError("texts were given both as arguments and with --file", "give one of the two")
    if args.file is not None and args.file != "-":
        path = Path(args.file)
        if not args.file or not path.exists():  # a pipe is a file, too
            raise NotFound(f"--file {args.file!r}: no such file")
        if path.is_dir():
            raise NotFound(f"{path}: expected a file of texts, got a folder")
        return file_lines(path)
    if not args.texts and args.file is None and sys.stdin.isatty():
        raise UsageError("no text given", f'minibert {args.verb} "a text" "another", or pipe lines in')
    if args.texts and args.texts != ["-"]:
        return map(decoded, args.texts)
    return lines(sys.stdin.buffer, "stdin")


def chunks(items: Iterable[str], size: int) -> Iterator[list[str]]:
    """Lists of up to `size` items."""
    iterator = iter(items)
    while chunk := list(islice(iterator, size)):
        yield chunk


def printable(text: str) -> str:
    """The text for a terminal: what would move the cursor or change colours is shown as �."""
    return "".join(c if c.isprintable() else "\ufffd" for c in text)


def decoded(text: str) -> str:
    """An argument as it was typed, in UTF-8, whatever the locale says. InputError if its bytes are not."""
    try:
        text.encode()
    except UnicodeEncodeError:  # bytes that the locale's encoding lacks are halves of surrogate pairs in Python
        typed = os.fsencode(text)
        try:
            return typed.decode()
        except UnicodeDecodeError:
            raise InputError(f"text {typed!r} is not UTF-8") from None
    return text
