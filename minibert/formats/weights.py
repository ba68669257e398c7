"""What every reader of this room gives back: an opened weight file, seen as named arrays.

Dtypes go by the letters of the safetensors format, whatever the file's own words for them, so that all formats can be
compared; TEXT (byte strings of any length) is the one that only TensorFlow has.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Collection
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ..errors import InputError, LoadError
from .files import quote

__all__ = ["DTYPES", "SIZE_LIMIT", "Array", "TensorInfo", "Weights", "checked_nbytes", "decode", "little_endian"]

Array = np.ndarray[Any, Any]

RANK_LIMIT = 32  # NumPy 1 holds no more dimensions
SIZE_LIMIT = 2**63  # bytes of address space, for NumPy too

# dtype -> how NumPy holds the stored bytes; in the order of safetensors' reference writer, which sorts files by it.
DTYPES = {
    "BOOL": np.dtype("?"),
    "U8": np.dtype("u1"),
    "I8": np.dtype("i1"),
    "I16": np.dtype("<i2"),
    "U16": np.dtype("<u2"),
    "F16": np.dtype("<f2"),
    "BF16": np.dtype("<u2"),  # NumPy has no bfloat16: the bits only
    "I32": np.dtype("<i4"),
    "U32": np.dtype("<u4"),
    "F32": np.dtype("<f4"),
    "C64": np.dtype("<c8"),
    "F64": np.dtype("<f8"),
    "I64": np.dtype("<i8"),
    "U64": np.dtype("<u8"),
}
_LETTERS = {dtype: letters for letters, dtype in DTYPES.items() if letters != "BF16"}


class TensorInfo(NamedTuple):
    """One tensor as it is stored: `dtype` in letters, and how many bytes it takes."""

    dtype: str
    shape: tuple[int, ...]
    nbytes: int


class Weights(ABC):
    """An opened weight file, or several seen as one. Nothing but names, dtypes and shapes has been read yet.

    format      what it is, for people: "safetensors", "PyTorch zip", ...
    paths       the files
    tensors     name -> TensorInfo, in the file's order
    metadata    texts that the file carries beside its tensors
    ties        name -> an earlier name that stands for the very same numbers in the file
    notes       what people should know about this file, a sentence each
    slots       names that the file itself calls an optimiser's
    """

    format: str
    paths: tuple[Path, ...]
    tensors: dict[str, TensorInfo]
    metadata: dict[str, str]
    ties: dict[str, str]
    notes: list[str]
    slots: Collection[str] = ()

    @abstractmethod
    def read(self, name: str) -> Array:
        """The tensor `name`, read-only, C-contiguous, aligned, in the machine's byte order; BF16 comes as float32.

        A view of the mapped file where that can be, else a copy. Raises LoadError if there is no such tensor, its
        bytes are damaged or missing, or the file changed since it was opened. May be called from several threads.
        """

    def _info(self, name: str) -> TensorInfo:
        """The TensorInfo of `name`, or LoadError."""
        if name not in self.tensors:
            raise LoadError(f"{', '.join(map(str, self.paths))}: no tensor named {quote(name)} of {len(self.tensors)}")
        return self.tensors[name]


def checked_nbytes(dtype: str, shape: object, where: str) -> int:
    """The bytes that a tensor takes, in Python integers, which never wrap. LoadError if there can be no such tensor.

    dtype must be a key of DTYPES; shape a list or tuple of integers, of which True and 2.0 are none.
    """
    sizes = shape if isinstance(shape, list | tuple) else [None]
    if len(sizes) > RANK_LIMIT or not all(type(size) is int and 0 <= size < SIZE_LIMIT for size in sizes):
        raise LoadError(f"{where}: shape: expected at most {RANK_LIMIT} integers of 0 or more, got {quote(shape)}")
    itemsize = DTYPES[dtype].itemsize
    if itemsize * math.prod(size for size in sizes if size) >= SIZE_LIMIT:  # NumPy, too, leaves zeros out of this
        raise LoadError(f"{where}: shape: expected less than 2^63 bytes, got {quote(shape)}")
    return itemsize * math.prod(sizes)


def little_endian(name: str, array: Any) -> tuple[str, Array]:
    """What every writer does first: -> (dtype in letters, the array in that dtype, little-endian, strides as they are).

    Raises InputError for a dtype that there are no letters for.
    """
    array = np.asarray(array)
    stored = array.dtype.newbyteorder("<")
    if stored not in _LETTERS:
        raise InputError(
            f"tensor {quote(name)}: dtype: expected one of {', '.join(_LETTERS.values())}, got {array.dtype}"
        )
    return _LETTERS[stored], array.astype(stored, copy=False)


def decode(raw: memoryview | bytes, dtype: str, shape: tuple[int, ...], where: str, big_endian: bool = False) -> Array:
    """The array that `raw`, exactly its bytes in C order, stands for; as `Weights.read` promises."""
    stored = DTYPES[dtype].newbyteorder(">") if big_endian else DTYPES[dtype]
    array: Array = np.ndarray(shape, stored, raw)
    if dtype == "BF16":
        bits = array.astype(np.uint32)
        bits <<= np.uint32(16)  # in place and typed: NumPy 1 would widen a 0-dimensional array to int64
        array = bits.view(np.float32)
    elif dtype == "BOOL" and (array.view(np.uint8) > 1).any():
        raise LoadError(f"{where}: BOOL: expected bytes 0 and 1, got others")
    array = np.require(array, array.dtype.newbyteorder("="), ["C", "A"])
    array.flags.writeable = False
    return array
