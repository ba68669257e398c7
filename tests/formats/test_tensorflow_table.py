"""The table in a TensorFlow .index: whatever is wrong with it is a LoadError that says where (faults T01 to T04)."""

from __future__ import annotations

import os
import re
import struct
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from minibert.errors import LoadError
from minibert.formats.mapped import MappedFile
from minibert.formats.tensorflow import table as rooms
from minibert.formats.tensorflow.bundle import open_bundle
from minibert.formats.tensorflow.table import format_table, read_table
from tests.formats import tensorflow_files as tf

ARRAYS = {"w": np.arange(6, dtype="<f4").reshape(2, 3), "bias": np.float32([7, 8])}
ENTRIES, DATA = tf.entries_and_data(ARRAYS)
HEADER = (b"", tf.header())


def read(folder: Path, content: bytes) -> list[tuple[bytes, bytes]]:
    path = folder / "model.index"
    path.unlink(missing_ok=True)  # quicker than writing over it
    path.write_bytes(content)
    return list(read_table(MappedFile(path)))


def refused(folder: Path, content: bytes, match: str) -> LoadError:
    with pytest.raises(LoadError, match=match) as caught:
        read(folder, content)
    assert str(caught.value).startswith(f"{folder / 'model.index'}: ")
    assert len(str(caught.value)) < 1000
    return caught.value


def one_block(contents: bytes, **replaced: bytes) -> bytes:
    return tf.table([(b"\xff", contents)], **replaced)


def handle(offset: int, size: int) -> bytes:
    return tf.varint(offset) + tf.varint(size)


def footer(metaindex: bytes, index: bytes) -> bytes:
    return (metaindex + index).ljust(40, b"\0") + struct.pack("<Q", tf.MAGIC)


def test_tables_of_many_blocks_and_restarts(tmp_path):
    entries = [(f"layer_{i:04}/kernel".encode(), bytes([i % 256]) * (i % 7)) for i in range(500)]
    blocks = [entries[:1], entries[1:40], entries[40:300], entries[300:]]
    for compression in (0, 1):
        assert read(tmp_path, tf.table(blocks, compression)) == entries
    for interval in (1, 2, 3, 16, 1000):
        assert read(tmp_path, one_block(tf.block(entries, interval))) == entries
    assert read(tmp_path, tf.table([])) == []
    assert read(tmp_path, one_block(tf.block([]))) == []


def test_footer_of_a_published_index():
    """Google's Chinese BERT: 8512 bytes, metaindex at 8431 of 8 bytes, index at 8444 of 15."""
    published = bytes.fromhex("ef4108fc410f") + bytes(34) + bytes.fromhex("57fb808b247547db")
    assert published == footer(handle(8431, 8), handle(8444, 15))
    assert 8444 + 15 + 5 + len(published) == 8512


@pytest.mark.parametrize("count", [1, 2, 16, 17, 9000])
def test_what_is_written_is_read(tmp_path, count):
    """9000 long names take more than one block of 256 KiB."""
    entries = [(b"", b"header")] + [(f"a/long/prefix/number_{i:05}/kernel".encode(), b"v" * 30) for i in range(count)]
    content = format_table(entries)
    assert read(tmp_path, content) == entries
    assert (content.count(tf.stored(tf.block([]))), len(content) > rooms.BLOCK_SIZE) == (1, count == 9000)


def test_small_tables_are_written_as_the_format_says():
    entries = [HEADER, *ENTRIES]
    assert format_table(entries) == tf.table([(b"x", tf.block(entries))])  # "w" shortened upwards is "x"
    assert format_table([HEADER]) == tf.table([(b"", tf.block([HEADER]))])


@pytest.mark.parametrize(
    ("last", "first", "expected"),
    [
        (b"abc", b"abz", b"abd"), (b"abc", b"abd", b"abc"), (b"abc", b"abcd", b"abc"), (b"abc", b"b", b"abc"),
        (b"abc", b"c", b"b"), (b"a\xff", b"b", b"a\xff"), (b"a\xffx", b"c", b"b"), (b"", b"a", b""),
    ],
)  # fmt: skip
def test_separators_are_as_short_as_leveldb_makes_them(last, first, expected):
    assert rooms._separator(last, first) == expected
    assert last <= expected < first


