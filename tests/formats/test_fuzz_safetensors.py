"""Thousands of damaged files: each is read like the reference reads it, or is a LoadError, and quickly."""

from __future__ import annotations

import copy
import json
import random
import warnings
from collections.abc import Iterator
from itertools import islice

import numpy as np
from safetensors.numpy import load_file

from minibert.formats.safetensors import open_safetensors
from tests.formats.fuzzing import survives

HEADER = {
    "__metadata__": {"format": "pt"},
    "w": {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]},
    "h": {"dtype": "F16", "shape": [2], "data_offsets": [24, 28]},
    "s": {"dtype": "U8", "shape": [], "data_offsets": [28, 29]},
    "e": {"dtype": "I64", "shape": [0, 4], "data_offsets": [29, 29]},
    "b": {"dtype": "BOOL", "shape": [3], "data_offsets": [29, 32]},
}
DATA = bytes(range(29)) + b"\0\1\1"
VALUES = [
    None, True, False, 0, 1, -1, 2, 3, 24, 28, 29, 32, 33, 2**31, 2**32, 2**53 + 1, 2**63 - 1, 2**63, 2**64, 10**400,
    0.0, 24.0, 1e300, float("nan"), float("inf"), "", "F32", "f32", "BF16", "F64", "F8_E4M3", "U8", "\ud800",
    "x" * 1000, [], [0], [1], [24, 28], [0, 24], [2**32, 2**32], [1] * 70, {}, {"dtype": "F32"}, [[]], {"a": {"b": {}}},
]  # fmt: skip


def encode(header: object, data: bytes = DATA) -> bytes:
    text = (header if isinstance(header, str) else json.dumps(header)).encode()
    return len(text).to_bytes(8, "little") + text + data


def places(value: object, path: tuple = ()) -> Iterator[tuple]:
    """The path of every field of `value`, containers before their contents."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        yield (*path, key)
        yield from places(inner, (*path, key))


def by_field() -> Iterator[bytes]:
    """Every field replaced by every odd value, deleted, renamed and given twice."""
    for *path, key in places(HEADER):
        for value in (*VALUES, "DELETE", "RENAME"):
            header = copy.deepcopy(HEADER)
            inside = header
            for step in path:
                inside = inside[step]
            old = inside.pop(key)
            if value == "RENAME" and isinstance(inside, dict):
                inside["renamed"] = old
            elif value != "DELETE":
                inside[key] = value if isinstance(inside, dict) else inside.insert(key, value)
            yield encode(header)
        if isinstance(key, str):
            yield encode(json.dumps(HEADER).replace(f'"{key}":', f'"{key}": 1, "{key}":', 1))


def by_byte() -> Iterator[bytes]:
    """Every byte changed, removed, doubled; the file cut at every length."""
    whole = encode(HEADER)
    for i in range(len(whole)):
        for byte in (0, 0x20, 0x22, 0x2D, 0x39, 0x5C, 0x7B, 0xFF, whole[i] ^ 1):
            yield whole[:i] + bytes([byte]) + whole[i + 1 :]
        yield whole[:i]
        yield whole[:i] + whole[i + 1 :]
        yield whole[:i] + whole[i : i + 1] + whole[i:]


def by_chance() -> Iterator[bytes]:
    """Random cuts, swaps and insertions in the header, without end."""
    whole = encode(HEADER)
    rng = random.Random(0)
    while True:
        header, at = bytearray(whole[8 : -len(DATA)]), rng.randrange(len(whole) - 8 - len(DATA))
        end = at + rng.randrange(12)
        header[at:end] = rng.choice([b"", header[end : 2 * end - at], rng.randbytes(3), b"[", b"{}", b"1e9", b" " * 9])
        yield len(header).to_bytes(8, "little") + bytes(header) + DATA  # a length that fits: the header is reached


def test_fuzz_damaged_files_are_read_as_the_reference_does_or_refused(tmp_path, fuzz_cases):
    path = tmp_path / "model.safetensors"
    counts = {"read": 0, "refused": 0}
    systematic = [*by_field(), *by_byte()]
    stride = max(1, len(systematic) // fuzz_cases)
    cases = systematic[::stride] + list(islice(by_chance(), max(fuzz_cases, fuzz_cases - len(systematic))))
    for content in cases:
        outcome = survives(open_safetensors, path, {path.name: content})
        counts[outcome] += 1
        if outcome == "read":
            assert_as_the_library(path)
    assert len(cases) >= fuzz_cases
    assert counts["read"] > len(cases) // 50  # changed values and names are no damage to the format
    assert counts["refused"] > len(cases) // 2


def assert_as_the_library(path):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # leading white space
        file = open_safetensors(path)
    if any(info.dtype == "BF16" for info in file.tensors.values()):
        return
    library = load_file(path)
    assert library.keys() == file.tensors.keys()
    for name, expected in library.items():
        array = file.read(name)
        assert (array.dtype, array.shape) == (expected.dtype, expected.shape)
        assert np.array_equal(array.tobytes(), expected.tobytes())
