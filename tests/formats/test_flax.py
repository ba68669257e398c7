"""Flax's files come back to the bit; maps, keys, sizes and chunks that are wrong are named; little memory is taken."""

from __future__ import annotations

import sys
import tracemalloc
from typing import Any

import msgpack
import numpy as np
import pytest

from minibert.errors import LoadError, NotFound
from minibert.formats.flax import open_msgpack
from minibert.formats.opening import open_weights

DTYPES = ["?", "u1", "i1", "<i2", "<u2", "<f2", "<i4", "<u4", "<f4", "<c8", "<f8", "<i8", "<u8"]
SHAPES = [(), (1,), (5,), (0, 4), (2, 3), (3, 1, 2, 2), (300,), (200, 100)]


def payload(shape: Any, dtype: Any, data: Any) -> bytes:
    return msgpack.packb((shape, dtype, data), use_bin_type=True)


def packed(value: Any) -> bytes:
    """As flax.serialization.msgpack_serialize packs it; bytes are taken as they are."""

    def default(value: Any) -> Any:
        if isinstance(value, np.ndarray | np.generic):
            body = payload(value.shape, value.dtype.name, value.tobytes())
            return msgpack.ExtType(1 if isinstance(value, np.ndarray) else 3, body)
        return msgpack.ExtType(2, msgpack.packb((value.real, value.imag)))

    return msgpack.packb(value, default=default, strict_types=True)


def chunked(array: np.ndarray, size: int) -> dict[str, Any]:
    """As flax cuts an array that is too large: pieces of `size` elements."""
    flat = array.reshape(-1)
    chunks = [flat[i : i + size] for i in range(0, flat.size, size)]
    shape = {str(i): n for i, n in enumerate(array.shape)}
    return {"__msgpack_chunked_array__": True, "shape": shape, "chunks": {str(i): c for i, c in enumerate(chunks)}}


def numbers(dtype: str, shape: tuple[int, ...]) -> np.ndarray:
    size = int(np.prod(shape)) * np.dtype(dtype).itemsize
    raw = np.random.default_rng(7).integers(0, 2 if dtype == "?" else 256, size, np.uint8)
    return raw.view(dtype).reshape(shape)


@pytest.fixture
def write(tmp_path):
    """write(value): a file of it; bytes are the file."""

    def write_file(value: Any):
        path = tmp_path / "flax_model.msgpack"
        path.write_bytes(value if isinstance(value, bytes) else packed(value))
        return path

    return write_file


def test_files_of_flax_are_read(write):
    arrays = {f"{dtype}{shape}": numbers(dtype, shape) for dtype in DTYPES for shape in SHAPES}
    file = open_weights(write({"params": {"bert": {"encoder": {"layer": {"0": arrays}}}}}))
    assert file.format == "Flax msgpack"
    assert list(file.tensors) == [f"params/bert/encoder/layer/0/{name}" for name in arrays]
    for name, array in arrays.items():
        ours = file.read(f"params/bert/encoder/layer/0/{name}")
        assert (ours.dtype, ours.shape, ours.tobytes()) == (array.dtype, array.shape, array.tobytes())
        assert ours.flags.aligned
        assert not ours.flags.writeable
    with pytest.raises(LoadError, match=r"flax_model\.msgpack: no tensor named 'absent' of 104"):
        file.read("absent")


def test_bfloat16_comes_as_float32(write):
    bits = np.array([0x3F80, 0xC040, 0x7FC1, 0x8000], "<u2")
    body = payload((2, 2), "bfloat16", bits.tobytes())
    file = open_msgpack(write({"a": msgpack.ExtType(1, body)}))
    assert file.tensors["a"].dtype == "BF16"
    assert file.read("a").dtype == np.float32
    assert file.read("a").view(np.uint32).ravel().tolist() == [0x3F800000, 0xC0400000, 0x7FC10000, 0x80000000]


def test_scalars_are_arrays_and_other_values_are_notes(write):
    file = open_msgpack(
        write({"s": np.float32(3), "step": 7, "lr": 0.5, "z": 1 + 2j, "who": "me", "on": True, "no": None, "e": {}})
    )
    assert list(file.tensors) == ["s"]
    assert file.read("s") == np.float32(3)
    (note,) = file.notes
    assert note.startswith("6 values are no arrays and were left out: ['step', 'lr', 'z', 'who'")


