"""Damaged Flax files: odd values in sound MessagePack, damaged arrays of the right length, and damaged bytes."""

from __future__ import annotations

import random
from collections import Counter
from pathlib import Path
from typing import Any

import msgpack

from minibert.formats.opening import open_weights
from tests.formats.fuzzing import survives

DTYPES = ["float32", "float16", "bfloat16", "int64", "bool", "uint8", "complex64"]
ODD: list[Any] = [
    None, True, 0, -1, 2, 2**31, 2**63, 2**64 - 1, 1.5, "", "x", "x" * 300, b"", b"x" * 24, [], [2, 3], [[2]], {},
    {"0": 6}, "float32", "object", msgpack.ExtType(4, b"x"), msgpack.ExtType(1, b""), msgpack.Timestamp(1),
]  # fmt: skip


def by_byte(rng: random.Random, content: bytes) -> bytes:
    """A few bytes changed, removed, doubled or moved, or the end cut off."""
    changed = bytearray(content)
    for _ in range(rng.choice([1, 1, 2, 5])):
        at = rng.randrange(len(changed) + 1)
        end = at + rng.choice([0, 1, 1, 2, 4])
        head = bytes([rng.choice([0x80, 0x81, 0xC0, 0xC1, 0xC4, 0xC6, 0xC7, 0xC9, 0xD4, 0xDB, 0xDC, 0xDD, 0xDE, 0xDF])])
        changed[at:end] = rng.choice([b"", head, rng.randbytes(1), b"\xff" * (end - at), changed[end : 2 * end - at]])
    return bytes(changed[: rng.randrange(len(changed) + 1)] if rng.random() < 0.1 else changed)


def array(rng: random.Random, is_odd: bool, flat: bool = False) -> msgpack.ExtType:
    """An array; if odd, one of its fields is, or its bytes are damaged under the right length."""
    dtype, itemsize = rng.choice([("float32", 4), ("int16", 2), ("bfloat16", 2), ("bool", 1), ("complex64", 8)])
    shape = [rng.randrange(5) for _ in range(1 if flat else rng.randrange(4))]
    size = itemsize
    for n in shape:
        size *= n
    fields: list[Any] = [shape, dtype, bytes(size)]
    kind = rng.randrange(5) if is_odd else -1
    if kind == 0:
        fields[rng.randrange(3)] = rng.choice(ODD)
    elif kind == 1:
        fields[0] = [*shape, rng.choice(ODD)]
    elif kind == 2:
        fields[1] = rng.choice(DTYPES)
    elif kind == 3:
        fields = rng.choice([fields[:2], [*fields, 1], [], fields[::-1]])
    payload = msgpack.packb(fields)
    return msgpack.ExtType(1 if rng.random() < 0.9 else 3, by_byte(rng, payload) if kind == 4 else payload)


def chunked(rng: random.Random, is_odd: bool) -> dict[Any, Any]:
    count = rng.randrange(1, 4)
    piece = msgpack.ExtType(1, msgpack.packb([[4], "float32", bytes(16)]))
    chunks: dict[Any, Any] = {str(i): piece for i in range(count)}
    shape: dict[Any, Any] = {"0": 2, "1": count, "2": 2}
    value: dict[Any, Any] = {"__msgpack_chunked_array__": True, "shape": shape, "chunks": chunks}
    if is_odd:
        part = rng.choice([shape, chunks, value])
        key = rng.choice([*part])
        kind = rng.randrange(3)
        if kind == 0:
            part[key] = rng.choice([*ODD, array(rng, False), array(rng, False, flat=True)])
        elif kind == 1:
            del part[key]
        else:
            part[rng.choice(["0", "7", "shape", "x/y", 0])] = part[key]
    return value


def tree(rng: random.Random, depth: int, odd: float) -> dict[Any, Any]:
    """A map of arrays and maps; each thing is odd with the probability `odd`."""
    fields: dict[Any, Any] = {}
    for i in range(rng.randrange(1, 4)):
        key: Any = f"k{i}" if rng.random() >= odd else rng.choice(["a/b", "", "é", 1, b"k", None, "x" * 5000, "shape"])
        kind = rng.random()
        if kind < odd:
            fields[key] = rng.choice(ODD)
        elif kind < 0.3 and depth < 3:
            fields[key] = tree(rng, depth + 1, odd)
        elif kind < 0.5:
            fields[key] = chunked(rng, rng.random() < odd)
        else:
            fields[key] = array(rng, rng.random() < odd)
    return fields


def damaged(rng: random.Random) -> bytes:
    """The content of one damaged file."""
    if rng.random() < 0.6:
        return msgpack.packb(tree(rng, 0, 0.1))
    if rng.random() < 0.05:
        return rng.choice([b"\x81\xa1k", b"\x91", b"\x81\xa1k\xc7\x09\x01\x93"]) * rng.randrange(1, 3000)
    return by_byte(rng, msgpack.packb(tree(rng, 0, 0)))


def test_damaged_files_are_read_or_refused(tmp_path: Path, fuzz_cases: int) -> None:
    rng = random.Random(0)
    outcomes: Counter[str] = Counter()
    for _ in range(fuzz_cases):
        content = b"\x81\xa1r" + damaged(rng)  # always seen as MessagePack
        outcomes[survives(open_weights, tmp_path / "a.msgpack", {"a.msgpack": content})] += 1
    assert outcomes["read"] > fuzz_cases / 5
    assert outcomes["refused"] > fuzz_cases / 5