@pytest.mark.parametrize(
    ("last", "expected"), [(b"abc", b"b"), (b"", b""), (b"\xff\xff", b"\xff\xff"), (b"\xff\1z", b"\xff\2")]
)
def test_the_last_separator(last, expected):
    assert rooms._successor(last) == expected


# ---- T01: footer ----------------------------------------------------------------------------------------------------


def test_t01_truncated_at_every_byte(tmp_path):
    whole = tf.table([[HEADER, *ENTRIES]])
    for size in range(len(whole)):
        refused(tmp_path, whole[:size], "footer: expected (48 bytes, got a file of|a file that ends with 57 fb 80 8b)")
    for extra in (b"\0", b"PK\5\6" + bytes(18)):
        refused(tmp_path, whole + extra, "footer: expected a file that ends with")


@pytest.mark.parametrize("at", range(8))
def test_t01_wrong_magic(tmp_path, at):
    whole = bytearray(tf.table([[HEADER, *ENTRIES]]))
    whole[len(whole) - 8 + at] ^= 1
    error = refused(tmp_path, bytes(whole), "expected a file that ends with 57 fb 80 8b 24 75 47 db, got")
    assert "the file begins with" in error.hint


@pytest.mark.parametrize("handles", [b"\xff" * 40, b"\x80" * 9 + b"\2" + bytes(30), bytes(20) + b"\x80" * 20])
def test_t01_footer_without_handles(tmp_path, handles):
    refused(tmp_path, tf.table([[HEADER]], footer=handles + struct.pack("<Q", tf.MAGIC)), "footer: (varint|expected)")


def test_t01_bytes_hidden_in_the_footer(tmp_path):
    whole = bytearray(tf.table([[HEADER, *ENTRIES]]))
    whole[-9] = 1
    refused(tmp_path, bytes(whole), "footer: expected zeros between the handles and the magic")


# ---- T02: blocks ----------------------------------------------------------------------------------------------------

WHOLE = tf.table([[HEADER, *ENTRIES]])
FIRST = len(tf.block([HEADER, *ENTRIES]))  # size of the data block
META = FIRST + 5
INDEX = META + 8 + 5
INDEX_SIZE = len(WHOLE) - 48 - 5 - INDEX


@pytest.mark.parametrize(
    ("metaindex", "index", "match"),
    [
        ((META, 8), (len(WHOLE), 8), "index block: expected to end before the footer"),
        ((META, 8), (INDEX, INDEX_SIZE + 1), "index block: expected to end before the footer"),
        ((META, 8), (INDEX, 2**64 - 1), "index block: expected to end before the footer"),
        ((META, 8), (2**64 - 1, INDEX_SIZE), "index block: expected to end before the footer"),
        ((len(WHOLE) - 40, 8), (INDEX, INDEX_SIZE), "ends at .* the next one begins at"),
        ((META, 2**63), (INDEX, INDEX_SIZE), "ends at .* the next one begins at"),
        ((0, FIRST), (INDEX, INDEX_SIZE), f"block at 0: ends at {META}, the next one begins at 0"),
        ((META, 7), (INDEX, INDEX_SIZE), "metaindex block: checksum"),
        ((META, 8), (META, 8), "ends at .* the next one begins at"),
        ((META, 8), (INDEX, INDEX_SIZE - 1), "index block: checksum"),
    ],
)
def test_t02_handles_in_the_footer(tmp_path, metaindex, index, match):
    content = WHOLE[:-48] + footer(handle(*metaindex), handle(*index))
    refused(tmp_path, content, match)


