"""Partitioned variables: one tensor in several pieces, cut along one axis.

The entry of the whole has no bytes of its own but a list of slices. Each slice has an entry under a key that names the
tensor and the slice so that the bytewise order of keys is the order of the numbers in them:

    key     = number 0 | text name | number of axes | signed start and signed length, an axis
    number  = how many bytes | the bytes, highest first, no zero in front
    text    = its UTF-8, 00 written as 00 ff | 00 01
    signed  = two's complement in n bytes, highest first, the first n bits flipped: 7 n bits are the number and its sign

so that these keys begin with 00, as no tensor's name does. A length of -1 is the whole axis.
"""

from __future__ import annotations

from itertools import pairwise
from typing import NamedTuple

from ...errors import LoadError
from ..files import quote
from ..weights import DTYPES
from .entries import WHOLE_AXIS, Entry, Extents

__all__ = ["SLICE_KEY", "Pieces", "find_pieces", "slice_key"]

SLICE_KEY = b"\0"  # what keys of slices begin with


class Pieces(NamedTuple):
    """The slices of a partitioned variable in order: joined along `axis` they are the whole."""

    axis: int
    entries: list[Entry]


def slice_key(name: str, extents: Extents) -> bytes:
    """The key of the slice `extents` of the tensor `name`."""
    text = name.encode().replace(b"\0", b"\0\xff") + b"\0\1"
    numbers = b"".join(_signed(start) + _signed(length) for start, length in extents)
    return _number(0) + text + _number(len(extents)) + numbers


def find_pieces(name: str, whole: Entry, slices: dict[bytes, Entry], where: str) -> Pieces:
    """Takes the slices of the tensor `name`, whose entry is `whole`, out of `slices`, all entries of slices by key.

    Raises LoadError that begins with `where` unless they are there, fit, and make up the whole, each part once.
    """
    if whole.dtype not in DTYPES:
        raise LoadError(f"{where}: slices: expected numbers, got {whole.dtype}")
    axis, ordered = _tile(whole, where)
    entries = []
    for extents, shape in ordered:
        entry = slices.pop(slice_key(name, extents), None)
        if entry is None:
            raise LoadError(f"{where}: slice {quote(extents)}: missing from the index")
        if (entry.dtype, entry.shape, entry.slices) != (whole.dtype, shape, ()):
            raise LoadError(
                f"{where}: slice {quote(extents)}: expected {whole.dtype} of shape {list(shape)} in one piece, "
                f"got {entry.dtype} of shape {list(entry.shape)}"
            )
        entries.append(entry)
    ranges = sorted((entry.shard, entry.offset, entry.size) for entry in entries)
    for (shard, offset, size), (next_shard, next_offset, _) in pairwise(ranges):
        if shard == next_shard and offset + size > next_offset:  # few bytes could stand for a huge array
            raise LoadError(f"{where}: slices: two share the bytes from {next_offset} on in shard {shard}")
    return Pieces(axis, entries)


def _tile(whole: Entry, where: str) -> tuple[int, list[tuple[Extents, tuple[int, ...]]]]:
    """The axis that is cut, and the slices with their shapes in its order."""
    slices = []
    cut = set()
    for extents in whole.slices:
        ranges = [
            (start, size if length == WHOLE_AXIS else length)
            for (start, length), size in zip(extents, whole.shape, strict=False)
        ]
        if len(extents) != len(whole.shape) or not all(
            start >= 0 and 0 <= length <= size - start
            for (start, length), size in zip(ranges, whole.shape, strict=True)
        ):
            raise LoadError(f"{where}: slice {quote(extents)}: expected a part of shape {list(whole.shape)}")
        cut |= {axis for axis, size in enumerate(whole.shape) if ranges[axis] != (0, size)}
        slices.append((ranges, extents))
    if len(cut) > 1:
        raise LoadError(f"{where}: slices: expected cuts along one axis, got cuts along axes {quote(sorted(cut))}")
    axis = max(cut, default=0)
    slices.sort(key=lambda part: part[0][axis : axis + 1])
    position, end = 0, whole.shape[axis] if whole.shape else 1
    for ranges, _ in slices:
        start, length = ranges[axis] if ranges else (0, 1)
        if start != position:
            what = "overlaps the slice before it" if start < position else "leaves a hole before it"
            raise LoadError(f"{where}: slices: expected one from {position} on axis {axis}, got {start}, which {what}")
        position += length
    if position != end:
        raise LoadError(f"{where}: slices: expected to reach {end} on axis {axis}, got {position}: the last is missing")
    return axis, [(extents, tuple(length for _, length in ranges)) for ranges, extents in slices]


def _number(value: int) -> bytes:
    digits = value.to_bytes((value.bit_length() + 7) // 8, "big")
    return bytes([len(digits)]) + digits


def _signed(value: int) -> bytes:
    size = (value if value >= 0 else ~value).bit_length() // 7 + 1
    ones = (1 << size) - 1 << 7 * size  # the first `size` of 8 * size bits
    return ((value & (1 << 8 * size) - 1) ^ ones).to_bytes(size, "big")
