"""TensorFlow checkpoints: sound ones give the exact numbers, the others a LoadError that says where (T05 to T10)."""

from __future__ import annotations

import os
import re
import struct
import tracemalloc
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from minibert.errors import LoadError, NotFound
from minibert.formats.opening import open_weights
from minibert.formats.tensorflow.bundle import open_bundle
from minibert.formats.tensorflow.entries import parse_entry
from tests.formats import tensorflow_files as tf

RNG = np.random.default_rng(0)
ARRAYS = {
    "bert/pooler/dense/kernel": RNG.standard_normal((3, 4)).astype("<f4"),
    "bert/pooler/dense/bias": RNG.standard_normal(3).astype("<f4"),
    "empty": np.zeros((0, 5), "<f4"),
    "global_step": np.array(2**40, "<i8"),
    "mask": np.array([True, False]),
    "odd": np.arange(3, dtype="<u2"),
} | {f"of/{dtype.strip('<|')}": (RNG.standard_normal((2, 3)) * 9).astype(dtype) for dtype in tf.DTYPES}
LETTERS = {
    "f4": "F32", "f8": "F64", "i4": "I32", "u1": "U8", "i2": "I16", "i1": "I8", "c8": "C64", "i8": "I64", "b1": "BOOL",
    "u2": "U16", "f2": "F16", "u4": "U32", "u8": "U64",
}  # fmt: skip


def refused(path: Path, match: str, error: type[Exception] = LoadError) -> LoadError:
    with pytest.raises(error, match=match) as caught:
        open_bundle(path)
    assert str(path.parent) in caught.value.message
    assert len(str(caught.value)) < 1000
    return caught.value


def one(folder: Path, message: bytes, data: bytes | list[bytes | None] = bytes(8), first: bytes | None = None) -> Path:
    """A checkpoint of one tensor, "w", whose entry is `message`."""
    return tf.write_bundle(folder, [(b"w", message)], data, first)


def same(one: np.ndarray, other: np.ndarray) -> bool:
    return (one.dtype, one.shape, one.tobytes()) == (other.dtype, other.shape, other.tobytes())


def test_every_dtype_is_read_bitwise(tmp_path):
    path = tf.write_bundle(tmp_path, *tf.entries_and_data(ARRAYS))
    bundle = open_bundle(path)
    assert (bundle.format, bundle.metadata, bundle.has_data) == ("TensorFlow checkpoint", {"producer": "1"}, True)
    assert (bundle.ties, bundle.notes, bundle.slots, bundle.full_names) == ({}, [], set(), {})
    assert bundle.paths == (path, tmp_path / "model.ckpt.data-00000-of-00001")
    assert list(bundle.tensors) == sorted(ARRAYS)
    for name, array in ARRAYS.items():
        info = bundle.tensors[name]
        assert info == (LETTERS[array.dtype.str.strip("<|")], array.shape, array.nbytes)
        got = bundle.read(name)
        assert same(got, array)
        assert (got.flags.writeable, got.flags.aligned, got.flags.c_contiguous) == (False, True, True)
    with pytest.raises(LoadError, match=r"model.ckpt.index, .*: no tensor named 'nobody' of 19"):
        bundle.read("nobody")


def test_bfloat16_comes_as_float32(tmp_path):
    bits = np.array([0x3F80, 0xC2F7, 0x7FC0, 0x0001], "<u2")
    raw = bits.tobytes()
    bundle = open_bundle(one(tmp_path, tf.entry(tf.BF16, [4], 8, tf.masked(raw)), raw))
    assert bundle.tensors["w"] == ("BF16", (4,), 8)
    assert same(bundle.read("w"), (bits.astype("<u4") << 16).view("<f4"))


def test_arrays_are_views_of_the_file_where_they_can_be(tmp_path):
    raw = bytes(2**19)
    bundle = open_bundle(one(tmp_path, tf.entry(1, [2**17], len(raw), tf.masked(raw)), raw))
    bundle.read("w")  # from now on the compiled checksum is loaded
    tracemalloc.start()
    try:
        assert not bundle.read("w").any()
        assert tracemalloc.get_traced_memory()[1] < 2**18
    finally:
        tracemalloc.stop()