@pytest.mark.parametrize(
    ("value", "match"),
    [
        (handle(2**40, 10), "ends at .* the next one begins at"),
        (handle(1, 2**64 - 1), "ends at .* the next one begins at"),
        (handle(0, FIRST + 1), "ends at .* the next one begins at"),
        (handle(0, FIRST - 1), "data block at 0: checksum"),
        (handle(0, 0), "data block at 0: checksum"),
        (b"\xff" * 11, "index block: entry b'x': varint: expected at most 64 bits"),
        (b"", "index block: entry b'x': varint: cut off"),
        (b"\0", "index block: entry b'x': varint: cut off"),
        (handle(0, FIRST) + b"\0", "index block: entry b'x': expected a block handle, got 1 bytes more"),
    ],
)
def test_t02_handles_in_the_index(tmp_path, value, match):
    refused(tmp_path, tf.table([[HEADER, *ENTRIES]], index=tf.block([(b"x", value)], 1)), match)


def test_t02_block_larger_than_any_takes_no_memory(tmp_path):
    path = tmp_path / "model.index"
    path.write_bytes(b"")
    os.truncate(path, 2**30)  # sparse: all of that length is there
    with path.open("ab") as file:
        file.write(footer(handle(0, 8), handle(100, 2**29)))
    tracemalloc.start()
    try:
        with pytest.raises(LoadError, match="index block: expected at most 8388608 bytes, got a size of 536870912"):
            list(read_table(MappedFile(path)))
        assert tracemalloc.get_traced_memory()[1] < 2**20
    finally:
        tracemalloc.stop()


def test_t02_one_block_twice(tmp_path):
    index = tf.block([(b"x", handle(0, FIRST)), (b"y", handle(0, FIRST))], 1)
    refused(tmp_path, tf.table([[HEADER, *ENTRIES]], index=index), "block at 0: ends at .* the next one begins at 0")


@pytest.mark.parametrize(
    ("contents", "match"),
    [
        (b"", "restarts: expected 1 to 65536 in 0 bytes, got 0"),
        (b"\1\0\0", "restarts: expected 1 to 65536 in 3 bytes, got 1"),
        (bytes(4), "restarts: .* got 0"),
        (struct.pack("<I", 1), "restarts: .* in 4 bytes, got 1"),
        (struct.pack("<II", 0, 2), "restarts: .* in 8 bytes, got 2"),
        (struct.pack("<II", 0, 2**32 - 1), "restarts: .* in 8 bytes, got 4294967295"),
        (bytes(4 * 2**16 + 4) + struct.pack("<I", 2**16 + 1), "restarts: .* got 65537"),
        (struct.pack("<II", 1, 1), r"restarts: expected the offsets of entries, got \(1,\)"),
        (struct.pack("<III", 0, 0, 2), r"restarts: expected the offsets of entries"),
    ],
)
def test_t02_restarts_that_cannot_be(tmp_path, contents, match):
    refused(tmp_path, one_block(contents), f"data block at 0: {match}")


@pytest.mark.parametrize("restarts", [[], [1], [0, 1], [0, 5, 5], [0, 2**32 - 1], [0, 0], [5, 0]])
def test_t02_restarts_that_are_no_entries(tmp_path, restarts):
    entries = [(b"a", b"1"), (b"b", b"2")]  # at 0 and 5
    assert read(tmp_path, one_block(tf.block(entries, 1))) == entries
    refused(tmp_path, one_block(tf.block(entries, 1, restarts)), "data block at 0: restarts: expected")


def test_t02_restart_at_which_something_is_shared(tmp_path):
    entries = [(b"aa", b"1"), (b"ab", b"2")]  # at 0 and 6
    refused(tmp_path, one_block(tf.block(entries, 16, [0, 6])), "data block at 0: entry: 1 bytes shared")


