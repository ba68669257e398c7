"""The small parts of TensorFlow's format on their own: checksums, Snappy, protobuf, the object graph's message."""

from __future__ import annotations

import random
import tracemalloc

import numpy as np
import pytest

from minibert.errors import LoadError
from minibert.formats.tensorflow.checksum import crc32c, mask, unmask
from minibert.formats.tensorflow.protobuf import Message, field, read_varint, write_varint
from minibert.formats.tensorflow.snappy import decompress
from tests.formats import tensorflow_files as tf

VECTORS = [
    (b"", 0),
    (b"123456789", 0xE3069283),
    (bytes(32), 0x8A9136AA),
    (b"\xff" * 32, 0x62A8AB43),
    (bytes(range(32)), 0x46DD794E),
    (bytes(range(31, -1, -1)), 0x113FDB5C),
]  # RFC 3720, B.4, and the check value of the polynomial


@pytest.mark.parametrize(("data", "expected"), VECTORS)
def test_crc32c_of_known_bytes(data, expected):
    assert crc32c(data) == expected == tf.crc32c(data)


def test_crc32c_of_every_length_alignment_and_kind_of_buffer():
    data = random.Random(0).randbytes(200)
    for size in range(70):
        for start in (0, 1, 7, 13):
            part = data[start : start + size]
            assert crc32c(memoryview(data)[start : start + size]) == tf.crc32c(part)
            assert crc32c(np.frombuffer(bytearray(part), np.uint8).data) == tf.crc32c(part)  # may be written to
    assert crc32c(np.frombuffer(data, "<f4").reshape(5, 10).data) == tf.crc32c(data)


def test_crc32c_in_pieces():
    data = random.Random(1).randbytes(100)
    for cut in range(101):
        assert crc32c(data[cut:], crc32c(data[:cut])) == crc32c(data)


def test_crc32c_of_more_than_a_few_bytes():
    data = random.Random(2).randbytes(2**17 + 3)  # from 32 KiB on the library lets other threads run
    assert crc32c(data) == tf.crc32c(data)


def test_mask():
    assert mask(0xE3069283) == 0xC78AB0E5
    for crc in (0, 1, 0xFFFFFFFF, 0xE3069283, 0x80000000):
        assert unmask(mask(crc)) == crc


@pytest.mark.parametrize(
    ("compressed", "expected"),
    [
        ("00", b""),
        ("0a 00 61 15 01", b"a" * 10),
        ("03 08 616263", b"abc"),
        ("3d f0 3c" + "78" * 61, b"x" * 61),  # a literal's length in 1, 2, 3 and 4 bytes
        ("03 f4 0200 616263", b"abc"),
        ("03 f8 020000 616263", b"abc"),
        ("03 fc 02000000 616263", b"abc"),
        ("09 04 6162 0d 02", b"abababab" + b"a"),  # copies that reach into themselves
        ("08 04 6162 16 0200", b"abababab"),
        ("08 04 6162 17 02000000", b"abababab"),
        ("06 08 616263 0a 0300", b"abcabc"),
    ],
)
def test_t04_snappy_elements(compressed, expected):
    assert decompress(bytes.fromhex(compressed), 100, "x") == expected


def test_t04_snappy_copy_from_far_back():
    data = random.Random(0).randbytes(1000)
    literal = b"\xf4" + (999).to_bytes(2, "little") + data
    assert decompress(b"\xec\x07" + literal + b"\x61\xe8", 2000, "x") == data + data[:4]  # 3 * 256 + 0xe8 back