def test_threads_may_read_at_once(tmp_path):
    bundle = open_bundle(tf.write_bundle(tmp_path, *tf.entries_and_data(ARRAYS)))
    with ThreadPoolExecutor(8) as pool:
        for name, got in zip(list(ARRAYS) * 20, pool.map(bundle.read, list(ARRAYS) * 20), strict=True):
            assert same(got, ARRAYS[name])


def test_entry_of_a_published_checkpoint():
    """The first tensor of Google's Chinese BERT."""
    message = bytes.fromhex("08011205120308800628801835 542740d2")
    assert parse_entry(message, 1, "x")[:5] == ("F32", (768,), 0, 0, 3072)
    assert tf.entry(1, [768], 3072, 0xD2402754) == message


def test_texts(tmp_path):
    strings = [b"", b"a", b"\xff\0" * 500, b"x" * 128]
    bundle = open_bundle(tf.write_bundle(tmp_path, *tf.entries_and_data({"text": strings, "w": np.float32([1])})))
    assert bundle.tensors["text"] == ("TEXT", (4,), 6 + 4 + 1129)
    assert bundle.read_text("text") == strings
    with pytest.raises(
        LoadError, match="tensor 'text': dtype: expected numbers, got TEXT, which is not read"
    ) as caught:
        bundle.read("text")
    assert "read_text" in caught.value.hint
    with pytest.raises(LoadError, match="tensor 'w': dtype: expected TEXT, got F32"):
        bundle.read_text("w")


# ---- T05: shards ----------------------------------------------------------------------------------------------------


def shards(folder: Path) -> Path:
    raws = [b"\0\0\x80?", b"\0\0\0@", b"\0\0@@"]
    entries = [(f"w{i}".encode(), tf.entry(1, [], 4, tf.masked(raw), shard=i, offset=i)) for i, raw in enumerate(raws)]
    return tf.write_bundle(folder, entries, [bytes(i) + raw for i, raw in enumerate(raws)])


def test_t05_several_shards(tmp_path):
    bundle = open_bundle(shards(tmp_path))
    assert [bundle.read(f"w{i}") for i in range(3)] == [1, 2, 3]
    assert [path.name for path in bundle.paths[1:]] == [f"model.ckpt.data-0000{i}-of-00003" for i in range(3)]


def test_t05_missing_shard(tmp_path):
    path = shards(tmp_path)
    (tmp_path / "model.ckpt.data-00001-of-00003").unlink()
    bundle = open_bundle(path)
    assert (bundle.has_data, len(bundle.tensors), len(bundle.paths)) == (False, 3, 3)
    assert bundle.notes == [
        "model.ckpt.data-00001-of-00003 with the numbers not there: only names, dtypes and shapes are known."
    ]
    assert bundle.read("w2") == 3
    with pytest.raises(NotFound, match=r"model\.ckpt\.data-00001-of-00003: no such file, .* numbers of 'w1'") as caught:
        bundle.read("w1")
    assert "model.ckpt.index and model.ckpt.data-00000-of-00003 to model.ckpt.data-00002-of-00003" in caught.value.hint


def test_t05_an_index_alone_lists_its_tensors(tmp_path):
    path = tf.write_bundle(tmp_path, tf.entries_and_data(ARRAYS)[0], [None])
    bundle = open_bundle(path)
    assert (bundle.has_data, bundle.paths) == (False, (path,))
    assert {name: info.shape for name, info in bundle.tensors.items()} == {n: a.shape for n, a in ARRAYS.items()}
    with pytest.raises(NotFound, match=r"model\.ckpt\.data-00000-of-00001: no such file") as caught:
        bundle.read("mask")
    assert "model.ckpt.index and model.ckpt.data-00000-of-00001" in caught.value.hint
    entries = tf.entries_and_data({"text": [b"a"]})[0]
    with pytest.raises(NotFound, match="numbers of 'text'"):
        open_bundle(tf.write_bundle(tmp_path, entries, [None], name="texts")).read_text("text")


def test_t05_shards_are_looked_for_under_no_other_name(tmp_path):
    path = shards(tmp_path)
    for i in range(3):
        place = tmp_path / f"model.ckpt.data-0000{i}-of-00003"
        place.rename(tmp_path / f"model.ckpt.data-0000{i}-of-00004")
    assert open_bundle(path).paths == (path,)
    assert not open_bundle(path).has_data


