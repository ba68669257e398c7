"""The sorted table that the .index of a TensorFlow checkpoint is: keys and values, as LevelDB lays them out.

    data block ... | metaindex block | index block | footer
    block on disk = contents | type: 0 as they are, 1 Snappy | u32 masked CRC32C of contents and type, as stored
    contents      = entry ... | u32 restart ... | u32 number of restarts
    entry         = varint shared | varint rest | varint length of value | rest of the key | value
    footer        = handles of metaindex and index, zeros up to byte 40 | magic        (48 bytes)
    handle        = varint offset | varint size of contents

A key is the first `shared` bytes of the key before it, and its own rest. Keys ascend, bytewise, all through the table.
At restarts, offsets in the block, nothing is shared, so that readers can search from there. The index block has an
entry a data block: a key not below its last and below the next block's first, and its handle. TensorFlow leaves the
metaindex empty. Integers are little-endian.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from itertools import pairwise
from typing import NamedTuple

from ...errors import LoadError
from ..files import quote
from ..mapped import MappedFile
from .checksum import crc32c, mask, unmask
from .protobuf import read_varint, write_varint
from .snappy import decompress

__all__ = ["MAGIC", "format_table", "read_table"]

MAGIC = bytes.fromhex("57fb808b247547db")
FOOTER_SIZE = 48
TRAILER_SIZE = 5  # type and checksum of a block

# More than any model has, so that a small file cannot stand for a huge table: Python objects are large, and neighbours
# share most of their keys. TensorFlow's blocks are 256 KiB.
ENTRY_LIMIT = 2**16
TABLE_LIMIT = 2**22  # bytes of all keys and values together; BERT-large with Adam takes 200 000
BLOCK_LIMIT = 2**23  # bytes of a block, stored and decompressed

BLOCK_SIZE = 2**18  # bytes after which TensorFlow begins the next block
RESTART_INTERVAL = 16

_DAMAGED = "the file is damaged or cut off: download or copy it again"


class _Handle(NamedTuple):
    """Where the contents of a block lie in the file."""

    offset: int
    size: int

    @property
    def end(self) -> int:
        return self.offset + self.size + TRAILER_SIZE


def read_table(file: MappedFile) -> Iterator[tuple[bytes, bytes]]:
    """The keys and values of the table that `file` is, in order, read a block at a time.

    Raises LoadError that begins with its path, on the way, if it is malformed or larger than any index.
    """
    where = f"{file.path}: index block"
    metaindex, index = _read_footer(file)
    separators = list(_in_order(_entries(_read_block(file, index, where), where), where))
    handles = [_whole_handle(value, f"{where}: entry {quote(key)}") for key, value in separators]
    for block, following in pairwise([*handles, metaindex, index]):
        if block.end > following.offset:
            raise LoadError(
                f"{file.path}: block at {block.offset}: ends at {block.end}, the next one begins at {following.offset}"
            )
    _read_block(file, metaindex, f"{file.path}: metaindex block")
    blocks = [(key, handle) for (key, _), handle in zip(separators, handles, strict=True)]
    yield from _in_order(_data_entries(file, blocks), str(file.path))


def _read_footer(file: MappedFile) -> tuple[_Handle, _Handle]:
    where = f"{file.path}: footer"
    if file.size < FOOTER_SIZE:
        raise LoadError(f"{where}: expected {FOOTER_SIZE} bytes, got a file of {file.size}", _DAMAGED)
    footer = bytes(file.window(file.size - FOOTER_SIZE, FOOTER_SIZE))
    if not footer.endswith(MAGIC):
        raise LoadError(
            f"{where}: expected a file that ends with {MAGIC.hex(' ')}, got {footer[-8:].hex(' ')}",
            f"the file begins with {quote(bytes(file.window(0, 16)))}: it is cut off, or no TensorFlow index",
        )
    metaindex, position = _read_handle(footer, 0, where)
    index, position = _read_handle(footer, position, where)
    if footer[position:-8].strip(b"\0") or position > FOOTER_SIZE - 8:
        raise LoadError(f"{where}: expected zeros between the handles and the magic, got {quote(footer[position:-8])}")
    return metaindex, index


def _read_handle(data: bytes, position: int, where: str) -> tuple[_Handle, int]:
    offset, position = read_varint(data, position, where)
    size, position = read_varint(data, position, where)
    return _Handle(offset, size), position


def _whole_handle(value: bytes, where: str) -> _Handle:
    handle, position = _read_handle(value, 0, where)
    if position != len(value):
        raise LoadError(f"{where}: expected a block handle, got {len(value) - position} bytes more")
    return handle


def _read_block(file: MappedFile, handle: _Handle, where: str) -> bytes:
    """The contents of a block, decompressed, after its checksum was found right."""
    if handle.end > file.size - FOOTER_SIZE:
        raise LoadError(
            f"{where}: expected to end before the footer at {file.size - FOOTER_SIZE}, "
            f"got offset {handle.offset} and size {handle.size}",
            _DAMAGED,
        )
    if handle.size > BLOCK_LIMIT:
        raise LoadError(f"{where}: expected at most {BLOCK_LIMIT} bytes, got a size of {handle.size}")
    stored = bytes(file.window(handle.offset, handle.size + TRAILER_SIZE))
    contents, compression = stored[:-TRAILER_SIZE], stored[-TRAILER_SIZE]
    expected, got = unmask(int.from_bytes(stored[-4:], "little")), crc32c(stored[:-4])
    if expected != got:
        raise LoadError(f"{where}: checksum (CRC32C): expected {expected:#010x}, got {got:#010x}", _DAMAGED)
    if compression == 1:
        return decompress(contents, BLOCK_LIMIT, where)
    if compression:
        name = "2, which is Zstandard," if compression == 2 else str(compression)
        raise LoadError(f"{where}: compression: expected 0 (none) or 1 (Snappy), got {name} which is not read")
    return contents


def _entries(block: bytes, where: str) -> Iterator[tuple[bytes, bytes]]:
    """The keys and values in the contents of a block; the restarts must be entries, the first one too."""
    count = int.from_bytes(block[-4:], "little")
    end = len(block) - 4 - 4 * count
    if end < 0 or not 0 < count <= ENTRY_LIMIT:
        raise LoadError(f"{where}: restarts: expected 1 to {ENTRY_LIMIT} in {len(block)} bytes, got {count}")
    restarts, block = struct.unpack(f"<{count}I", block[end:-4]), block[:end]
    position, key, reached = 0, b"", 0
    while position < end:
        restarts_here = reached < count and restarts[reached] == position
        reached += restarts_here
        shared, position = read_varint(block, position, where)
        rest, position = read_varint(block, position, where)
        length, position = read_varint(block, position, where)
        if shared > (0 if restarts_here else len(key)) or rest + length > end - position:
            raise LoadError(
                f"{where}: entry: {shared} bytes shared with a key of {len(key)}, {rest} of its own and a value of "
                f"{length} cannot be, where {end - position} bytes are left"
            )
        key = key[:shared] + block[position : position + rest]
        position += rest + length
        yield key, block[position - length : position]
    if position != end or restarts[reached:] != (() if end else (0,)):
        raise LoadError(f"{where}: restarts: expected the offsets of entries, got {quote(restarts[reached:])}")


def _data_entries(file: MappedFile, blocks: list[tuple[bytes, _Handle]]) -> Iterator[tuple[bytes, bytes]]:
    before: bytes | None = None
    for separator, handle in blocks:
        where = f"{file.path}: data block at {handle.offset}"
        for key, value in _entries(_read_block(file, handle, where), where):
            if key > separator or (before is not None and key <= before):
                raise LoadError(
                    f"{where}: key {quote(key)}: expected above {quote(before)} and not above {quote(separator)}, "
                    "as the index block says"
                )
            yield key, value
        before = separator


def _in_order(entries: Iterable[tuple[bytes, bytes]], where: str) -> Iterator[tuple[bytes, bytes]]:
    """The same entries, unless keys do not ascend, or they take far more memory than a checkpoint's."""
    before: bytes | None = None
    size = 0
    for count, (key, value) in enumerate(entries):
        size += len(key) + len(value)
        if count >= ENTRY_LIMIT or size > TABLE_LIMIT:
            raise LoadError(
                f"{where}: expected at most {ENTRY_LIMIT} keys, of {TABLE_LIMIT} bytes with their values, got more"
            )
        if before is not None and key <= before:
            raise LoadError(f"{where}: key {quote(key)}: expected above the one before it, {quote(before)}")
        before = key
        yield key, value


