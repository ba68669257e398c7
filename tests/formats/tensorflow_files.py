"""TensorFlow checkpoints put together byte by byte from the description of the format, the wrong ones too.

Nothing here is minibert's own writer: what both agree on, two programs wrote.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np

MAGIC = 0xDB4775248B80FB57
DTYPES = {
    "<f4": 1, "<f8": 2, "<i4": 3, "|u1": 4, "<i2": 5, "|i1": 6, "<c8": 8, "<i8": 9, "|b1": 10, "<u2": 17, "<f2": 19,
    "<u4": 22, "<u8": 23,
}  # fmt: skip
TEXT, BF16 = 7, 14
VARIABLE = "/.ATTRIBUTES/VARIABLE_VALUE"
GRAPH = "_CHECKPOINTABLE_OBJECT_GRAPH"

_TABLE = []
for _byte in range(256):
    for _ in range(8):
        _byte = _byte >> 1 ^ 0x82F63B78 * (_byte & 1)
    _TABLE.append(_byte)


def crc32c(data: bytes) -> int:
    crc = 0xFFFFFFFF
    for byte in data:
        crc = _TABLE[(crc ^ byte) & 255] ^ crc >> 8
    return crc ^ 0xFFFFFFFF


def masked(data: bytes) -> int:
    crc = crc32c(data)
    return ((crc >> 15 | crc << 17 & 0xFFFFFFFF) + 0xA282EAD8) % 2**32


def varint(number: int) -> bytes:
    number %= 2**64
    low, rest = number & 127, number >> 7
    return bytes([low | 128]) + varint(rest) if rest else bytes([low])


def field(number: int, value: int | bytes | str) -> bytes:
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    value = value.encode() if isinstance(value, str) else value
    return varint(number << 3 | 2) + varint(len(value)) + value


def header(shards: int = 1, big_endian: int = 0, version: bytes = field(1, 1)) -> bytes:
    return field(1, shards) + (field(2, big_endian) if big_endian else b"") + field(3, version)


def shape(sizes: Iterable[int]) -> bytes:
    return b"".join(field(2, field(1, size) if size else b"") for size in sizes)


def entry(
    dtype: int = 1,
    sizes: Iterable[int] | bytes = (),
    size: int = 0,
    checksum: int | None = None,
    *,
    shard: int = 0,
    offset: int = 0,
    slices: Iterable[Iterable[tuple[int, ...]]] = (),
) -> bytes:
    """sizes: the shape, or its message; slices: (start, length), or () for the whole axis, an axis."""
    message = field(1, dtype) + field(2, sizes if isinstance(sizes, bytes) else shape(sizes))
    for number, value in ((3, shard), (4, offset), (5, size)):
        message += field(number, value) if value else b""
    if checksum is not None:
        message += varint(6 << 3 | 5) + struct.pack("<I", checksum)
    for extents in slices:
        parts = (b"".join(field(i + 1, value) for i, value in enumerate(extent)) for extent in extents)
        message += field(7, b"".join(field(1, part) for part in parts))
    return message


def slice_key(name: str, extents: Iterable[tuple[int, int]]) -> bytes:
    """For numbers from -64 to 8191."""
    extents = list(extents)

    def signed(n: int) -> bytes:
        return bytes([0x80 ^ n & 0xFF]) if n < 64 else struct.pack(">H", 0xC000 ^ n)

    axes = bytes([1, len(extents)]) if extents else b"\0"
    return b"\0" + name.encode() + b"\0\1" + axes + b"".join(signed(n) for e in extents for n in e)


def block(entries: Iterable[tuple[bytes, bytes]], interval: int = 16, restarts: Sequence[int] | None = None) -> bytes:
    """The contents of a block; `restarts` in place of the right ones."""
    contents, starts, before = b"", [], b""
    for i, (key, value) in enumerate(entries):
        shared = 0
        if i % interval:
            while shared < min(len(before), len(key)) and before[shared] == key[shared]:
                shared += 1
        else:
            starts.append(len(contents))
        contents += varint(shared) + varint(len(key) - shared) + varint(len(value)) + key[shared:] + value
        before = key
    starts = list(restarts) if restarts is not None else starts or [0]
    return contents + struct.pack(f"<{len(starts) + 1}I", *starts, len(starts))


def stored(contents: bytes, compression: int = 0) -> bytes:
    """The block as it lies in the file, checksum right."""
    return contents + bytes([compression]) + struct.pack("<I", masked(contents + bytes([compression])))


def snappy(data: bytes) -> bytes:
    """A compressor: copies of 4 to 64 bytes where the last 2**16 bytes have them, else literals of at most 60 bytes."""
    output, literal, i = varint(len(data)), b"", 0
    while i < len(data):
        at = data.rfind(data[i : i + 4], max(0, i - 65535), i + 3) if i + 4 <= len(data) else -1
        length = 4
        while at >= 0 and length < 64 and i + length < len(data) and data[at + length] == data[i + length]:
            length += 1
        if at < 0:
            literal += data[i : i + 1]
            i += 1
        if literal and (at >= 0 or len(literal) == 60 or i == len(data)):
            output += bytes([len(literal) - 1 << 2]) + literal
            literal = b""
        if at >= 0:
            distance = i - at
            if length < 12 and distance < 2048:
                output += bytes([(distance >> 8) << 5 | length - 4 << 2 | 1, distance & 255])
            else:
                output += bytes([length - 1 << 2 | 2]) + struct.pack("<H", distance)
            i += length
    return output


def table(
    blocks: Iterable[bytes | Sequence[tuple[bytes, bytes]]],
    compression: int = 0,
    *,
    compress: Callable[[bytes], bytes] = snappy,
    **replaced: bytes,
) -> bytes:
    """A file of data blocks: entries, or (separator, contents); `index` or `footer` in place of the right ones."""
    output, handles = b"", []
    for part in blocks:
        separator, contents = part if isinstance(part, tuple) else (part[-1][0], block(part))
        contents = compress(contents) if compression == 1 else contents
        handles.append((separator, varint(len(output)) + varint(len(contents))))
        output += stored(contents, compression)
    footer = b""
    for contents in (block([]), replaced.get("index", block(handles, 1))):
        footer += varint(len(output)) + varint(len(contents))
        output += stored(contents)
    return output + replaced.get("footer", footer.ljust(40, b"\0") + struct.pack("<Q", MAGIC))


def texts(strings: Sequence[bytes], order: str = "<") -> tuple[bytes, int]:
    """The bytes of a text tensor and their checksum."""
    lengths = b"".join(struct.pack(f"{order}I", len(text)) for text in strings)
    check = struct.pack(f"{order}I", masked(lengths))
    body = b"".join(strings)
    return b"".join(map(varint, map(len, strings))) + check + body, masked(lengths + check + body)


def entries_and_data(tensors: Mapping[str, np.ndarray | list[bytes]]) -> tuple[list[tuple[bytes, bytes]], bytes]:
    """Entries of arrays and of lists of byte strings, one after another in one data file."""
    entries, data = [], b""
    for name, value in sorted(tensors.items(), key=lambda item: item[0].encode()):
        if isinstance(value, list):
            raw, checksum = texts(value)
            entries.append((name.encode(), entry(TEXT, [len(value)], len(raw), checksum, offset=len(data))))
        else:
            raw = value.tobytes()
            dtype = DTYPES[value.dtype.str]
            entries.append((name.encode(), entry(dtype, value.shape, len(raw), masked(raw), offset=len(data))))
        data += raw
    return entries, data


def graph(nodes: Iterable[Mapping[str, object]]) -> bytes:
    """A TrackableObjectGraph: nodes with children {name: node}, variable (full name, key), slots [node, ...]."""
    message = b""
    for node in nodes:
        parts = b""
        for name, number in node.get("children", {}).items():
            parts += field(1, field(1, number) + field(2, name))
        if "variable" in node:
            full_name, key = node["variable"]
            parts += field(2, field(1, "VARIABLE_VALUE") + field(2, full_name) + field(3, key))
        for number in node.get("slots", ()):
            parts += field(3, field(1, 0) + field(2, "m") + field(3, number))
        message += field(1, parts)
    return message


def write_bundle(
    folder: Path,
    entries: Sequence[tuple[bytes, bytes]],
    data: bytes | Sequence[bytes | None] = b"",
    first: bytes | None = None,
    name: str = "model.ckpt",
) -> Path:
    """Writes an index with a header (`first`), and data files, one a shard; the path of the index."""
    shards = [data] if isinstance(data, bytes) else data
    for i, content in enumerate(shards):
        if content is not None:
            (folder / f"{name}.data-{i:05}-of-{len(shards):05}").write_bytes(content)
    path = folder / f"{name}.index"
    path.write_bytes(table([[(b"", header(len(shards)) if first is None else first), *entries]]))
    return path