@pytest.mark.parametrize("size", [0, 1, 5])
def test_t05_shard_shorter_than_its_tensors(tmp_path, size):
    path = shards(tmp_path)
    os.truncate(tmp_path / "model.ckpt.data-00002-of-00003", size)
    error = refused(path, f"data-00002-of-00003: expected 6 bytes, got {size}: {6 - size} bytes are missing")
    assert "fetch all files" in error.hint


@pytest.mark.parametrize("offset", [5, 2**31, 2**63 - 1])
def test_t05_tensor_beyond_the_shard(tmp_path, offset):
    path = one(tmp_path, tf.entry(1, [1], 4, offset=offset))
    refused(path, f"data-00000-of-00001: expected {offset + 4} bytes, got 8: {offset - 4} bytes are missing")


@pytest.mark.parametrize("offset", [-1, -(2**63)])
def test_t05_negative_offset(tmp_path, offset):
    refused(one(tmp_path, tf.entry(1, [1], 4, offset=offset)), "tensor 'w': expected an offset and a size of 0 or more")


@pytest.mark.parametrize("shard", [1, 2, -1, 2**31, 2**63 - 1])
def test_t05_shard_that_cannot_be(tmp_path, shard):
    refused(one(tmp_path, tf.entry(1, [1], 4, shard=shard)), f"tensor 'w': shard: expected 0 to 0, got {shard}")


@pytest.mark.parametrize("count", [0, -1, 100_000, 10**9, 2**63 - 1])
def test_t05_number_of_shards_that_cannot_be(tmp_path, count):
    path = one(tmp_path, tf.entry(1, [1], 4), first=tf.header(count))
    refused(path, f"header: number of shards: expected 1 to 99999, got {count}")


def test_t05_as_many_shards_as_can_be(tmp_path):
    entries = [(f"w{i:05}".encode(), tf.entry(1, [1], 4, shard=i)) for i in range(0, 99_999, 1000)]
    bundle = open_bundle(tf.write_bundle(tmp_path, entries, [], tf.header(99_999)))
    assert bundle.notes[0].startswith("model.ckpt.data-00000-of-99999 and 99 more files with the numbers not there")


def test_t05_shard_that_is_no_file(tmp_path):
    path = one(tmp_path, tf.entry(1, [1], 4), [None])
    (tmp_path / "model.ckpt.data-00000-of-00001").mkdir()
    refused(path, "data-00000-of-00001: expected a file, got a folder")


def test_t05_shard_written_into_while_open(tmp_path):
    bundle = open_bundle(shards(tmp_path))
    (tmp_path / "model.ckpt.data-00000-of-00003").write_bytes(bytes(100))
    with pytest.raises(LoadError, match="data-00000-of-00003: changed in place"):
        bundle.read("w0")


# ---- T06: sizes, shapes, dtypes -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sizes", "size"), [([2], 4), ([1], 8), ([], 8), ([0], 4), ([2**40], 8), ([2, 2], 8), ([1], 0), ([1], -4)]
)
def test_t06_size_other_than_the_shapes(tmp_path, sizes, size):
    match = (
        f"size: F32 of shape {re.escape(str(sizes))} takes .* got {size}"
        if size >= 0
        else "expected .* a size of 0 or more"
    )
    refused(one(tmp_path, tf.entry(1, sizes, size)), f"tensor 'w': {match}")


@pytest.mark.parametrize(
    ("sizes", "match"),
    [
        ([-1], r"shape: expected at most 32 integers of 0 or more, got \[-1\]"),
        ([2, -(2**63)], "shape: expected at most 32 integers"),
        ([1] * 33, "shape: expected at most 32 integers"),
        ([2**62, 4], r"shape: expected less than 2\^63 bytes"),
        ([2**32, 2**32], r"shape: expected less than 2\^63 bytes"),
        ([2**32, 2**32, 0], r"shape: expected less than 2\^63 bytes"),
        (tf.field(3, 1), "shape: expected sizes, got a shape of unknown rank"),
        (tf.field(2, tf.field(1, 1) * 2), "shape: field 1: expected once, got 2 times"),
        (tf.field(2, b"\x08"), "shape: varint: cut off"),
        (b"\x12\x05", "shape: field 2: expected 5 bytes, 0 are left"),
    ],
)
def test_t06_shape_that_cannot_be(tmp_path, sizes, match):
    refused(one(tmp_path, tf.entry(1, sizes, 4)), f"tensor 'w': {match}")


