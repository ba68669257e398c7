"""Damaged .npz and .npy files: most have a sound archive around a damaged array, so that the array is looked at."""

from __future__ import annotations

import io
import math
import random
import struct
import zipfile
import zlib
from collections import Counter
from pathlib import Path

import numpy as np

from minibert.formats.opening import open_weights
from tests.formats.fuzzing import survives

DESCRS = ["<f4", ">f8", "|b1", "<f2", "|u1", "<i8", ">c8", "<f16", "|O", "<U2", "|S3", "<M8[s]", "|V2", "=f4", "f4", ""]
SHAPES = [
    "()", "(3,)", "(2, 3)", "(0, 7)", "(6L,)", "(-1, 6)", "(2.0,)", "3", "[3]", "(3,,)", "(True,)", "(1e3,)",
    f"({2**31},)", f"({2**63},)", f"({2**70},)", f"({2**40}, {2**40})", f"({2**40}, 0, {2**40})", "(" + "1," * 33 + ")",
    "(" + "9" * 60 + ",)", "(3,)" * 2, "((3,),)", "(",
]  # fmt: skip


def array(rng: random.Random) -> bytes:
    """A sound .npy file."""
    made = np.frombuffer(rng.randbytes(48), rng.choice(["<f4", ">f8", "<i2", "|u1"]))
    made = made.reshape(rng.choice([(-1,), (2, -1), (1, 3, -1)]))
    file = io.BytesIO()
    np.lib.format.write_array(file, made.copy(rng.choice("CF")), rng.choice([(1, 0), (2, 0), (3, 0)]))
    return file.getvalue()


def by_field(rng: random.Random) -> bytes:
    """A header of odd values, mostly of the length that it names, and the number of bytes that it asks for."""
    descr, shape = rng.choice(DESCRS), rng.choice(SHAPES[: rng.choice([4, len(SHAPES)])])
    quoted = rng.choice([repr(descr)] * 8 + [f"[('a', {descr!r})]", f"({descr!r},)", "None"])
    text = f"{{'descr': {quoted}, 'fortran_order': {rng.choice(['True', 'False', 'False', '1'])}, 'shape': {shape}, }}"
    if rng.random() < 0.1:
        text = text.replace(rng.choice([*text]), rng.choice("{}(),' x"), 1)
    try:
        size = np.dtype(descr).itemsize * math.prod(int(n) for n in shape.strip("()").split(",") if n.strip())
    except (TypeError, ValueError):
        size = 24
    data = bytes(min(max(size, 0), 2**12))
    length = len(text) if rng.random() < 0.9 else rng.choice([0, 1, 2**15, 2**16 - 1])
    return b"\x93NUMPY\x01\x00" + length.to_bytes(2, "little") + text.encode() + data


def by_byte(rng: random.Random, content: bytes) -> bytes:
    """A few bytes changed, removed, doubled or moved, or the end cut off."""
    changed = bytearray(content)
    for _ in range(rng.choice([1, 1, 2, 5])):
        at = rng.randrange(len(changed) + 1) if len(changed) < 400 or rng.random() < 0.5 else rng.randrange(200)
        end = at + rng.choice([0, 1, 1, 2, 4, 8])
        filled = rng.choice([b"\0", b"\xff", rng.randbytes(1)]) * (end - at)
        changed[at:end] = rng.choice([b"", rng.randbytes(1), filled, filled, changed[end : 2 * end - at]])
    return bytes(changed[: rng.randrange(len(changed) + 1)] if rng.random() < 0.1 else changed)


def packed(rng: random.Random, members: dict[str, bytes]) -> bytes:
    """A sound archive, or one whose deflated bytes are damaged under a directory that is right."""
    method = rng.choice([zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", method) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return file.getvalue()


def damaged_deflate(rng: random.Random) -> bytes:
    content = array(rng)
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    stream = by_byte(rng, packer.compress(content) + packer.flush())
    size = rng.choice([len(content)] * 6 + [0, len(content) + 1, 2**31, 2**32 - 2])
    common = struct.pack("<5H3I2H", 20, 0, 8, 0, 33, zlib.crc32(content), len(stream), size, 5, 0)
    local, central = b"PK\3\4" + common + b"a.npy" + stream, b"PK\1\2\x14\0" + common + bytes(14) + b"a.npy"
    return local + central + b"PK\5\6" + struct.pack("<4H2IH", 0, 0, 1, 1, len(central), len(local), 0)


def damaged(rng: random.Random) -> tuple[str, bytes]:
    """The name and content of one damaged file."""
    kind = rng.randrange(6)
    if kind == 0:
        return "a.npy", by_byte(rng, array(rng))
    if kind == 1:
        return "a.npy", by_field(rng)
    if kind == 2:
        return "a.npz", damaged_deflate(rng)
    if kind == 3:
        return "a.npz", by_byte(rng, packed(rng, {"x/a.npy": array(rng), "b.npy": array(rng)}))
    bad = by_field(rng) if kind == 4 else by_byte(rng, array(rng))
    name = rng.choice(["b.npy"] * 6 + ["a.npy", "__metadata__.npy", "b", "../b.npy", "b.NPY"])
    return "a.npz", packed(rng, {"x/a.npy": array(rng), name: bad})


def test_damaged_files_are_read_or_refused(tmp_path: Path, fuzz_cases: int) -> None:
    rng = random.Random(0)
    outcomes: Counter[str] = Counter()
    for _ in range(fuzz_cases):
        name, content = damaged(rng)
        outcomes[survives(open_weights, tmp_path / name, {name: content})] += 1
    assert outcomes["read"] > fuzz_cases / 20
    assert outcomes["refused"] > fuzz_cases / 4