@pytest.mark.parametrize("length", [0, 1, 14, 240, 300, 65_520, 70_000])
def test_every_size_of_ext_and_bytes(write, length):
    array = np.arange(length, dtype=np.uint8)
    content = packed({"a": array})
    assert {0: 0xC7, 1: 0xC7, 14: 0xC7, 240: 0xC7, 300: 0xC8, 65_520: 0xC8, 70_000: 0xC9}[length] == content[3]
    assert np.array_equal(open_msgpack(write(content)).read("a"), array)


def test_sizes_that_ext_knows_by_itself(write):
    content = packed({"a": np.array(1.5, np.float32)})
    assert content[3] == 0xD8
    assert open_msgpack(write(content)).read("a") == 1.5


@pytest.mark.parametrize("size", [1, 4, 7, 24, 100])
def test_chunked_arrays(write, size):
    array = numbers("<f4", (2, 3, 4))
    file = open_msgpack(write({"x": {"big": chunked(array, size)}, "small": array}))
    assert file.tensors["x/big"] == file.tensors["small"]
    assert file.read("x/big").tobytes() == array.tobytes()
    assert file.read("x/big").shape == (2, 3, 4)


def test_maps_of_every_size(write):
    for count in (1, 15, 16, 300, 30_000):
        file = open_msgpack(write({str(i): 0 for i in range(count - 1)} | {"a": np.arange(3)}))
        assert list(file.tensors) == ["a"]


def test_long_keys(write):
    for length in (31, 32, 255, 256, 4000):
        assert list(open_msgpack(write({"é" + "x" * (length - 2): np.zeros(1)})).tensors) == ["é" + "x" * (length - 2)]


def test_opening_and_reading_one_by_one_takes_little_memory(write):
    path = write({str(i): np.full(2**20, i, np.float32) for i in range(16)})
    assert path.stat().st_size > 2**26
    tracemalloc.start()
    file = open_msgpack(path)
    opened = tracemalloc.get_traced_memory()[1]
    for name in file.tensors:
        assert file.read(name)[-1] == int(name)
    read = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert opened < 2**17
    assert read < 3 * 2**22


def test_without_the_library(write, monkeypatch):
    path = write({"a": np.zeros(1)})
    monkeypatch.setitem(sys.modules, "msgpack", None)
    with pytest.raises(LoadError, match="needs the msgpack library") as caught:
        open_msgpack(path)
    assert "pip install 'minibert-numpy[convert]'" in caught.value.hint


def test_nothing_there(tmp_path):
    with pytest.raises(NotFound, match="no such file"):
        open_msgpack(tmp_path / "absent.msgpack")


def ext(shape: Any, dtype: Any, data: Any = bytes(24), code: int = 1) -> msgpack.ExtType:
    return msgpack.ExtType(code, payload(shape, dtype, data))