def test_t06_huge_tensor_takes_no_memory(tmp_path):
    tracemalloc.start()
    try:
        refused(one(tmp_path, tf.entry(1, [2**50], 2**52)), f"{2**52 - 8} bytes are missing")
        assert tracemalloc.get_traced_memory()[1] < 2**20
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("number", [0, 34, 101, 107, -1, 2**31])
def test_t06_dtype_that_is_none(tmp_path, number):
    refused(one(tmp_path, tf.entry(number, [1], 4)), f"tensor 'w': dtype: expected TensorFlow's 1 to 33, got {number}")


@pytest.mark.parametrize(
    ("number", "name"), [(20, "RESOURCE"), (21, "VARIANT"), (18, "COMPLEX128"), (11, "QINT8"), (25, "FLOAT8_E4M3FN")]
)
def test_t06_dtypes_that_are_listed_but_not_read(tmp_path, number, name):
    bundle = open_bundle(one(tmp_path, tf.entry(number, [2], 8, tf.masked(bytes(8)))))
    assert bundle.tensors["w"] == (name, (2,), 8)
    with pytest.raises(LoadError, match=f"tensor 'w': dtype: expected numbers, got {name}, which is not read"):
        bundle.read("w")


TEXTS, TEXTS_CHECKSUM = tf.texts([b"ab", b"", b"c"])


@pytest.mark.parametrize(
    ("count", "raw", "match"),
    [
        (2**40, TEXTS, "expected at most 1048576 texts in 10 bytes, got 1099511627776"),
        (11, TEXTS, "expected at most 1048576 texts in 10 bytes, got 11"),
        (4, TEXTS, "lengths of texts: expected|varint"),
        (2, TEXTS, "lengths of texts: expected 4 bytes together, got 2"),
        (3, TEXTS[:-1], "lengths of texts: expected 2 bytes together, got 3"),
        (3, TEXTS + b"d", "lengths of texts: expected 4 bytes together, got 3"),
        (3, b"\x80" * 10, "varint: expected at most 64 bits"),
        (3, tf.varint(2**64 - 1) + TEXTS[1:], "lengths of texts: expected"),
        (3, b"\2\0\x80", "varint: cut off"),
        (3, TEXTS[:-1] + b"d", "checksum .CRC32C.: expected 0x"),
        (3, b"\1\1" + TEXTS[2:], "checksum .CRC32C.: expected 0x"),
        (3, TEXTS[:3] + b"\0" + TEXTS[4:], "checksum .CRC32C.: expected 0x"),
    ],
)
def test_t06_damaged_texts(tmp_path, count, raw, match):
    message = tf.entry(tf.TEXT, [count], len(raw), TEXTS_CHECKSUM)
    bundle = open_bundle(one(tmp_path, message, raw))
    with pytest.raises(LoadError, match=f"model.ckpt.index: tensor 'w': {match}"):
        bundle.read_text("w")


def test_t06_names_that_are_no_text(tmp_path):
    refused(tf.write_bundle(tmp_path, [(b"\xff", tf.entry(1, [1], 4))], bytes(4)), "expected a name in UTF-8")
    odd = ["../../etc/passwd", "a\nb", "x" * 5000, "\u202e"]
    entries = [(name.encode(), tf.entry(1, [9], 4)) for name in sorted(odd)]
    error = refused(tf.write_bundle(tmp_path, entries, bytes(4)), "tensor '../../etc/passwd': size")
    assert "\n" not in error.message


# ---- T08: byte order and version ------------------------------------------------------------------------------------


def test_t08_big_endian(tmp_path):
    arrays = {name: array.astype(array.dtype.newbyteorder(">")) for name, array in ARRAYS.items()}
    entries, data = [], b""
    for name, array in sorted(arrays.items()):
        number = tf.DTYPES[ARRAYS[name].dtype.str]
        raw = array.tobytes()
        entries.append((name.encode(), tf.entry(number, array.shape, len(raw), tf.masked(raw), offset=len(data))))
        data += raw
    raw, checksum = tf.texts([b"ab", b"c"], ">")
    entries.append((b"text", tf.entry(tf.TEXT, [2], len(raw), checksum, offset=len(data))))
    bundle = open_bundle(tf.write_bundle(tmp_path, entries, data + raw, tf.header(big_endian=1)))
    for name, array in ARRAYS.items():
        assert same(bundle.read(name), array)
    assert bundle.read_text("text") == [b"ab", b"c"]


