"""Compresses the index of a TensorFlow checkpoint with Snappy, as TensorFlow before 1.2 did and published files have.

TensorFlow still reads such an index but writes none, so this one is made from the specification, with nothing but the
standard library: the data block is compressed, its checksum and the handles that point behind it are written anew.

    block = contents, 1 byte type (0 plain, 1 Snappy), 4 bytes masked CRC32C of contents and type
    index = data block, metaindex block, index block, footer
    footer = handles of the metaindex and the index block as varints (offset, size), zeros up to 40 bytes, magic
"""

from __future__ import annotations

MAGIC = bytes.fromhex("57fb808b247547db")
TRAILER = 5  # the type and the checksum


def compress_index(data: bytes) -> bytes:
    """The same table with its one data block compressed."""
    assert data[-8:] == MAGIC
    meta_offset, meta_size, index_offset, index_size = _varints(data[-48:-8], 4)
    meta, index = data[meta_offset : meta_offset + meta_size], data[index_offset : index_offset + index_size]
    shared, key_size, value_size = index[:3]  # one entry: a key not less than the last one, the block's handle
    handle = index[3 + key_size : 3 + key_size + value_size]
    offset, size = _varints(handle, 2)
    assert (shared, offset, size + TRAILER) == (0, 0, meta_offset), "expected one data block"

    packed = snappy(data[:size])
    new_handle = _varint(0) + _varint(len(packed))
    new_index = bytes([0, key_size, len(new_handle)]) + index[3 : 3 + key_size] + new_handle
    new_index += index[3 + key_size + value_size :]
    blocks = _block(packed, 1)
    footer = _varint(len(blocks)) + _varint(len(meta))
    blocks += _block(meta, 0)
    footer += _varint(len(blocks)) + _varint(len(new_index))
    return blocks + _block(new_index, 0) + footer.ljust(40, b"\0") + MAGIC


def snappy(data: bytes) -> bytes:
    """`data` as literals and copies of what came before: greedily, of the latest place with the same next 4 bytes.

    A tag ends in 00: literal; 01: copy of 4 to 11 bytes from at most 2047 back; 10: of 1 to 64 from at most 65535 back.
    """
    out = bytearray(_varint(len(data)))
    seen: dict[bytes, int] = {}
    literal = i = 0
    while i < len(data):
        start = seen.get(data[i : i + 4], -(2**16))
        seen[data[i : i + 4]] = i
        length, offset = 0, i - start
        while offset < 2**16 and length < 64 and i + length < len(data) and data[start + length] == data[i + length]:
            length += 1
        if length < 4:
            i += 1
            continue
        out += _literal(data[literal:i])
        if length < 12 and offset < 2048:
            out += bytes([1 | (length - 4) << 2 | offset >> 8 << 5, offset & 255])
        else:
            out += bytes([2 | (length - 1) << 2]) + offset.to_bytes(2, "little")
        literal = i = i + length
    return bytes(out + _literal(data[literal:]))


def _literal(data: bytes) -> bytes:
    size = len(data) - 1
    if size < 0:
        return b""
    if size < 60:
        return bytes([size << 2]) + data
    width = (size.bit_length() + 7) // 8
    return bytes([(59 + width) << 2]) + size.to_bytes(width, "little") + data


def _block(contents: bytes, kind: int) -> bytes:
    stored = contents + bytes([kind])
    crc = 0xFFFFFFFF
    for byte in stored:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    crc ^= 0xFFFFFFFF
    masked = ((crc >> 15 | crc << 17 & 0xFFFFFFFF) + 0xA282EAD8) & 0xFFFFFFFF
    return stored + masked.to_bytes(4, "little")


def _varint(number: int) -> bytes:
    out = bytearray()
    while number > 127:
        out.append(number & 127 | 128)
        number >>= 7
    return bytes(out + bytes([number]))


def _varints(data: bytes, count: int) -> list[int]:
    numbers, place = [], 0
    for _ in range(count):
        number = shift = 0
        while data[place] > 127:
            number |= (data[place] & 127) << shift
            place, shift = place + 1, shift + 7
        numbers.append(number | data[place] << shift)
        place += 1
    return numbers