BAD_ARRAYS = {
    "too few bytes": (ext((2, 4), "float32"), r"float32 of shape \[2, 4\] takes 32 bytes, got 24"),
    "too many bytes": (ext((5,), "float32"), r"float32 of shape \[5\] takes 20 bytes, got 24"),
    "shape 10^18": (ext((10**18,), "float32"), "takes 4000000000000000000 bytes, got 24"),
    "shape 2^63": (ext((2**63,), "int8"), "shape: expected at most 32 integers"),
    "product 2^70": (ext((2**35, 2**35), "int8"), r"shape: expected less than 2\^63 bytes"),
    "negative": (ext((-1, 6), "float32"), "shape: expected at most 32 integers of 0 or more"),
    "float shape": (ext((6.0,), "float32"), "shape: expected at most 32 integers of 0 or more"),
    "true shape": (ext((True, 6), "float32"), "shape: expected at most 32 integers of 0 or more"),
    "33 dimensions": (ext((1,) * 33, "float32"), r"at byte .*: malformed: 33 exceeds max_array_len\(32\)"),
    "nested shape": (ext(((2, 3),), "float32"), "shape: expected at most 32 integers"),
    "shape 6": (ext(6, "float32"), "shape: expected at most 32 integers"),
    "shape map": (ext({"0": 6}, "float32"), r"at byte .*: malformed: 1 exceeds max_map_len\(0\)"),
    "object": (ext((3,), "object"), "dtype: expected one of bool, .*bfloat16, got 'object'"),
    "float8": (ext((24,), "float8_e4m3fn"), "dtype: expected one of .* got 'float8_e4m3fn'"),
    "complex128": (ext((1,), "complex128"), "dtype: expected one of .* got 'complex128'"),
    "str": (ext((1,), "str96"), "dtype: expected one of .* got 'str96'"),
    "letters": (ext((6,), "<f4"), "dtype: expected one of .* got '<f4'"),
    "dtype number": (ext((6,), 4), "dtype: expected one of .* got 4"),
    "dtype list": (ext((6,), []), r"dtype: expected one of .* got \[\]"),
    "dtype bytes": (ext((6,), b"float32"), "at byte .*: malformed: 7 exceeds max_bin_len|got b'float32'"),
    "text for bytes": (ext((6,), "float32", "x" * 24), "expected bytes up to the end of the array of 36"),
    "map for bytes": (ext((6,), "float32", {}), "expected bytes up to the end .* got None"),
    "two fields": (msgpack.ExtType(1, msgpack.packb(([6], 1))), "expected shape, dtype and bytes, got an array of 2"),
    "no array": (msgpack.ExtType(1, msgpack.packb({})), "at byte"),
    "bytes behind": (msgpack.ExtType(1, payload((6,), "float32", bytes(24)) + b"\0"), "expected bytes up to the end"),
    "bytes missing": (msgpack.ExtType(1, payload((6,), "float32", bytes(24))[:-1]), "expected bytes up to the end"),
    "empty": (msgpack.ExtType(1, b""), "at byte|expected shape, dtype and bytes"),
    "another ext": (ext((6,), "float32", code=4), r"expected an array \(ext type 1, 2 or 3\), got ext type 4"),
    "timestamp": (msgpack.Timestamp(0), r"expected an array .* got ext type 255"),
    "list": ([1, 2], r"at byte .*: malformed: 2 exceeds max_array_len\(0\)"),
    "bytes": (b"x" * 5000, "at byte .*: a key or value takes more than 4096 bytes"),
    "long text": ("x" * 5000, "at byte .*: a key or value takes more than 4096 bytes"),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD_ARRAYS)
def test_t11_array_that_is_none(write, name):
    value, match = BAD_ARRAYS[name]
    path = write({"good": np.zeros(2), "bert": {"x": {"bad": value}}})
    with pytest.raises(LoadError, match=match) as caught:
        open_msgpack(path)
    assert caught.value.message.startswith(f"{path}: 'bert'/'x'/'bad': ")


CHUNKED = chunked(np.arange(6, dtype=np.float32), 4)
BAD_CHUNKS = {
    "shape too large": ({"shape": {"0": 7}}, r"float32|F32 of shape \[7\] takes 28 bytes, got 24 in chunks"),
    "shape too small": ({"shape": {"0": 5}}, r"F32 of shape \[5\] takes 20 bytes, got 24 in chunks"),
    "shape 2^70": ({"shape": {"0": 2**35, "1": 2**35}}, r"shape: expected less than 2\^63"),
    "shape negative": ({"shape": {"0": -6}}, "shape: expected at most 32 integers"),
    "shape number": ({"shape": 6}, "shape: expected a map from '0', '1', ..., got 6"),
    "shape from 1": ({"shape": {"1": 6}}, "shape: expected a map from '0', '1', ..., got"),
    "shape array": ({"shape": {"0": np.zeros(3)}}, "shape: expected at most 32 integers"),
    "chunks from 1": ({"chunks": {"1": np.zeros(6, np.float32)}}, "chunks: expected a map from '0', '1', ..., got"),
    "no chunks": ({"chunks": {}}, "chunks: expected arrays of one dtype and one dimension"),
    "two dtypes": ({"chunks": {"0": np.zeros(4, np.float32), "1": np.zeros(2, np.int32)}}, "chunks: expected arrays"),
    "two dimensions": ({"chunks": {"0": np.zeros((2, 3), np.float32)}}, "chunks: expected arrays of one dtype and one"),
    "array and number": ({"chunks": {"0": np.zeros(6, np.float32), "1": 2}}, "chunks: expected arrays of one dtype"),
    "numbers": ({"chunks": {"0": 1, "1": 2}}, "chunks: expected arrays of one dtype"),
    "more": ({"more": 1}, r"expected shape and chunks of a chunked array, got \['__msgpack_chunked_array__', "),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD_CHUNKS)