def test_t04_snappy_of_anything(fuzz_cases):
    rng = random.Random(0)
    for _ in range(fuzz_cases // 5):
        words = [rng.randbytes(rng.randrange(1, 30)) for _ in range(rng.randrange(1, 6))]
        data = b"".join(rng.choice(words) * rng.choice([1, 1, 9]) for _ in range(rng.randrange(20)))
        assert decompress(tf.snappy(data), len(data), "x") == data


@pytest.mark.parametrize(
    ("compressed", "match"),
    [
        ("", "x: varint: cut off"),
        ("80", "x: varint: cut off"),
        ("01", "expected 1 bytes, got 0"),
        ("02 00 61", "expected 2 bytes, got 1"),
        ("01 04 6162", "expected 1 bytes, got 2"),
        ("05 00 61 15 01", "expected 5 bytes, got 10"),
        ("00 00 61 00 61", "expected 0 bytes, got 1 or more"),
        ("0a 00 61 15 00", "copy from 0 bytes back, after 1 bytes"),
        ("0a 00 61 15 02", "copy from 2 bytes back, after 1 bytes"),
        ("0a 15 01", "copy from 1 bytes back, after 0 bytes"),
        ("0a 00 61 26 ffff", "copy from 65535 bytes back"),
        ("0a 00 61 27 ffffffff", "copy from 4294967295 bytes back"),
        ("03 08 6162", "cut off within an element"),
        ("03 f0", "cut off within an element"),
        ("03 fc ffffffff 61", "cut off within an element"),
        ("0a 00 61 15", "cut off within an element"),
        ("0a 00 61 26 01", "cut off within an element"),
        ("65 00 61", "expected at most 100 bytes, got a length of 101"),
        ("ffffffff0f", "expected at most 100 bytes, got a length of 4294967295"),
        ("ff" * 9 + "01", "expected at most 100 bytes"),
        ("80" * 10 + "01", "varint: expected at most 64 bits"),
    ],
)
def test_t04_damaged_snappy(compressed, match):
    with pytest.raises(LoadError, match=match):
        decompress(bytes.fromhex(compressed), 100, "x")


def test_t04_snappy_that_lies_takes_no_memory():
    tracemalloc.start()
    try:
        with pytest.raises(LoadError, match="Snappy"):
            decompress(tf.varint(2**24) + b"\0a", 2**24, "x")
        with pytest.raises(LoadError, match="Snappy"):  # each copy makes 64 bytes
            decompress(b"\x80\x01\0a" + b"\xfe\1\0" * 300_000, 2**24, "x")
        assert tracemalloc.get_traced_memory()[1] < 2**21
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("number", [0, 1, 127, 128, 300, 2**32 - 1, 2**63, 2**64 - 1])
def test_varint(number):
    assert write_varint(number) == tf.varint(number)
    assert read_varint(b"x" + tf.varint(number) + b"x", 1, "x") == (number, 1 + len(tf.varint(number)))


@pytest.mark.parametrize(
    "data", ["ff" * 9 + "02", "80" * 10 + "00", "ff" * 10, "80" * 10 + "01", "8000", "ff00", "81808000"]
)
def test_t02_varint_of_more_than_64_bits_or_of_needless_bytes(data):
    with pytest.raises(LoadError, match="x: varint: expected at most 64 bits"):
        read_varint(bytes.fromhex(data), 0, "x")


@pytest.mark.parametrize("size", range(10))
def test_t02_varint_cut_off(size):
    with pytest.raises(LoadError, match="x: varint: cut off"):
        read_varint(b"\x80" * size, 0, "x")


def test_message():
    message = Message(
        tf.field(1, 300)
        + tf.field(2, -1)
        + tf.field(3, b"ab")
        + tf.field(3, b"")
        + b"\x25\1\2\3\4"
        + b"\x31"
        + bytes(8),
        "x",
    )
    assert (message.integer(1), message.integer(2), message.integer(9)) == (300, -1, 0)
    assert message.contents(3) == [b"ab", b""]
    assert message.fixed32(4) == 0x04030201
    assert (message.content(9), message.contents(9), message.text(9), message.fixed32(9)) == (b"", [], "", 0)
    assert [number in message for number in (1, 3, 4, 6, 9)] == [True, True, False, False, False]
    assert message.integer(3) == 0  # of another wire type: a field that is not known
    assert field(1, 300) + field(2, 0) + field(3, b"") == tf.field(1, 300) + tf.field(3, b"")


@pytest.mark.parametrize(
    ("data", "match"),
    [
        (b"\x0b", "field 1: wire type: expected 0, 1, 2 or 5, got 3"),
        (b"\x0c", "wire type: .* got 4"),
        (b"\x0e", "wire type: .* got 6"),
        (b"\x0a\x05abcd", "field 1: expected 5 bytes, 4 are left"),
        (b"\x0a" + tf.varint(2**64 - 1) + b"abcd", "expected 18446744073709551615 bytes, 4 are left"),
        (b"\x0d\1\2\3", "field 1: expected 4 bytes, 3 are left"),
        (b"\x09\1\2\3", "field 1: expected 8 bytes, 3 are left"),
        (b"\x08", "varint: cut off"),
        (b"\x08\x80", "varint: cut off"),
        (b"\x0a\0" * (2**16 + 1), "expected at most 65536 fields"),
    ],
)
def test_malformed_message(data, match):
    with pytest.raises(LoadError, match=f"x: .*{match}"):
        Message(data, "x")


@pytest.mark.parametrize(
    ("data", "get"),
    [
        (tf.field(1, 1) * 2, Message.integer),
        (tf.field(1, b"a") * 2, Message.content),
        (b"\x0d\1\2\3\4" * 2, Message.fixed32),
    ],
)
def test_field_that_comes_twice(data, get):
    with pytest.raises(LoadError, match="x: field 1: expected once, got 2 times"):
        get(Message(data, "x"), 1)


def test_text_that_is_not_utf8():
    with pytest.raises(LoadError, match=r"x: field 1: expected UTF-8, got b'\\xff'"):
        Message(tf.field(1, b"\xff"), "x").text(1)
