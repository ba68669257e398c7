"""Thousands of damaged TensorFlow checkpoints, whose checksums are mostly right: read, or refused, quickly.

A checkpoint is kept as its parts (header, entries as lists of fields, the bytes of tensors). Each case changes one to
three of them, puts the files together again with checksums that fit, and then, in some cases, damages the bytes of a
block under a right checksum, or of the files as they are.
"""

from __future__ import annotations

import copy
import random
import struct
from pathlib import Path

import numpy as np

from minibert.formats.tensorflow.bundle import Bundle, open_bundle
from tests.formats import tensorflow_files as tf
from tests.formats.fuzzing import survives

NUMBERS = [
    0,
    1,
    2,
    3,
    4,
    7,
    8,
    24,
    63,
    127,
    128,
    255,
    2**16,
    2**31 - 1,
    2**31,
    2**32,
    2**53,
    2**62,
    2**63 - 1,
    -1,
    -2,
    -(2**63),
]
NAME = "model.ckpt"
PIECES = np.arange(12, dtype="<f4").reshape(6, 2)
GRAPH = tf.graph([{"children": {"a": 1, "_variables": 0, "_iterations": 1}}, {"variable": ("full", "h"), "slots": [1]}])


class Checkpoint:
    """header: [(field, value)]; entries: [[key, {field: value}, raw bytes]]; shape and slices are lists of numbers."""

    def __init__(self) -> None:
        self.shards = 2
        self.header: list[tuple[int, object]] = [(1, 2), (3, tf.field(1, 1))]
        self.entries: list[list] = []
        for name, array in (
            ("b", np.array([True, False, True])),
            ("e", np.zeros((0, 4), "<i8")),
            ("h", np.float16([1, 2, 3, 4])),
            ("w", np.arange(6, dtype="<f4").reshape(2, 3)),
        ):
            self.add(name.encode(), tf.DTYPES[array.dtype.str], array.shape, array.tobytes())
        self.add(b"s", tf.DTYPES["<i8"], (), bytes(8))
        self.add(b"bf", tf.BF16, (2,), b"\0\0\x80?")
        self.add(b"t", tf.TEXT, (3,), tf.texts([b"ab", b"", b"c" * 200])[0])
        self.add(tf.GRAPH.encode(), tf.TEXT, (), tf.texts([GRAPH])[0])
        places = [((0, 4), (0, -1)), ((4, 2), (0, -1))]
        for place, rows in zip(places, (PIECES[:4], PIECES[4:]), strict=True):
            self.add(tf.slice_key("p", place), 1, rows.shape, rows.tobytes())
        self.add(b"p", 1, PIECES.shape, b"")
        self.entries[-1][1][7] = [[(0, 4), ()], [(4, 2), ()]]

    def add(self, key: bytes, dtype: int, shape: tuple[int, ...], raw: bytes) -> None:
        self.entries.append([key, {1: dtype, 2: list(shape), 3: len(self.entries) % 2, 5: len(raw)}, raw])


def change(rng: random.Random, checkpoint: Checkpoint) -> None:
    """Changes one part."""
    entry = rng.choice(checkpoint.entries)
    fields = entry[1]
    kind = rng.randrange(12)
    if kind == 0:
        checkpoint.header[rng.randrange(2)] = (rng.randrange(1, 4), rng.choice([*NUMBERS, b"", tf.field(2, 3)]))
    elif kind == 1:
        fields[rng.choice([1, 3, 4, 5])] = rng.choice(NUMBERS)
    elif kind == 2:
        fields[1] = rng.choice([*tf.DTYPES.values(), 7, 14, 20, 21])
    elif kind == 3 and fields[2]:
        fields[2][rng.randrange(len(fields[2]))] = rng.choice(NUMBERS)
    elif kind == 4:
        fields[2] = rng.choice([fields[2][::-1], [1, *fields[2]], [*fields[2], 1], [1] * 33, [2**32] * 3])
    elif kind == 5:
        slices = fields.setdefault(7, [[(0, 1), ()]])
        extents = rng.choice(slices) if slices else [(0, 0)]
        extents[rng.randrange(len(extents))] = (rng.choice(NUMBERS), rng.choice(NUMBERS))
    elif kind == 6 and 7 in fields:
        rng.choice([fields[7].reverse, fields[7].pop, lambda: fields[7].append(fields[7][0]), fields.clear])()
        fields.setdefault(2, [])
    elif kind == 7:
        entry[0] = rng.choice([entry[0] + b"x", b"", b"\0", b"\0p\0\1", b"\xff", b"w", b"n" * 300, entry[0][:-1]])
    elif kind == 8:
        checkpoint.entries.remove(entry)
        if rng.random() < 0.5:
            checkpoint.entries += [entry, copy.deepcopy(entry)]
    elif kind == 9:
        fields[rng.choice([8, 9, 15, 2**28])] = rng.choice([5, b"unknown"])
    else:
        raw = bytearray(entry[2] or b"\0")
        raw[rng.randrange(len(raw))] = rng.choice([0, 1, 2, 127, 128, 255, rng.randrange(256)])
        entry[2] = bytes(raw) if rng.random() < 0.8 else bytes(raw[: rng.randrange(len(raw))])
        if rng.random() < 0.5:
            fields[5] = len(entry[2])


