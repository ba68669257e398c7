"""What every reader of this room needs: open a file that really is one, quote it safely, say what it is instead."""

from __future__ import annotations

import os
import re
import reprlib
import stat
from pathlib import Path
from typing import BinaryIO

from ..errors import LoadError, NotFound

__all__ = ["impostor", "open_regular", "quote"]

_PAGE = ("an HTML page", "the download got a web page, often an error or a log-in: download the file itself")
_PICKLE = ("a pickle, and no checkpoint of PyTorch", "nothing is unpickled here: save the arrays with numpy.savez")
_ELSEWHERE = "fetch the same model's safetensors, PyTorch or TensorFlow weights"
# How files begin that people give by mistake, in lower case; the commonest mistake first.
_IMPOSTORS = {
    b"version https://git-lfs": ("a git-lfs pointer, which only stands for the file", "fetch the file: git lfs pull"),
    b"<!doctype": _PAGE,
    b"<html": _PAGE,
    b"gguf": ("a GGUF file, whose weights are often quantised", _ELSEWHERE),
    b"lmgg": ("a GGML file, whose weights are often quantised", _ELSEWHERE),
    b"\x80\x02": _PICKLE,
    b"\x80\x03": _PICKLE,
    b"\x80\x04": _PICKLE,
    b"\x80\x05": _PICKLE,
    b"\x1f\x8b": ("a gzip archive", "unpack it first: tar xzf FILE"),
}
# A protobuf whose first fields are a small version number and a text or message: ONNX, Core ML.
_PROTOBUF_MODEL = re.compile(rb"\x08[\x01-\x20]\x12[\x01-\x7f]")

_QUOTE = reprlib.Repr()
_QUOTE.maxstring = _QUOTE.maxlong = _QUOTE.maxother = 80
_QUOTE.maxlevel = 2


def quote(value: object) -> str:
    """`value` as a short `repr`, for messages: foreign text is escaped, and neither length nor depth can hurt."""
    return _QUOTE.repr(value)


def impostor(head: bytes) -> tuple[str, str] | None:
    """What a file that begins with `head` is, and what to do, if it is a well-known wrong file; else None."""
    if head[257:262] == b"ustar":
        return "a tar archive", (
            "unpack it; if it is a checkpoint of PyTorch 0.1 itself, load and save it once with PyTorch before 2.6"
        )
    if _PROTOBUF_MODEL.match(head):
        return "an ONNX or Core ML model", _ELSEWHERE
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