def test_t11_chunks_that_do_not_fit(write, name):
    change, match = BAD_CHUNKS[name]
    with pytest.raises(LoadError, match=match) as caught:
        open_msgpack(write({"bert": {"x": CHUNKED | change}}))
    assert "flax_model.msgpack: 'bert/x'" in caught.value.message


BAD_FILES = {
    "key twice": (b"\x82\xa1a\x01\xa1a\x02", "key 'a': there twice"),
    "key number": ({1: 2}, "expected keys that are texts without '/', got 1"),
    "key bytes": ({b"ab": 2}, "at byte 1: malformed|expected keys that are texts without '/', got b'ab'"),
    "key none": ({None: 2}, "expected keys that are texts without '/', got None"),
    "key slash": ({"a": {"b/c": np.zeros(1)}}, "'a': expected keys that are texts without '/', got 'b/c'"),
    "key not UTF-8": (b"\x81\xa2\xff\xfe\x01", "at byte 1: malformed: 'utf-8' codec"),
    "key surrogate": (b"\x81\xa3\xed\xa0\x80\x01", "at byte 1: malformed: 'utf-8' codec"),
    "key is a map": (b"\x81\x81\x01\x01\x01", r"at byte 1: malformed: 1 exceeds max_map_len\(0\)"),
    "key too long": ({"x" * 5000: 1}, "at byte 1: a key or value takes more than 4096"),
    "key says 4 GiB": (b"\x81\xdb\xff\xff\xff\xff" + b"x" * 99, "at byte 1: the file ends too early"),
    "map says 2^32": (b"\xdf\xff\xff\xff\xff" + b"x" * 99, "a map of 4294967295 keys, more than can be"),
    "map says 60": (b"\xde\x00\x3c" + b"x" * 99, "a map of 60 keys, more than can be in 102 bytes"),
    "value says 4 GiB": (b"\x81\xa1a\xc6\xff\xff\xff\xff" + b"x" * 99, "'a': at byte 3: the file ends too early"),
    "array says 2^32": (b"\x81\xa1a\xdd\xff\xff\xff\xff" + b"x" * 99, "'a': at byte 3: malformed: 4294967295 exceeds"),
    "ext says 4 GiB": (b"\x81\xa1a\xc9\xff\xff\xff\xff\x01" + b"x" * 99, "'a': 4294967196 of 4294967295 bytes are"),
    "never used": (b"\x81\xa1a\xc1", "'a': at byte 3: malformed: FormatError"),
    "trailing": (packed({"a": 1}) + b"\xc0", "1 bytes follow the map"),
    "two maps": (packed({"a": 1}) * 2, "4 bytes follow the map"),
    "an array": ([1], "at byte 0: malformed"),
    "a number": (b"\x07", "expected a map of arrays, got 7"),
    "one array": (packed(np.zeros(2)), "expected a map of arrays, got"),
    "empty": (b"", "the file ends at 0 bytes"),
    "deep": (b"\x81\xa1a" * 33 + b"\x01", "maps nested more than 32 deep"),
    "very deep": (b"\x81\xa1a" * 100_000 + b"\x01", "maps nested more than 32 deep"),
    "deep arrays": (b"\x81\xa1a" + b"\x91" * 100_000, r"'a': at byte 3: malformed: 1 exceeds max_array_len\(0\)"),
    "deep shape": (packed({"a": msgpack.ExtType(1, b"\x93" + b"\x91" * 3000)}), "'a': at byte"),
    "many keys": (packed({str(i): {str(j): 0 for j in range(1000)} for i in range(33)}), "a map of 1000 keys, more"),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD_FILES)
def test_t11_file_that_is_none(write, name):
    content, match = BAD_FILES[name]
    path = write(content)
    with pytest.raises(LoadError, match=match) as caught:
        open_msgpack(path)
    assert caught.value.message.startswith(f"{path}: ")
    assert len(str(caught.value)) < 2000


def test_t11_cut_off_anywhere(write):
    whole = packed({"a": np.arange(3), "b": {"c": chunked(np.arange(4), 3), "d": 7, "e": np.float32(1)}})
    for end in range(len(whole)):
        with pytest.raises(LoadError):
            open_msgpack(write(whole[:end]))


def test_t11_bool_bytes_other_than_0_and_1(write):
    file = open_msgpack(write({"a": ext((3,), "bool", b"\0\1\2")}))
    with pytest.raises(LoadError, match=r"tensor 'a': BOOL: expected bytes 0 and 1"):
        file.read("a")