def encode_entry(fields: dict, checksum: int, offset: int) -> bytes:
    shape = b"".join(tf.field(2, tf.field(1, size)) for size in fields[2])
    message = tf.field(2, shape)
    for number, value in sorted({4: offset, **fields}.items()):
        if number == 7:
            for extents in value:
                parts = (b"".join(tf.field(i + 1, number) for i, number in enumerate(extent)) for extent in extents)
                message += tf.field(7, b"".join(tf.field(1, part) for part in parts))
        elif number != 2:
            message += tf.field(number, value)
    return message + b"\x35" + struct.pack("<I", checksum)


def checksum(dtype: int, raw: bytes, texts: int) -> int:
    """The right one, for a text tensor too, as far as it has lengths."""
    if dtype != tf.TEXT:
        return tf.masked(raw)
    lengths, position = [], 0
    while len(lengths) < texts and position < len(raw):
        length = shift = 0
        while position < len(raw):
            byte = raw[position]
            length |= (byte & 127) << shift
            shift, position = shift + 7, position + 1
            if byte < 128:
                break
        lengths.append(struct.pack("<I", length % 2**32))
    return tf.masked(b"".join(lengths) + raw[position:])


def encode(rng: random.Random, checkpoint: Checkpoint) -> dict[str, bytes]:
    """The files, of one or two blocks, compressed or not; now and then not in order, or damaged on the way."""
    shards, entries = [b"", b""], []
    for key, fields, raw in checkpoint.entries:
        shard = fields.get(3, 0) if fields.get(3, 0) in (0, 1) else 0
        texts = fields[2][0] if len(fields[2]) == 1 else 1
        entries.append((key, encode_entry(fields, checksum(fields.get(1), raw, texts), len(shards[shard]))))
        shards[shard] += raw
    if rng.random() < 0.95:
        entries.sort(key=lambda item: item[0])
    entries.insert(0, (b"", b"".join(tf.field(number, value) for number, value in checkpoint.header)))
    cut = rng.randrange(1, len(entries) + 1)
    blocks = [(part[-1][0], tf.block(part, rng.choice([1, 2, 16]))) for part in (entries[:cut], entries[cut:]) if part]
    if rng.random() < 0.25:  # under a right checksum
        at = rng.randrange(len(blocks))
        blocks[at] = (blocks[at][0], damage(rng, blocks[at][1]))
    options = {"compression": int(rng.random() < 0.3)}
    if rng.random() < 0.3:  # the Snappy stream, under a right checksum
        options["compress"] = lambda contents: damage(rng, tf.snappy(contents))
    if rng.random() < 0.1:
        values = [b"", b"\0\0", b"\xff" * 10, tf.varint(rng.choice(NUMBERS)) * 2]
        handles = tf.block([(separator, rng.choice(values)) for separator, _ in blocks], 1)
        options["index"] = rng.choice([handles, damage(rng, handles)])
    index = tf.table(blocks, **options)
    if rng.random() < 0.1:
        index = damage(rng, index)
    files = {f"{NAME}.index": index}
    for i, content in enumerate(shards):
        files[f"{NAME}.data-0000{i}-of-00002"] = damage(rng, content) if rng.random() < 0.05 else content
    return files


def damage(rng: random.Random, content: bytes) -> bytes:
    at = rng.randrange(len(content) + 1)
    piece = rng.choice(
        [b"", b"\0", b"\xff", b"\x80" * 11, rng.randbytes(1), rng.randbytes(4), content[at : at + 8] * 2]
    )
    return content[:at] + piece + content[at + rng.choice([0, 1, len(piece), 8]) :]


def open_and_read_texts(path: Path) -> Bundle:
    """Opens it, reads texts here, and leaves the numbers to the caller."""
    bundle = open_bundle(path)
    for name, info in list(bundle.tensors.items()):
        if info.dtype == "TEXT":
            bundle.read_text(name)
            del bundle.tensors[name]
    return bundle


def test_damaged_checkpoints_are_read_or_refused_quickly(tmp_path, fuzz_cases):
    rng = random.Random(0)
    sound = Checkpoint()
    outcomes = {"read": 0, "refused": 0}
    assert survives(open_and_read_texts, tmp_path / f"{NAME}.index", encode(random.Random(0), sound)) == "read"
    for _ in range(fuzz_cases):
        checkpoint = copy.deepcopy(sound)
        for _ in range(rng.choice([0, 1, 1, 1, 2, 3])):
            change(rng, checkpoint)
        for place in tmp_path.iterdir():
            place.unlink()  # quicker than writing over them: file systems flush what is replaced in place
        outcomes[survives(open_and_read_texts, tmp_path / f"{NAME}.index", encode(rng, checkpoint))] += 1
    assert min(outcomes.values()) > fuzz_cases // 10
