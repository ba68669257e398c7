"""Flax checkpoints (`flax_model.msgpack`): nested maps of arrays in MessagePack.

    file  = map of text -> map | array | other value
    array = ext type 1, of which the payload is MessagePack again: [shape, dtype name, bytes in C order]

NumPy scalars are the same under ext type 3, Python's complex numbers are ext type 2. An array of more than 2^30 bytes,
which an ext could not hold, is cut into {"__msgpack_chunked_array__": true, "shape": {"0": rows, "1": columns},
"chunks": {"0": array, "1": array, ...}}, flattened. The name of an array here is its path through the maps, joined
with "/". Values that are no arrays (a step count, a version) are left out and listed in `notes`.

The small things (map heads, keys, shapes, numbers) are decoded by the `msgpack` library, each from a window of a few
kilobytes and with all of its limits set. The library hands out an ext only whole, copied into its own buffer; so the
heads of ext and bytes are read here, and what they hold is not touched before `read`.
Formats: https://github.com/msgpack/msgpack/blob/master/spec.md and flax.serialization.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from ..errors import LoadError
from .files import quote
from .mapped import MappedFile
from .weights import DTYPES, RANK_LIMIT, Array, TensorInfo, Weights, checked_nbytes, decode

__all__ = ["FlaxFile", "open_msgpack"]

LETTERS = {dtype.name: letters for letters, dtype in DTYPES.items() if letters != "BF16"} | {"bfloat16": "BF16"}
DEPTH_LIMIT = 32
KEY_LIMIT = 2**15  # in all maps together; BERT-large has 600, and 400 arrays
SMALL = 4096  # bytes that a key, a shape or a number may take

_CHUNKED = "__msgpack_chunked_array__"
_ARRAY, _COMPLEX, _SCALAR = 1, 2, 3  # ext types
_FIXED_EXT = {0xD4: 1, 0xD5: 2, 0xD6: 4, 0xD7: 8, 0xD8: 16}  # first byte -> bytes of payload
_EXT = {0xC7: 1, 0xC8: 2, 0xC9: 4}  # first byte -> bytes that the length takes
_BIN = {0xC4: 1, 0xC5: 2, 0xC6: 4}
_CUT_OFF = "the file is cut off or damaged: download or copy it again"


class _Piece(NamedTuple):
    """An array, or one chunk of it: what it is and where its bytes begin."""

    info: TensorInfo
    offset: int


def open_msgpack(path: str | os.PathLike[str]) -> FlaxFile:
    """Opens the Flax checkpoint `path`, reading everything but the numbers.

    Raises NotFound if nothing is there, and LoadError naming the file and the place in the tree if it is malformed or
    holds a dtype that is not supported, or if the msgpack library is not installed.
    """
    return FlaxFile(Path(path))


class FlaxFile(Weights):
    """An open Flax checkpoint. Arrays are copies: MessagePack aligns nothing."""

    format = "Flax msgpack"

    def __init__(self, path: Path) -> None:
        self._file = MappedFile(path)
        self._pieces: dict[str, list[_Piece]] = {}
        self.paths, self.metadata, self.ties, self.notes = (path,), {}, {}, []
        self.tensors = {}
        others = []
        for name, found in _flatten(_Reader(self._file).tree(), "", str(path)):
            if isinstance(found, tuple):
                self.tensors[name], self._pieces[name] = found
            else:
                others.append(name)
        if others:
            self.notes.append(f"{len(others)} values are no arrays and were left out: {quote(others)}")

    def read(self, name: str) -> Array:
        """The tensor `name`; see `Weights.read`."""
        info = self._info(name)
        windows = [self._file.window(piece.offset, piece.info.nbytes) for piece in self._pieces[name]]
        raw = windows[0] if len(windows) == 1 else b"".join(windows)
        return decode(raw, info.dtype, info.shape, f"{self.paths[0]}: tensor {quote(name)}")


class _Reader:
    """Goes through the mapped file once, from the first byte to the last."""

    def __init__(self, file: MappedFile) -> None:
        try:
            self._msgpack: Any = importlib.import_module("msgpack")
        except ImportError:
            raise LoadError(
                f"{file.path}: reading Flax files needs the msgpack library",
                "install it: pip install 'minibert-numpy[convert]'",
            ) from None
        self._file, self._at, self._keys = file, 0, 0

    def tree(self) -> dict[str, object]:
        """The whole file: nested dicts of _Piece and other values."""
        tree = self._value(str(self._file.path), 0)
        if not isinstance(tree, dict):
            raise LoadError(f"{self._file.path}: expected a map of arrays, got {quote(tree)}")
        if self._at != self._file.size:
            extra = self._file.size - self._at
            raise LoadError(f"{self._file.path}: {extra} bytes follow the map that should be all of the file")
        return tree

    def _value(self, where: str, depth: int) -> object:
        first = self._number(1, where, ahead=True)
        if 0x80 <= first <= 0x8F or first in (0xDE, 0xDF):
            return self._map(where, depth)
        if first in _FIXED_EXT or first in _EXT:
            return self._ext(where)
        return self._small(where)

    def _map(self, where: str, depth: int) -> dict[str, object]:
        if depth == DEPTH_LIMIT:
            raise LoadError(f"{where}: maps nested more than {DEPTH_LIMIT} deep")
        size = self._small(where, "read_map_header")
        self._keys += size
        if self._keys > KEY_LIMIT or 2 * size > self._file.size - self._at:
            raise LoadError(f"{where}: a map of {size} keys, more than can be in {self._file.size} bytes", _CUT_OFF)
        fields: dict[str, object] = {}
        for _ in range(size):
            key = self._small(where)
            if not isinstance(key, str) or "/" in key:
                raise LoadError(f"{where}: expected keys that are texts without '/', got {quote(key)}")
            if key in fields:
                raise LoadError(f"{where}: key {quote(key)}: there twice")
            fields[key] = self._value(f"{where}: {quote(key)}" if depth == 0 else f"{where}/{quote(key)}", depth + 1)
        return fields

    def _ext(self, where: str) -> _Piece | complex:
        """An array, which stays where it is, or a complex number, of which nothing is needed."""
        first = self._number(1, where)
        length = _FIXED_EXT.get(first) or self._number(_EXT[first], where)
        code = self._number(1, where)
        end = self._at + length
        if end > self._file.size:
            raise LoadError(f"{where}: {end - self._file.size} of {length} bytes are missing", _CUT_OFF)
        if code == _COMPLEX:
            self._at = end
            return 0j
        if code not in (_ARRAY, _SCALAR):
            raise LoadError(f"{where}: expected an array (ext type 1, 2 or 3), got ext type {code}")
        if (fields := self._small(where, "read_array_header", array=3)) != 3:
            raise LoadError(f"{where}: expected shape, dtype and bytes, got an array of {fields}")
        shape, dtype = self._small(where, array=RANK_LIMIT), self._small(where)
        if not isinstance(dtype, str) or dtype not in LETTERS:
            raise LoadError(f"{where}: dtype: expected one of {', '.join(LETTERS)}, got {quote(dtype)}")
        first = self._number(1, where)
        nbytes = self._number(_BIN[first], where) if first in _BIN else None
        if nbytes is None or self._at + nbytes != end:
            raise LoadError(f"{where}: expected bytes up to the end of the array of {length} bytes, got {nbytes}")
        expected = checked_nbytes(LETTERS[dtype], shape, where)
        if nbytes != expected:
            raise LoadError(f"{where}: {dtype} of shape {quote(shape)} takes {expected} bytes, got {nbytes}")
        piece = _Piece(TensorInfo(LETTERS[dtype], tuple(shape), nbytes), self._at)
        self._at = end
        return piece

    def _number(self, nbytes: int, where: str, ahead: bool = False) -> int:
        """The next `nbytes` bytes as an unsigned integer."""
        if self._at + nbytes > self._file.size:
            raise LoadError(f"{where}: the file ends at {self._file.size} bytes, before this", _CUT_OFF)
        number = int.from_bytes(self._file.window(self._at, nbytes), "big")
        self._at += 0 if ahead else nbytes
        return number

    def _small(self, where: str, method: str = "unpack", array: int = 0) -> Any:
        """The next object, or head of a map or an array, by the library; of at most SMALL bytes and `array` items."""
        window = self._file.window(self._at, min(SMALL, self._file.size - self._at))
        unpacker = self._msgpack.Unpacker(
            max_buffer_size=SMALL, max_str_len=SMALL, max_bin_len=SMALL, max_array_len=array, max_map_len=0,
            max_ext_len=0, strict_map_key=True,
        )  # fmt: skip
        unpacker.feed(window)
        try:
            found = getattr(unpacker, method)()
        except self._msgpack.OutOfData:
            what = (
                f"a key or value takes more than {SMALL} bytes" if len(window) == SMALL else "the file ends too early"
            )
            raise LoadError(f"{where}: at byte {self._at}: {what}", _CUT_OFF) from None
        except ValueError as error:  # of which FormatError, StackError and UnicodeDecodeError are some
            problem = str(error) or type(error).__name__
            raise LoadError(f"{where}: at byte {self._at}: malformed: {problem}") from None
        self._at += unpacker.tell()
        return found


def _flatten(
    tree: dict[str, object], prefix: str, where: str
) -> Iterator[tuple[str, tuple[TensorInfo, list[_Piece]] | None]]:
    """Every leaf under its name: an array and its pieces, or None for another value."""
    for key, value in tree.items():
        name = f"{prefix}{key}"
        if isinstance(value, _Piece):
            yield name, (value.info, [value])
        elif isinstance(value, dict) and _CHUNKED in value:
            yield name, _joined(value, f"{where}: {quote(name)}")
        elif isinstance(value, dict):
            yield from _flatten(value, f"{name}/", where)
        else:
            yield name, None


def _joined(value: dict[str, object], where: str) -> tuple[TensorInfo, list[_Piece]]:
    """The array that was cut into chunks."""
    if value.keys() != {_CHUNKED, "shape", "chunks"}:
        raise LoadError(f"{where}: expected shape and chunks of a chunked array, got {quote(sorted(value))}")
    shape, chunks = (_numbered(value[key], f"{where}: {key}") for key in ("shape", "chunks"))
    pieces = [chunk for chunk in chunks if isinstance(chunk, _Piece) and len(chunk.info.shape) == 1]
    if not chunks or len(pieces) != len(chunks) or len({piece.info.dtype for piece in pieces}) != 1:
        raise LoadError(f"{where}: chunks: expected arrays of one dtype and one dimension")
    dtype, nbytes = pieces[0].info.dtype, sum(piece.info.nbytes for piece in pieces)
    expected = checked_nbytes(dtype, shape, where)
    if nbytes != expected:
        raise LoadError(f"{where}: {dtype} of shape {quote(shape)} takes {expected} bytes, got {nbytes} in chunks")
    return TensorInfo(dtype, tuple(shape), expected), pieces


def _numbered(fields: object, where: str) -> list[Any]:
    """The values of {"0": ..., "1": ..., ...} in the order of their numbers."""
    if not isinstance(fields, dict) or fields.keys() != {str(i) for i in range(len(fields))}:
        raise LoadError(f"{where}: expected a map from '0', '1', ..., got {quote(fields)}")
    return [fields[str(i)] for i in range(len(fields))]
