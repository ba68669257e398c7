"""safetensors files <-> {name: array}: mapped lazily on the way in, replaced atomically on the way out.

The header is checked here (see `header`) and then once more by the `safetensors` library; a file on which the two
disagree is refused. Writing is our own, because the library's leaves files that only their owner can read and does not
fsync; the bytes are the same.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import safetensors

from ..errors import InputError, LoadError
from .atomic import write_atomic
from .files import impostor, quote
from .header import HEADER_LIMIT, format_header, parse_header
from .mapped import MappedFile
from .weights import DTYPES, Array, Weights, decode, little_endian

__all__ = ["SafetensorsFile", "open_safetensors", "save_safetensors"]


def open_safetensors(path: str | os.PathLike[str]) -> SafetensorsFile:
    """Opens and checks the file `path`, reading only its header.

    Raises NotFound if nothing is there, and LoadError naming the file, the tensor and the field if it is malformed,
    truncated, of a dtype not supported, or another kind of file. Warns if the header begins with white space.
    """
    return SafetensorsFile(Path(path))


class SafetensorsFile(Weights):
    """An open safetensors file. Its arrays are windows on the mapped file (see `MappedFile`).

    Copied are only BF16, tensors that an unpadded header left unaligned, and everything on big-endian machines.
    """

    format = "safetensors"

    def __init__(self, path: Path) -> None:
        self._file = MappedFile(path)
        header = _read_header(self._file)
        places, self.metadata = parse_header(header, 8 + len(header), self._file.size, str(path))
        _second_opinion(path, set(places))
        self.paths = (path,)
        self.tensors = {name: info for name, (info, _) in places.items()}
        self.ties, self.notes = {}, []
        self._offsets = {name: offset for name, (_, offset) in places.items()}

    def read(self, name: str) -> Array:
        """The tensor `name`; see `Weights.read`."""
        info = self._info(name)
        raw = self._file.window(self._offsets[name], info.nbytes)
        return decode(raw, info.dtype, info.shape, f"{self.paths[0]}: tensor {quote(name)}")


def save_safetensors(
    path: str | os.PathLike[str], arrays: Mapping[str, Array], metadata: Mapping[str, str] | None = None
) -> None:
    """Writes `arrays` and `metadata` as the safetensors file `path`, atomically (see `write_atomic`).

    The metadata gets {"format": "pt"} unless it names a format: older transformers load no file without one. Byte order
    and strides do not matter; tensors are laid out as the reference writer does, so equal arrays give equal files.
    Raises InputError for a name or dtype that the format cannot hold, OSError if the disk refuses.
    """
    if "__metadata__" in arrays:
        raise InputError("__metadata__: reserved by the safetensors format, no tensor may have this name")
    texts = {"format": "pt", **(metadata or {})}
    _check_texts([*arrays, *texts, *texts.values()])
    tensors = sorted(
        ((name, *little_endian(name, array)) for name, array in arrays.items()),
        key=lambda tensor: (-list(DTYPES).index(tensor[1]), tensor[0]),
    )
    header = format_header(tensors, texts)
    size = len(header) + sum(array.nbytes for _, _, array in tensors)
    parse_header(header[8:], len(header), size, os.fspath(path))  # never write what could not be read back
    write_atomic(path, (header, *(np.ravel(array).view(np.uint8).data for _, _, array in tensors)))


def _read_header(file: MappedFile) -> bytes:
    head = bytes(file.window(0, min(8, file.size)))
    length = int.from_bytes(head, "little")
    if len(head) < 8:
        problem = f"header too small: expected 8 bytes of length, got {len(head)}"
        hint = "the file is empty or cut off: download or copy it again"
    elif length > HEADER_LIMIT:
        problem = f"header too large: expected at most {HEADER_LIMIT} bytes, got a length of {length}"
        hint = "this is probably no safetensors file"
    elif length > file.size - 8:
        problem = f"header of {length} bytes: {length - (file.size - 8)} bytes are missing"
        hint = "the file is cut off: download or copy it again"
    else:
        return bytes(file.window(8, length))
    if verdict := impostor(bytes(file.window(0, min(72, file.size)))):
        problem, hint = f"expected a safetensors file, got {verdict[0]}", verdict[1]
    raise LoadError(f"{file.path}: {problem}", hint)


def _second_opinion(path: Path, ours: set[str]) -> None:
    library: Any = safetensors  # its methods carry no types
    try:
        with library.safe_open(path, framework="np") as file:
            theirs = set(file.keys())
    except (library.SafetensorError, OSError) as error:
        raise LoadError(f"{path}: refused by the safetensors library: {error}") from error
    if theirs != ours:
        raise LoadError(f"{path}: the safetensors library reads other tensors: {quote(sorted(theirs ^ ours))}")


def _check_texts(texts: list[str]) -> None:
    for text in texts:
        try:
            text.encode()
        except (AttributeError, UnicodeEncodeError):
            raise InputError(f"names and metadata: expected Unicode text, got {quote(text)}") from None
