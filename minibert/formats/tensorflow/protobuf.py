"""Protocol buffers, as much of their wire format as checkpoints need: https://protobuf.dev/programming-guides/encoding.

A message is a row of fields in any order, each a varint key, field number * 8 + wire type, and a value:

    wire type  0  varint: 7 bits a byte, lowest first, the high bit says that another follows; negative ones as 2^64 + n
               1  8 bytes
               2  varint length, and so many bytes: a text, bytes, or a message within
               5  4 bytes

Zeros and empty texts are left out. Fields that the reader does not know, by number and wire type, mean nothing to it.
"""

from __future__ import annotations

from typing import TypeVar

from ...errors import LoadError
from ..files import quote

__all__ = ["Message", "field", "fixed32_field", "read_varint", "write_varint"]

FIELD_LIMIT = 2**16  # a message; Python objects take far more memory than their fields

_VARINT, _BYTES, _FOUR_BYTES = 0, 2, 5
_FIXED = {1: 8, _FOUR_BYTES: 4}
_Value = TypeVar("_Value", int, bytes)


def read_varint(data: bytes, position: int, where: str) -> tuple[int, int]:
    """The varint at `position`, and the position behind it.

    LoadError if it does not end, takes more than 64 bits, or, as no writer does, more bytes than it needs.
    """
    number = 0
    for shift in range(0, 70, 7):
        if position >= len(data):
            raise LoadError(f"{where}: varint: cut off at the end of {len(data)} bytes")
        byte = data[position]
        position += 1
        number |= (byte & 127) << shift
        if byte < 128:
            if number >= 2**64 or (shift and not byte):
                break
            return number, position
    raise LoadError(f"{where}: varint: expected at most 64 bits in as few bytes as can be, got more")


def write_varint(number: int) -> bytes:
    """The varint of `number`, 0 or more."""
    output = bytearray()
    while number > 127:
        output.append(number & 127 | 128)
        number >>= 7
    output.append(number)
    return bytes(output)


def field(number: int, value: int | bytes) -> bytes:
    """The field `number` of `value`: a varint, left out if 0, or bytes, never left out."""
    if isinstance(value, int):
        return write_varint(number << 3) + write_varint(value) if value else b""
    return write_varint(number << 3 | 2) + write_varint(len(value)) + value


def fixed32_field(number: int, value: int) -> bytes:
    """The field `number` of `value` in 4 bytes, left out if 0."""
    return write_varint(number << 3 | 5) + value.to_bytes(4, "little") if value else b""


class Message:
    """The fields of a message, to be asked for by number. What is not there is 0 or empty."""

    def __init__(self, data: bytes, where: str) -> None:
        """Takes `data` apart. Raises LoadError that begins with `where` if it cannot be."""
        self._where = where
        self._numbers: dict[tuple[int, int], list[int]] = {}  # by field number and wire type
        self._contents: dict[int, list[bytes]] = {}
        position = count = 0
        while position < len(data):
            count += 1
            if count > FIELD_LIMIT:
                raise LoadError(f"{where}: expected at most {FIELD_LIMIT} fields, got more")
            key, position = read_varint(data, position, where)
            number, wire_type = key >> 3, key & 7
            if wire_type == _VARINT:
                value, position = read_varint(data, position, where)
                self._numbers.setdefault((number, wire_type), []).append(value - (value >> 63 << 64))
                continue
            if wire_type == _BYTES:
                length, position = read_varint(data, position, where)
            elif wire_type in _FIXED:
                length = _FIXED[wire_type]
            else:
                raise LoadError(f"{where}: field {number}: wire type: expected 0, 1, 2 or 5, got {wire_type}")
            if length > len(data) - position:
                raise LoadError(f"{where}: field {number}: expected {length} bytes, {len(data) - position} are left")
            content = data[position : position + length]
            position += length
            if wire_type == _BYTES:
                self._contents.setdefault(number, []).append(content)
            else:
                self._numbers.setdefault((number, wire_type), []).append(int.from_bytes(content, "little"))

    def __contains__(self, number: int) -> bool:
        """Whether field `number` is there as a varint, or as bytes, into which several may be packed."""
        return (number, _VARINT) in self._numbers or number in self._contents

    def integer(self, number: int) -> int:
        """The varint `number`, as a signed 64-bit integer."""
        return self._only(number, self._numbers.get((number, _VARINT), [0]))

    def fixed32(self, number: int) -> int:
        """The 4 bytes `number`, as an unsigned integer."""
        return self._only(number, self._numbers.get((number, _FOUR_BYTES), [0]))

    def content(self, number: int) -> bytes:
        """The bytes `number`."""
        return self._only(number, self._contents.get(number, [b""]))

    def contents(self, number: int) -> list[bytes]:
        """The bytes of every field `number`, in order."""
        return self._contents.get(number, [])

    def text(self, number: int) -> str:
        """The text `number`."""
        try:
            return self.content(number).decode()
        except UnicodeDecodeError as error:
            raise LoadError(f"{self._where}: field {number}: expected UTF-8, got {quote(error.object)}") from None

    def _only(self, number: int, values: list[_Value]) -> _Value:
        if len(values) > 1:  # the format lets the last one count; no writer repeats them, and readers might differ
            raise LoadError(f"{self._where}: field {number}: expected once, got {len(values)} times")
        return values[0]