@pytest.mark.parametrize(
    ("lengths", "match"),
    [
        ((1, 1, 1), "entry: 1 bytes shared with a key of 0, 1 of its own and a value of 1 cannot be, where 2 bytes"),
        ((0, 3, 0), "entry: 0 bytes shared with a key of 0, 3 of its own"),
        ((0, 1, 2), "entry: .* a value of 2 cannot be"),
        ((0, 2**63, 2**63), "entry: .* cannot be"),
        ((2**64 - 1, 1, 1), "entry: 18446744073709551615 bytes shared"),
    ],
)
def test_t02_lengths_of_an_entry(tmp_path, lengths, match):
    contents = b"".join(map(tf.varint, lengths)) + b"kv"
    refused(tmp_path, one_block(contents + struct.pack("<II", 0, 1)), f"data block at 0: {match}")


@pytest.mark.parametrize("contents", [b"\0", b"\0\1", b"\x80\x80", b"\xff" * 11])
def test_t02_varints_of_an_entry(tmp_path, contents):
    refused(tmp_path, one_block(contents + struct.pack("<II", 0, 1)), "data block at 0: varint: ")


@pytest.mark.parametrize("keys", ["aa", "ba", "abb", "acb"])
def test_t02_keys_that_do_not_ascend(tmp_path, keys):
    content = one_block(tf.block([(key.encode(), b"") for key in keys]))
    refused(tmp_path, content, f"key b'{keys[-1]}': expected above the one before it, b'{keys[-2]}'")


@pytest.mark.parametrize(
    ("separators", "match"),
    [
        ([b"a", b"d"], r"key b'b': expected above None and not above b'a'"),
        ([b"c", b"d"], r"key b'c': expected above b'c' and not above b'd'"),
        ([b"b", b"c"], r"key b'd': expected above b'b' and not above b'c'"),
        ([b"d", b"d"], r"index block: key b'd': expected above the one before it"),
        ([b"e", b"d"], r"index block: key b'd': expected above the one before it"),
    ],
)
def test_t02_separators_that_do_not_separate(tmp_path, separators, match):
    blocks = [tf.block([(b"a", b""), (b"b", b"")]), tf.block([(b"c", b""), (b"d", b"")])]
    assert len(read(tmp_path, tf.table(zip([b"b", b"d"], blocks, strict=True)))) == 4
    refused(tmp_path, tf.table(zip(separators, blocks, strict=True)), match)


def test_t02_keys_that_share_a_megabyte_take_no_memory(tmp_path):
    """1.2 MB on disk would be 20 GB of keys."""
    entries = [tf.varint(0) + tf.varint(2**20) + tf.varint(0) + bytes(2**20)]
    entries += [tf.varint(2**20) + tf.varint(2) + tf.varint(0) + struct.pack(">H", i + 1) for i in range(20_000)]
    content = one_block(b"".join(entries) + struct.pack("<II", 0, 1))
    tracemalloc.start()
    try:
        refused(tmp_path, content, "expected at most 65536 keys, of 4194304 bytes with their values, got more")
        assert tracemalloc.get_traced_memory()[1] < 3 * len(content) + (64 << 20)
    finally:
        tracemalloc.stop()


def test_t02_larger_values_than_any_checkpoint(tmp_path, monkeypatch):
    """Compressed 20 times, fields without a meaning take minutes to take apart, from a file of a few megabytes."""
    monkeypatch.setattr(rooms, "TABLE_LIMIT", 1000)
    for size in (498, 499):
        entries = [(b"a1", bytes(498)), (b"a2", bytes(size))]
        content = tf.table([entries], compression=1)
        if size == 498:
            assert read(tmp_path, content) == entries
    refused(tmp_path, content, "of 1000 bytes with their values, got more")


@pytest.mark.parametrize("name", ["data", "index"])
def test_t02_more_keys_than_any_checkpoint(tmp_path, monkeypatch, name):
    monkeypatch.setattr(rooms, "ENTRY_LIMIT", 1000)
    for count in (1000, 1001):
        entries = [(i.to_bytes(3, "big"), b"") for i in range(count)]
        blocks = [(key, tf.block([(key, value)])) for key, value in entries]
        content = one_block(tf.block(entries)) if name == "data" else tf.table(blocks)
        if count == 1000:
            assert read(tmp_path, content) == entries
    refused(tmp_path, content, "expected at most 1000 keys|index block: restarts: expected 1 to 1000")


