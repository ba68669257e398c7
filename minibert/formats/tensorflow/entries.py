"""What a bundle's table says: the header under the empty key, and an entry under the name of every tensor.

    header  1 number of shards | 2 byte order: 0 little, 1 big | 3 version {1 producer | 2 min_consumer | 3 not for}
    entry   1 dtype | 2 shape {2 dimension {1 size | 2 name} ... | 3 of unknown rank} | 3 shard | 4 offset | 5 size
            6 masked CRC32C of the stored bytes, in 4 bytes | 7 slice {1 extent {1 start | 2 length} ...} ...

Both are protobuf messages: numbers are those of the fields. An extent without a length is the whole axis.
"""

from __future__ import annotations

from typing import NamedTuple

from ...errors import LoadError
from ..weights import DTYPES, checked_nbytes
from .checksum import mask, unmask
from .protobuf import Message, field, fixed32_field

__all__ = ["WHOLE_AXIS", "Entry", "Extents", "Header", "format_entry", "format_header", "parse_entry", "parse_header"]

VERSION = 1  # of bundles: there has been no other
SHARD_LIMIT = 99_999  # names of data files have five digits
WHOLE_AXIS = -1  # the length in an extent without one

# TensorFlow's numbers of dtypes. Those not in weights.DTYPES go by TensorFlow's own names; they are listed, not read.
_DTYPES = {
    1: "F32", 2: "F64", 3: "I32", 4: "U8", 5: "I16", 6: "I8", 7: "TEXT", 8: "C64", 9: "I64", 10: "BOOL",
    11: "QINT8", 12: "QUINT8", 13: "QINT32", 14: "BF16", 15: "QINT16", 16: "QUINT16", 17: "U16", 18: "COMPLEX128",
    19: "F16", 20: "RESOURCE", 21: "VARIANT", 22: "U32", 23: "U64", 24: "FLOAT8_E5M2", 25: "FLOAT8_E4M3FN",
    26: "FLOAT8_E4M3FNUZ", 27: "FLOAT8_E4M3B11FNUZ", 28: "FLOAT8_E5M2FNUZ", 29: "INT4", 30: "UINT4", 31: "INT2",
    32: "UINT2", 33: "FLOAT4_E2M1FN",
}  # fmt: skip
_NUMBERS = {dtype: number for number, dtype in _DTYPES.items()}

Extents = tuple[tuple[int, int], ...]  # (start, length) an axis


class Header(NamedTuple):
    """What holds for the whole bundle."""

    shards: int
    big_endian: bool
    producer: int


class Entry(NamedTuple):
    """Where a tensor lies, or one slice of a partitioned variable; or, with `slices`, which slices it is made of."""

    dtype: str
    shape: tuple[int, ...]
    shard: int
    offset: int
    size: int
    checksum: int
    slices: tuple[Extents, ...] = ()


def parse_header(value: bytes, where: str) -> Header:
    """The header in `value`. LoadError that begins with `where` if it is malformed, or of a version not read."""
    message = Message(value, where)
    if message.contents(1):
        raise LoadError(
            f"{where}: expected a V2 checkpoint, got V1, a single file that TensorFlow wrote before 0.12",
            "load it with TensorFlow 1 and save it again: tf.train.Saver writes V2",
        )
    shards, byte_order = message.integer(1), message.integer(2)
    if not 1 <= shards <= SHARD_LIMIT:
        raise LoadError(f"{where}: number of shards: expected 1 to {SHARD_LIMIT}, got {shards}")
    if byte_order not in (0, 1):
        raise LoadError(f"{where}: byte order: expected 0 (little-endian) or 1 (big-endian), got {byte_order}")
    version = Message(message.content(3), f"{where}: version")
    producer, min_consumer = version.integer(1), version.integer(2)
    if producer > VERSION or min_consumer > VERSION or 3 in version:
        raise LoadError(
            f"{where}: version: expected a bundle of version {VERSION} for any reader, got version {producer} for "
            f"readers of version {min_consumer} or newer{', except some' * (3 in version)}",
            "save it as safetensors with the TensorFlow that wrote it",
        )
    return Header(shards, bool(byte_order), producer)


def parse_entry(value: bytes, shards: int, where: str) -> Entry:
    """The entry in `value`, of a bundle of `shards` shards.

    LoadError that begins with `where` if it is malformed, of an unknown dtype, or of a size other than its shape's.
    """
    message = Message(value, where)
    if (dtype := _DTYPES.get(message.integer(1))) is None:
        raise LoadError(f"{where}: dtype: expected TensorFlow's 1 to {max(_DTYPES)}, got {message.integer(1)}")
    shape, nbytes = _shape(message.content(2), dtype, where)
    slices = tuple(_extents(part, where) for part in message.contents(7))
    shard, offset, size = message.integer(3), message.integer(4), message.integer(5)
    if not 0 <= shard < shards:
        raise LoadError(f"{where}: shard: expected 0 to {shards - 1}, got {shard}")
    if offset < 0 or size < 0:
        raise LoadError(f"{where}: expected an offset and a size of 0 or more, got {offset} and {size}")
    if dtype in DTYPES and not slices and size != nbytes:
        raise LoadError(f"{where}: size: {dtype} of shape {list(shape)} takes {nbytes} bytes, got {size}")
    return Entry(dtype, shape, shard, offset, size, unmask(message.fixed32(6)), slices)


def format_header() -> bytes:
    """The header of a little-endian bundle of one shard."""
    return field(1, 1) + field(3, field(1, VERSION))


def format_entry(entry: Entry) -> bytes:
    """The protobuf message of `entry`, a tensor in one piece."""
    shape = b"".join(field(2, field(1, size)) for size in entry.shape)
    place = field(3, entry.shard) + field(4, entry.offset) + field(5, entry.size)
    return field(1, _NUMBERS[entry.dtype]) + field(2, shape) + place + fixed32_field(6, mask(entry.checksum))


def _shape(value: bytes, dtype: str, where: str) -> tuple[tuple[int, ...], int]:
    """The shape, and how many bytes it takes; for a dtype that DTYPES does not have, how many items."""
    message = Message(value, f"{where}: shape")
    if message.integer(3):
        raise LoadError(f"{where}: shape: expected sizes, got a shape of unknown rank")
    shape = [Message(dimension, f"{where}: shape").integer(1) for dimension in message.contents(2)]
    return tuple(shape), checked_nbytes(dtype if dtype in DTYPES else "U8", shape, where)


def _extents(value: bytes, where: str) -> Extents:
    extents = (Message(extent, f"{where}: slice") for extent in Message(value, f"{where}: slice").contents(1))
    return tuple((extent.integer(1), extent.integer(2) if 2 in extent else WHOLE_AXIS) for extent in extents)