def format_table(entries: Iterable[tuple[bytes, bytes]]) -> bytes:
    """The table of `entries`, whose keys ascend: byte for byte the one that TensorFlow writes."""
    output = bytearray()
    data, index = _BlockWriter(RESTART_INTERVAL), _BlockWriter(1)
    pending: tuple[bytes, bytes] | None = None  # the last key of a full block, and its handle
    last = b""
    for key, value in entries:
        if pending:
            index.add(_separator(pending[0], key), pending[1])
            pending = None
        data.add(key, value)
        last = key
        if data.size >= BLOCK_SIZE:
            pending, data = (key, _append_block(output, data)), _BlockWriter(RESTART_INTERVAL)
    if not pending:
        pending = last, _append_block(output, data)
    index.add(_successor(pending[0]), pending[1])
    handles = _append_block(output, _BlockWriter(1)) + _append_block(output, index)
    return bytes(output) + handles.ljust(FOOTER_SIZE - 8, b"\0") + MAGIC


class _BlockWriter:
    """The contents of a block, while entries are added."""

    def __init__(self, restart_interval: int) -> None:
        self._entries = bytearray()
        self._restarts = [0]
        self._interval = restart_interval
        self._count = 0
        self._key = b""

    @property
    def size(self) -> int:
        return len(self._entries) + 4 * len(self._restarts) + 4

    def add(self, key: bytes, value: bytes) -> None:
        shared = 0
        if self._count % self._interval:
            shared = _common(self._key, key)
        elif self._count:
            self._restarts.append(len(self._entries))
        self._entries += write_varint(shared) + write_varint(len(key) - shared) + write_varint(len(value))
        self._entries += key[shared:] + value
        self._key = key
        self._count += 1

    def contents(self) -> bytes:
        return bytes(self._entries) + struct.pack(f"<{len(self._restarts) + 1}I", *self._restarts, len(self._restarts))


def _append_block(output: bytearray, block: _BlockWriter) -> bytes:
    """Adds `block`, uncompressed, to `output`; its handle."""
    contents = block.contents()
    handle = write_varint(len(output)) + write_varint(len(contents))
    stored = contents + b"\0"
    output += stored + mask(crc32c(stored)).to_bytes(4, "little")
    return handle


def _common(one: bytes, other: bytes) -> int:
    """How many bytes `one` and `other` begin with in common."""
    return next((i for i, (a, b) in enumerate(zip(one, other)) if a != b), min(len(one), len(other)))  # noqa: B905


def _separator(last: bytes, first: bytes) -> bytes:
    """A short key from `last` on and below `first`."""
    common = _common(last, first)
    if common < len(last) and last[common] + 1 < first[common]:
        return last[:common] + bytes([last[common] + 1])
    return last


def _successor(last: bytes) -> bytes:
    """A short key from `last` on."""
    ones = len(last) - len(last.lstrip(b"\xff"))
    return last[:ones] + bytes([last[ones] + 1]) if ones < len(last) else last
