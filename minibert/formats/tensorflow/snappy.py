"""Snappy, the compression of some tables: https://github.com/google/snappy, format_description.txt.

    length of the output, a varint | elements
    element = tag byte, whose two low bits say what follows:
      0  literal: tag >> 2 is the length - 1, or, if 60 to 63, the length - 1 follows in 1 to 4 bytes; then the bytes
      1  copy of ((tag >> 2) & 7) + 4 bytes from (tag >> 5) * 256 + the next byte before the end of the output so far
      2  copy of (tag >> 2) + 1 bytes from as far back as the next 2 bytes say
      3  the same, next 4 bytes

A copy may reach into its own output: ten times "a" is the literal "a" and a copy of 9 bytes from 1 back.
"""

from __future__ import annotations

from ...errors import LoadError
from .protobuf import read_varint

__all__ = ["decompress"]


def decompress(data: bytes, limit: int, where: str) -> bytes:
    """What `data` stands for, at most `limit` bytes. LoadError that begins with `where` if it is damaged or larger."""
    length, position = read_varint(data, 0, where)
    if length > limit:
        raise LoadError(f"{where}: Snappy: expected at most {limit} bytes, got a length of {length}")
    output = bytearray()
    while position < len(data) and len(output) <= length:
        count, kind = data[position] >> 2, data[position] & 3
        extra = (max(0, count - 59), 1, 2, 4)[kind]  # bytes of a number behind the tag
        number = int.from_bytes(data[position + 1 : position + 1 + extra], "little")
        position += 1 + extra
        literal = 0 if kind else (number if extra else count) + 1
        if position + literal > len(data):
            raise LoadError(f"{where}: Snappy: cut off within an element, at the end of {len(data)} bytes")
        if kind == 0:
            output += data[position : position + literal]
        elif kind == 1:
            output += _copy(output, number | (count >> 3) << 8, (count & 7) + 4, where)
        else:
            output += _copy(output, number, count + 1, where)
        position += literal
    if len(output) != length:
        raise LoadError(
            f"{where}: Snappy: expected {length} bytes, got {len(output)}{' or more' * (position < len(data))}"
        )
    return bytes(output)


def _copy(output: bytearray, distance: int, count: int, where: str) -> bytes:
    """The `count` bytes that stand `distance` before the end of `output`, those that this very copy adds included."""
    if not 0 < distance <= len(output):
        raise LoadError(f"{where}: Snappy: copy from {distance} bytes back, after {len(output)} bytes")
    start = len(output) - distance
    piece = bytes(output[start : start + count])
    return (piece * (count // distance + 1))[:count]
