"""safetensors files <-> {name: array}: mapped lazily on the way in, replaced atomically on the way out.

The header is checked here (see `header`) and then once more by the `safetensors` library; a file on which the two
disagree is refused. Writing is our own, because the library's leaves files that only their owner can read and does not
fsync; the bytes are the same.
"""

from __future__ import annotations

import mmap
import os
import weakref
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np
import safetensors

from ..errors import InputError, LoadError
from .atomic import write_atomic
from .files import impostor, open_regular, quote
from .header import DTYPES, HEADER_LIMIT, TensorInfo, format_header, parse_header

__all__ = ["SafetensorsFile", "TensorInfo", "nonfinite", "open_safetensors", "save_safetensors"]

Array = np.ndarray[Any, Any]

_LETTERS = {dtype: letters for letters, dtype in DTYPES.items() if letters != "BF16"}


def open_safetensors(path: str | os.PathLike[str]) -> SafetensorsFile:
    """Opens and checks the file `path`, reading only its header.

    Raises NotFound if nothing is there, and LoadError naming the file, the tensor and the field if it is malformed,
    truncated, of a dtype not supported, or another kind of file. Warns if the header begins with white space.
    """
    path = Path(path)
    with open_regular(path) as file:
        stamp = _stamp(file.fileno())
        header = _read_header(path, file, stamp.size)
        tensors, metadata = parse_header(header, 8 + len(header), stamp.size, str(path))
        _second_opinion(path, tensors)
        return SafetensorsFile(path, file, stamp, tensors, metadata)


class SafetensorsFile:
    """An open file: `path`, `tensors` (name -> TensorInfo, in the order of their bytes), `metadata`, and `read`.

    The arrays are windows on the file, so opening costs no memory and pages come in as they are touched. Replacing the
    file, as `save_safetensors` does, is safe: this object and its arrays keep the old one. Writing into it or cutting
    it in place is not: `read` refuses from then on, but an array read before would show the new bytes, and touching
    pages that are gone ends the process (SIGBUS), which Python cannot prevent. Where other programs write into weight
    files, take copies: `np.array(file.read(name))`.
    """

    def __init__(
        self,
        path: Path,
        file: BinaryIO,
        stamp: _Stamp,
        tensors: dict[str, TensorInfo],
        metadata: dict[str, str],
    ) -> None:
        self.path = path
        self.tensors = tensors
        self.metadata = metadata
        try:
            self._map = mmap.mmap(file.fileno(), stamp.size, access=mmap.ACCESS_READ)
        except (OSError, ValueError) as error:  # ValueError: it has become shorter by now
            raise LoadError(f"{path}: cannot be mapped: {error}") from error
        self._descriptor = os.dup(file.fileno())
        weakref.finalize(self, os.close, self._descriptor)
        self._stamp = stamp

    def read(self, name: str) -> Array:
        """The tensor `name`, read-only, C-contiguous, aligned, in the machine's byte order; BF16 comes as float32.

        A view of the mapped file, or a copy where that cannot be: BF16, tensors that an unpadded header left
        unaligned, big-endian machines. Raises LoadError if there is no such tensor, or the file changed since it was
        opened.
        """
        if name not in self.tensors:
            raise LoadError(f"{self.path}: no tensor named {quote(name)} among {len(self.tensors)}")
        if _stamp(self._descriptor) != self._stamp:
            raise LoadError(f"{self.path}: changed in place since it was opened", "open it again once it is complete")
        info = self.tensors[name]
        array: Array = np.ndarray(info.shape, DTYPES[info.dtype], self._map, info.offset)
        if info.dtype == "BF16":
            bits = array.astype(np.uint32)
            bits <<= np.uint32(16)  # in place and typed: NumPy 1 would widen a 0-dimensional array to int64
            array = bits.view(np.float32)
        elif info.dtype == "BOOL" and (array.view(np.uint8) > 1).any():
            raise LoadError(f"{self.path}: tensor {quote(name)}: BOOL: expected bytes 0 and 1, got others")
        array = np.require(array, array.dtype.newbyteorder("="), ["C", "A"])
        array.flags.writeable = False
        return array


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
        ((name, *_little_endian(name, array)) for name, array in arrays.items()),
        key=lambda tensor: (-list(DTYPES).index(tensor[1]), tensor[0]),
    )
    header = format_header(tensors, texts)
    size = len(header) + sum(array.nbytes for _, _, array in tensors)
    parse_header(header[8:], len(header), size, os.fspath(path))  # never write what could not be read back
    write_atomic(path, (header, *(array.reshape(-1).view(np.uint8).data for _, _, array in tensors)))


def nonfinite(arrays: Mapping[str, Array]) -> list[str]:
    """The names of the arrays that hold a NaN or an infinity."""
    return [name for name, array in arrays.items() if array.dtype.kind in "fc" and not np.isfinite(array).all()]


def _read_header(path: Path, file: BinaryIO, size: int) -> bytes:
    head = file.read(8)
    length = int.from_bytes(head, "little")
    if len(head) < 8:
        problem = f"header too small: expected 8 bytes of length, got {len(head)}"
        hint = "the file is empty or cut off: download or copy it again"
    elif length > HEADER_LIMIT:
        problem = f"header too large: expected at most {HEADER_LIMIT} bytes, got a length of {length}"
        hint = "this is probably no safetensors file"
    elif length > size - 8:
        problem = f"header of {length} bytes: {length - (size - 8)} bytes are missing"
        hint = "the file is cut off: download or copy it again"
    else:
        header = file.read(length)
        if len(header) == length:
            return header
        problem, hint = (
            f"header of {length} bytes: only {len(header)} could be read",
            "the file changed while it was read",
        )
    if verdict := impostor(head + file.read(64)):
        problem, hint = f"expected a safetensors file, got {verdict[0]}", verdict[1]
    raise LoadError(f"{path}: {problem}", hint)


def _second_opinion(path: Path, tensors: dict[str, TensorInfo]) -> None:
    library: Any = safetensors  # its methods carry no types
    try:
        with library.safe_open(path, framework="np") as file:
            names = set(file.keys())
    except (library.SafetensorError, OSError) as error:
        raise LoadError(f"{path}: refused by the safetensors library: {error}") from error
    if names != tensors.keys():
        raise LoadError(f"{path}: the safetensors library reads other tensors: {quote(sorted(names ^ tensors.keys()))}")


class _Stamp(NamedTuple):
    """What changes when an open file is written in place; renaming or replacing it changes nothing here."""

    device: int
    inode: int
    size: int
    mtime_ns: int


def _stamp(descriptor: int) -> _Stamp:
    status = os.fstat(descriptor)
    return _Stamp(status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns)


def _check_texts(texts: list[str]) -> None:
    for text in texts:
        try:
            text.encode()
        except (AttributeError, UnicodeEncodeError):
            raise InputError(f"names and metadata: expected Unicode text, got {quote(text)}") from None


def _little_endian(name: str, array: Array) -> tuple[str, Array]:
    """The dtype in the format's letters, and the array in C order and little-endian; copied only if it is not yet."""
    array = np.asarray(array)
    stored = array.dtype.newbyteorder("<")
    if stored not in _LETTERS:
        raise InputError(
            f"tensor {quote(name)}: dtype: expected one of {', '.join(_LETTERS.values())}, got {array.dtype}"
        )
    return _LETTERS[stored], array.astype(stored, order="C", copy=False)
