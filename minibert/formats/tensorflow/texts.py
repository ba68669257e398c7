"""Text tensors, n byte strings of any length, as bundles store them.

    varint length ... | masked CRC32C of the lengths | the bytes of all

The lengths go into checksums as 4 bytes each, or 8 where they do not fit, in the byte order of the bundle; the checksum
in the tensor's entry is over those, the stored checksum of the lengths, and the bytes. It is not that of the stored
bytes, as it is for numbers.
"""

from __future__ import annotations

from typing import Literal

from ...errors import LoadError
from .checksum import crc32c, mask
from .protobuf import read_varint

__all__ = ["decode_texts"]

TEXT_LIMIT = 2**20  # strings a tensor: Python objects take far more memory than a few bytes


def decode_texts(
    raw: bytes, count: int, checksum: int, byte_order: Literal["little", "big"], where: str
) -> list[bytes]:
    """The `count` byte strings in `raw`, all the bytes of a text tensor whose entry has `checksum`.

    Raises LoadError that begins with `where` if they are damaged, or more than any checkpoint holds.
    """
    if count > min(TEXT_LIMIT, len(raw)):
        raise LoadError(f"{where}: expected at most {TEXT_LIMIT} texts in {len(raw)} bytes, got {count}")
    lengths, position = [], 0
    for _ in range(count):
        length, position = read_varint(raw, position, where)
        lengths.append(length)
    start = position + 4
    if start + sum(lengths) != len(raw):
        raise LoadError(f"{where}: lengths of texts: expected {len(raw) - start} bytes together, got {sum(lengths)}")
    numbers = b"".join(length.to_bytes(4 if length < 2**32 else 8, byte_order) for length in lengths)
    of_lengths = crc32c(numbers)
    of_all = crc32c(memoryview(raw)[position:], of_lengths)
    if raw[position:start] != mask(of_lengths).to_bytes(4, byte_order) or of_all != checksum:
        raise LoadError(
            f"{where}: checksum (CRC32C): expected {checksum:#010x}, got {of_all:#010x}",
            "the file is damaged: download or copy it again",
        )
    texts = []
    for length in lengths:
        texts.append(raw[start : start + length])
        start += length
    return texts