@pytest.mark.parametrize("order", [2, -1, 2**63 - 1])
def test_t08_byte_order_that_is_none(tmp_path, order):
    first = tf.header(big_endian=order)
    refused(one(tmp_path, tf.entry(1, [1], 4), first=first), f"header: byte order: expected 0 .* or 1 .*, got {order}")


@pytest.mark.parametrize(
    ("version", "match"),
    [
        (tf.field(1, 2), "got version 2 for readers of version 0 or newer"),
        (tf.field(1, 2) + tf.field(2, 2), "got version 2 for readers of version 2 or newer"),
        (tf.field(2, 2), "got version 0 for readers of version 2 or newer"),
        (tf.field(1, 1) + tf.field(3, 1), "got version 1 for readers of version 0 or newer, except some"),
        (tf.field(1, 1) + tf.field(3, b"\1\2"), "got version 1 .* except some"),
    ],
)
def test_t08_version_too_new(tmp_path, version, match):
    refused(one(tmp_path, tf.entry(1, [1], 4), first=tf.header(version=version)), f"header: version: .* {match}")


def test_t08_versions_that_are_read(tmp_path):
    for version, producer in ((b"", "0"), (tf.field(1, 1) + tf.field(2, 1), "1")):
        path = one(tmp_path, tf.entry(1, [1], 4), first=tf.header(version=version))
        assert open_bundle(path).metadata == {"producer": producer}


# ---- T10: other files -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["model.ckpt-7", "model.ckpt-7.index"])
def test_t10_v1_checkpoint(tmp_path, name):
    meta = tf.field(1, tf.field(1, b"bert/bias") + tf.field(2, tf.shape([8])) + tf.field(3, 1))
    path = tmp_path / name
    path.write_bytes(tf.table([[(b"", tf.field(1, meta)), (b"\0bert/bias\0\1\1\1\x80\x7f", tf.field(2, b""))]]))
    error = refused(path, "header: expected a V2 checkpoint, got V1, a single file that TensorFlow wrote before 0.12")
    assert "save it again" in error.hint
    with pytest.raises(LoadError, match="got V1"):
        open_weights(tmp_path / "model.ckpt-7")


def test_t10_table_of_another_program(tmp_path):
    path = tmp_path / "000005.ldb"
    for entries in ([(b"key", b"value")], []):
        path.write_bytes(tf.table([entries] if entries else []))
        assert "LevelDB" in refused(path, "header: expected one under the empty key, got the key").hint


@pytest.mark.parametrize(
    ("head", "begins"),
    [(b"\x89HDF\r\n\x1a\n", r"\\x89HDF"), (b"PK\3\4", "PK"), (b"version https://git-lfs", "version https://")],
)
def test_t10_other_file_in_place_of_an_index(tmp_path, head, begins):
    path = tmp_path / "model.ckpt.index"
    path.write_bytes(head + bytes(100))
    error = refused(path, "footer: expected a file that ends with 57 fb 80 8b 24 75 47 db, got 00")
    assert re.search(begins, error.hint)


def test_t10_saved_model(tmp_path):
    (tmp_path / "saved_model.pb").write_bytes(b"\x08\x01\x12\x02")
    with pytest.raises(NotFound, match=r"no weights found .*'saved_model\.pb', which is not read"):
        open_weights(tmp_path)
    (tmp_path / "variables").mkdir()
    tf.write_bundle(tmp_path / "variables", *tf.entries_and_data(ARRAYS), name="variables")
    assert same(open_weights(tmp_path).read("odd"), ARRAYS["odd"])


def test_t10_not_there_or_no_file(tmp_path):
    refused(tmp_path / "no.index", "no.index: no such file", NotFound)
    (tmp_path / "folder.index").mkdir()
    refused(tmp_path / "folder.index", "expected a file, got a folder")


def test_header_and_entries_that_are_no_messages(tmp_path):
    refused(one(tmp_path, b"\x0f"), "tensor 'w': field 1: wire type")
    refused(one(tmp_path, tf.entry(1, [1], 4), first=b"\x0f"), "header: field 1: wire type")
    refused(one(tmp_path, tf.entry(1, [1], 4), first=b""), "header: number of shards: expected 1 to 99999, got 0")
    refused(one(tmp_path, struct.pack("<I", 0) * 3), "tensor 'w': dtype")