# ---- T03: checksums -------------------------------------------------------------------------------------------------


def test_t03_every_damaged_byte_of_the_index(tmp_path):
    for at in range(len(WHOLE)):
        for bits in (1 << at % 8, 0x80):
            content = WHOLE[:at] + bytes([WHOLE[at] ^ bits]) + WHOLE[at + 1 :]
            error = refused(tmp_path, content, "data block at 0: |index block: |metaindex block: |footer: |block at ")
            if at < META:
                assert re.search("data block at 0: checksum .CRC32C.: expected 0x[0-9a-f]{8}, got 0x", error.message)
                assert "download" in error.hint


def test_t03_every_damaged_byte_of_the_data_names_the_tensor(tmp_path):
    path = tf.write_bundle(tmp_path, ENTRIES, DATA)
    shard = tmp_path / "model.ckpt.data-00000-of-00001"
    for at in range(len(DATA)):
        damaged, sound = ("bias", "w") if at < ARRAYS["bias"].nbytes else ("w", "bias")
        shard.write_bytes(DATA[:at] + bytes([DATA[at] ^ 1 << at % 8]) + DATA[at + 1 :])
        bundle = open_bundle(path)
        assert np.array_equal(bundle.read(sound), ARRAYS[sound])
        with pytest.raises(LoadError, match=f"tensor '{damaged}': checksum .CRC32C.: the index expects 0x") as caught:
            bundle.read(damaged)
        assert caught.value.message.startswith(str(shard))


# ---- T04: compression -----------------------------------------------------------------------------------------------


def test_t04_a_snappy_index_is_read_as_any_other(tmp_path):
    path = tf.write_bundle(tmp_path, ENTRIES, DATA)
    plain = {name: open_bundle(path).read(name) for name in ARRAYS}
    path.write_bytes(tf.table([[HEADER, *ENTRIES]], compression=1))
    assert path.read_bytes() != WHOLE
    bundle = open_bundle(path)
    assert list(bundle.tensors) == ["bias", "w"]
    for name, array in plain.items():
        assert np.array_equal(bundle.read(name), array)


@pytest.mark.parametrize(("number", "match"), [(2, "got 2, which is Zstandard,"), (3, "got 3"), (255, "got 255")])
def test_t04_other_compressions_are_named(tmp_path, number, match):
    content = tf.table([[HEADER, *ENTRIES]], compression=number)
    refused(tmp_path, content, rf"data block at 0: compression: expected 0 \(none\) or 1 \(Snappy\), {match}")


def compressed_table(contents: bytes) -> bytes:
    """A table of one block, whose contents on disk are `contents`, said to be Snappy's, checksum right."""
    data, meta = tf.stored(contents, 1), tf.stored(tf.block([]))
    index = tf.stored(tf.block([(b"x", handle(0, len(contents)))], 1))
    return data + meta + index + footer(handle(len(data), 8), handle(len(data + meta), len(index) - 5))


def test_t04_damage_within_snappy_under_a_right_checksum(tmp_path):
    contents = tf.snappy(tf.block([HEADER, *ENTRIES]))
    assert len(read(tmp_path, compressed_table(contents))) == 3
    for size in range(len(contents)):
        refused(tmp_path, compressed_table(contents[:size]), "data block at 0: (Snappy|varint): ")
    refused(tmp_path, compressed_table(contents + b"\0x"), "data block at 0: Snappy: expected .* bytes, got")


def test_t04_a_bomb_takes_no_memory(tmp_path):
    content = compressed_table(tf.varint(2**31) + b"\0a" + b"\xfe\1\0" * 100_000)
    tracemalloc.start()
    try:
        refused(tmp_path, content, "Snappy: expected at most 8388608 bytes, got a length of 2147483648")
        assert tracemalloc.get_traced_memory()[1] < 2**22
    finally:
        tracemalloc.stop()
