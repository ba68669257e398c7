"""What every reader of this room needs: open a file that really is one, quote it safely, say what it is instead."""

from __future__ import annotations

import os
import reprlib
import stat
from pathlib import Path
from typing import BinaryIO

from ..errors import LoadError, NotFound

__all__ = ["CONVERT", "impostor", "open_regular", "quote"]

CONVERT = (
    "minibert reads safetensors only; convert once with transformers: AutoModelForPreTraining.from_pretrained(FOLDER)"
    ".save_pretrained(NEW_FOLDER); from TensorFlow or Flax this takes transformers 4 and from_tf=True or from_flax=True"
)

_PAGE = ("an HTML page", "the download got a web page, often an error or a log-in: download the file itself")
# How files begin that people give by mistake, in lower case; the commonest mistake first.
_IMPOSTORS = {
    b"version https://git-lfs": ("a git-lfs pointer, which only stands for the file", "fetch the file: git lfs pull"),
    b"<!doctype": _PAGE,
    b"<html": _PAGE,
    b"pk\x03\x04": ("a zip archive, as in pytorch_model.bin or .npz", CONVERT),
    b"\x80\x02": ("a pickle, as in an old pytorch_model.bin", CONVERT),
    b"\x89hdf": ("an HDF5 file, as in tf_model.h5", CONVERT),
    b"gguf": ("a GGUF file", CONVERT),
}

_QUOTE = reprlib.Repr()
_QUOTE.maxstring = _QUOTE.maxlong = _QUOTE.maxother = 80
_QUOTE.maxlevel = 2


def quote(value: object) -> str:
    """`value` as a short `repr`, for messages: foreign text is escaped, and neither length nor depth can hurt."""
    return _QUOTE.repr(value)


def impostor(head: bytes) -> tuple[str, str] | None:
    """What a file that begins with `head` is, and what to do, if it is a well-known wrong file; else None."""
    start = head.removeprefix(b"\xef\xbb\xbf").lstrip()[:32].lower()
    return next((verdict for prefix, verdict in _IMPOSTORS.items() if start.startswith(prefix)), None)


def open_regular(path: Path) -> BinaryIO:
    """Opens `path` for reading bytes.

    Raises NotFound if nothing is there, and LoadError if it is no regular file (a pipe would block, a device never
    ends) or may not be opened.
    """
    try:
        mode = os.stat(path).st_mode
        if stat.S_ISREG(mode):
            return open(path, "rb")
    except FileNotFoundError:
        raise NotFound(f"{path}: no such file (looked at {path.absolute()})") from None
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        raise LoadError(f"{quote(str(path))}: cannot be opened: {error}") from error
    raise LoadError(f"{path}: expected a file, got a {'folder' if stat.S_ISDIR(mode) else 'pipe or device'}")
