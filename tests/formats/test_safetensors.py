"""Reading: every malformed file is a LoadError that says what is wrong; every sound one gives the exact numbers."""

from __future__ import annotations

import json
import os
import time
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from minibert.errors import LoadError, NotFound
from minibert.formats.safetensors import open_safetensors, save_safetensors


def entry(dtype="U8", shape=(1,), offsets=(0, 1)):
    return {"dtype": dtype, "shape": list(shape), "data_offsets": list(offsets)}


def refused(path: Path, match: str) -> LoadError:
    """Opening `path` raises LoadError that names the file, matches, and is short enough to read."""
    with pytest.raises(LoadError, match=match) as caught:
        open_safetensors(path)
    assert str(path) in str(caught.value)
    assert len(str(caught.value)) < 1000
    assert "\x00" not in str(caught.value)
    return caught.value


@pytest.mark.parametrize("size", range(8))
def test_s01_header_too_small(tmp_path, size):
    path = tmp_path / "model.safetensors"
    path.write_bytes(bytes(size))
    assert "download" in refused(path, f"header too small: expected 8 bytes of length, got {size}").hint


@pytest.mark.parametrize("length", [2**63, 2**64 - 1, 100_000_001])
def test_s02_absurd_header_length(build, length):
    refused(build({}, length=length), f"header too large: .* got a length of {length}")


def test_s02_header_longer_than_the_file(build):
    refused(build({}, length=12), "header of 12 bytes: 10 bytes are missing")


def test_s03_header_too_large_takes_no_memory(build):
    path = build({}, length=100_000_001)
    os.truncate(path, 300_000_000)  # sparse: all of that length is there
    tracemalloc.start()
    try:
        refused(path, "header too large")
        assert tracemalloc.get_traced_memory()[1] < 2**20
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("header", ["null", "[]", "1", '""', "true", "1.5"])
def test_s04_header_is_no_object(build, header):
    refused(build(header), "header: expected a JSON object, got")


def test_s04_header_of_no_bytes(build):
    refused(build(""), "header: not valid JSON")


@pytest.mark.parametrize(
    "encode", [lambda t: t.encode("utf-16"), lambda t: b'{"\xff": 1}', lambda t: b'{"\xc0\xaf": 1}']
)
def test_s05_header_is_not_utf8(build, encode):
    refused(build(encode('{"a": 1}')), "header: expected UTF-8, got byte 0x")


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16-le", "utf-32-le"])
def test_s05_byte_order_mark_or_wide_characters(build, encoding):
    refused(build("{}".encode(encoding)), "header: not valid JSON")


@pytest.mark.parametrize("space", [" ", "\n\t\r "])
def test_s06_leading_white_space_is_read_with_a_warning(build, space):
    with pytest.warns(UserWarning, match="begins with white space"):
        file = open_safetensors(build(space + json.dumps({"a": entry()}), b"\7"))
    assert file.read("a") == 7


@pytest.mark.parametrize("first", ["\x00", "x", "\u00a0", "\x0c", "//\n"])
def test_s06_other_first_characters(build, first):
    refused(build(first + "{}"), "header: not valid JSON")


def test_s06_trailing_spaces(build):
    assert open_safetensors(build(json.dumps({"a": entry()}) + "     ", b"\7")).read("a") == 7


@pytest.mark.parametrize("header", ['{"a": ', '{"a": 1,}', "{/* no */}", "{}{}", "{} {}", "{'a': 1}", '{"a"}', "{}\0"])
def test_s07_header_is_no_json(build, header):
    refused(build(header), "header: not valid JSON")


@pytest.mark.parametrize("second", [entry(), entry("I8"), {}])
@pytest.mark.parametrize("name", ['"a"', '"\\u0061"'])
def test_s08_duplicate_tensor_name(build, name, second):
    header = f'{{"a": {json.dumps(entry())}, {name}: {json.dumps(second)}}}'
    refused(build(header, b"\7"), "duplicate key 'a'")


@pytest.mark.parametrize("field", ["dtype", "shape", "data_offsets"])
def test_s09_duplicate_field(build, field):
    one = json.dumps(entry())
    twice = f'{one[:-1]}, "{field}": {json.dumps(entry()[field])}}}'
    refused(build(f'{{"a": {twice}}}', b"\7"), f"duplicate key '{field}'")


@pytest.mark.parametrize("metadata", [[], 1, None, "text", {"a": 1}, {"a": None}, {"a": {"b": "c"}}, {"a": ["b"]}])
def test_s10_metadata_is_not_text(build, metadata):
    refused(build({"__metadata__": metadata}), "__metadata__: .*expected")


def test_s10_metadata_twice(build):
    refused(build('{"__metadata__": {"a": "b"}, "__metadata__": {}}'), "duplicate key '__metadata__'")


@pytest.mark.parametrize(
    "shape",
    ["[-1]", "[2.0]", "[true]", '["1"]', "[null]", "null", "1", '"1"', "[[1]]", "{}", f"[{2**63}]", f"{[1] * 33}"],
)
def test_s11_shape_is_no_list_of_sizes(build, shape):
    header = f'{{"a": {{"dtype": "U8", "shape": {shape}, "data_offsets": [0, 1]}}}}'
    refused(build(header, b"\7"), "tensor 'a': shape: expected")


@pytest.mark.parametrize("number", ["1e400", "-1e400", "NaN", "Infinity", "-Infinity"])
@pytest.mark.parametrize("field", ["shape", "data_offsets"])
def test_s11_number_that_is_not_finite(build, field, number):
    header = json.dumps({"a": {**entry(), field: ["HERE"]}}).replace('"HERE"', number)
    refused(build(header, b"\7"), "header: not valid JSON: .*number")


@pytest.mark.parametrize("shape", [(2**32, 2**32), (2**62, 2, 2), (2**32, 2**32, 0), (0, 2**32, 2**31)])
def test_s12_product_of_the_shape_never_wraps(build, shape):
    refused(build({"a": entry("U8", shape, (0, 0))}), r"tensor 'a': shape: expected less than 2\^63 bytes")


def test_s12_large_but_not_there(build):
    refused(build({"a": entry("F32", (2**40,), (0, 2**42))}), f"{2**42} bytes are missing")


@pytest.mark.parametrize(
    "offsets",
    ["[1, 0]", "[-1, 0]", "[0]", "[0, 1, 1]", "[0.0, 1.0]", "[false, true]", "[]", "null", "{}", '"01"', "[0, null]"],
)
def test_s13_offsets_are_not_a_pair(build, offsets):
    header = f'{{"a": {{"dtype": "U8", "shape": [1], "data_offsets": {offsets}}}}}'
    refused(build(header, b"\7"), "tensor 'a': data_offsets: expected")


def test_s13_negative_zero_on_which_readers_disagree(build):
    header = '{"a": {"dtype": "U8", "shape": [1], "data_offsets": [-0, 1]}}'
    refused(build(header, b"\7"), "refused by the safetensors library")


@pytest.mark.parametrize("second", [(3, 7), (0, 4), (1, 5)])
def test_s14_overlap(build, second):
    refused(
        build({"a": entry("F32", (), (0, 4)), "b": entry("F32", (), second)}, bytes(8)), "'b'.* overlaps the tensor"
    )


@pytest.mark.parametrize("second", [(5, 9), (8, 12)])
def test_s15_hole_between_tensors(build, second):
    header = {"b": entry("F32", (), second), "a": entry("F32", (), (0, 4))}
    refused(build(header, bytes(12)), "'b'.* leaves a hole before it")


def test_s15_bytes_before_the_first_tensor(build):
    refused(build({"a": entry("U8", (1,), (4, 5))}, bytes(5)), "'a'.* leaves a hole before it")


@pytest.mark.parametrize("tail", [b"\0", b"PK\x05\x06" + bytes(18), b"\x89PNG\r\n\x1a\n"])
def test_s15_something_appended(build, tail):
    refused(build({"a": entry()}, b"\7" + tail), f"{len(tail)} bytes follow the last tensor")


def test_s15_bytes_but_no_tensors(build):
    refused(build({}, b"12"), "2 bytes follow the last tensor")


def test_s16_truncated_anywhere(build):
    whole = build({"a": entry("F32", (3,), (0, 12))}, bytes(12)).read_bytes()
    for size in range(len(whole)):
        path = build({}, name="cut.safetensors")
        path.write_bytes(whole[:size])
        error = refused(
            path,
            "header too small"
            if size < 8
            else f"{len(whole) - size} bytes are missing"
            if size >= len(whole) - 12
            else "bytes are missing",
        )
        assert "again" in error.hint


@pytest.mark.parametrize(("shape", "end"), [((3,), 8), ((3,), 13), ((), 0), ((0,), 4), ((2, 0), 4)])
def test_s17_bytes_do_not_fit_the_shape(build, shape, end):
    refused(build({"a": entry("F32", shape, (0, end))}, bytes(end)), "tensor 'a': data_offsets: F32 of shape")


def test_s18_scalars_and_tensors_of_no_bytes(build):
    header = {
        "before": entry("F32", (0,), (0, 0)),
        "scalar": entry("F32", (), (0, 4)),
        "between": entry("F64", (2, 0, 3), (4, 4)),
        "between too": entry("BF16", (0,), (4, 4)),
        "pair": entry("U8", (1, 2), (4, 6)),
        "after": entry("BOOL", (0, 2**40), (6, 6)),
    }
    file = open_safetensors(build(header, np.float32(1.5).tobytes() + b"\1\2"))
    assert list(file.tensors) == ["before", "scalar", "between", "between too", "pair", "after"]
    assert {name: file.read(name).shape for name in header} == {name: tuple(e["shape"]) for name, e in header.items()}
    assert file.read("scalar") == 1.5
    assert file.read("between too").dtype == np.float32


def test_s18_no_tensors_at_all(build):
    file = open_safetensors(build({"__metadata__": {"a": "b"}}))
    assert (file.tensors, file.metadata) == ({}, {"a": "b"})


@pytest.mark.parametrize("dtype", ["f32", "F8_E4M3", "F8_E5M2", "F4", "F6_E2M3", "F128", "", None, ["F32"], 1])
def test_s19_dtype_not_supported(build, dtype):
    error = refused(build({"a": entry(dtype)}, b"\7"), "tensor 'a': dtype: expected one of .* got ")
    assert repr(dtype) in error.message


def test_s19_every_half_precision_number_is_exact(build):
    bits = np.arange(2**16, dtype="<u2")
    header = {"half": entry("F16", bits.shape, (0, 2**17)), "brain": entry("BF16", bits.shape, (2**17, 2**18))}
    file = open_safetensors(build(header, 2 * bits.tobytes()))
    half, brain = file.read("half"), file.read("brain")
    assert half.dtype == np.float16
    assert np.array_equal(half.view(np.uint16), bits)
    assert brain.dtype == np.float32
    assert np.array_equal(brain.view(np.uint32), bits.astype(np.uint32) * 2**16)
    assert brain[0x3FC0] == 1.5


def test_s19_scalar_of_bfloat16(build):
    array = open_safetensors(build({"a": entry("BF16", (), (0, 2))}, b"\xc0\x3f")).read("a")
    assert (type(array), array.dtype, array.shape, array.item()) == (np.ndarray, np.float32, (), 1.5)


def test_s19_bool_of_other_bytes(build):
    file = open_safetensors(build({"a": entry("BOOL", (2,), (0, 2))}, b"\1\2"))
    with pytest.raises(LoadError, match="tensor 'a': BOOL: expected bytes 0 and 1"):
        file.read("a")


@pytest.mark.parametrize(
    "header",
    ["[" * 100_000, '{"a":' * 100_000, '{"a": {"dtype": "U8", "shape": [' + "9" * 5000 + '], "data_offsets": [0, 1]}}'],
    ids=["lists", "objects", "digits"],
)
def test_s20_header_that_hurts_a_parser(build, header):
    started = time.perf_counter()
    refused(build(header, b"\7"), "header: (brackets nested too deeply|not valid JSON)")
    assert time.perf_counter() - started < 2


def test_s20_shape_nested_deeply(build):
    for depth in (10, 200, 900):
        shape = json.loads("[" * depth + "]" * depth)
        refused(build({"a": {**entry(), "shape": shape}}, b"\7"), "shape: expected|nested too deeply")


def test_s20_many_tiny_tensors(build):
    for count in (50_000, 1_000_000):
        text = ",".join(f'"{i}":{{"dtype":"U8","shape":[1],"data_offsets":[{i},{i + 1}]}}' for i in range(count))
        path = build("{" + text + "}", bytes(count))
        started = time.perf_counter()
        if count == 50_000:
            assert len(open_safetensors(path).tensors) == count
        else:
            refused(path, "header: expected at most .* values")
        assert time.perf_counter() - started < 5


@pytest.mark.parametrize(
    "name", ["", "a\0b", "a\nb", "../../etc/passwd", "/", "é😀", "x" * 10**6, "__metadata", "\x7f\u202e"]
)
def test_s21_names_are_only_data(build, name):
    file = open_safetensors(build({name: entry()}, b"\7"))
    assert file.read(name) == 7
    bad = refused(build({name: entry("F99")}, b"\7"), "dtype: expected")
    assert "\n" not in bad.message
    with pytest.raises(LoadError, match="no tensor named"):
        file.read(name + "?")


@pytest.mark.parametrize("header", ['{"\\ud800": %s}', '{"__metadata__": {"a": "\\uDFFF"}, "a": %s}'])
def test_s21_half_of_a_surrogate_pair(build, header):
    refused(build(header % json.dumps(entry()), b"\7"), "half of a surrogate pair")


def test_s21_whole_surrogate_pair(build):
    assert list(open_safetensors(build(json.dumps({"😀": entry()}), b"\7")).tensors) == ["😀"]


def test_s22_values_that_are_not_finite_are_read(tmp_path):
    arrays = {
        "good": np.ones(3),
        "nan": np.array([1, np.nan], "f4"),
        "inf": np.array(-np.inf, "f2"),
        "whole": np.arange(3),
    }
    save_safetensors(tmp_path / "a", arrays)
    file = open_safetensors(tmp_path / "a")
    for name, array in arrays.items():
        np.testing.assert_array_equal(file.read(name), array)


@pytest.mark.parametrize(
    "change", [lambda p: os.truncate(p, 40), lambda p: p.write_bytes(b""), lambda p: os.utime(p, ns=(0, 0))]
)
def test_s23_changed_in_place_while_open(tmp_path, change):
    path = tmp_path / "a"
    save_safetensors(path, {"a": np.arange(5000.0)})
    file = open_safetensors(path)
    file.read("a")
    change(path)
    with pytest.raises(LoadError, match="changed in place since it was opened"):
        file.read("a")


def test_s23_replaced_or_deleted_while_open(tmp_path):
    path, other = tmp_path / "a", tmp_path / "b"
    save_safetensors(path, {"a": np.arange(5000.0)})
    save_safetensors(other, {"a": np.zeros(3)})
    file = open_safetensors(path)
    os.replace(other, path)
    assert np.array_equal(file.read("a"), np.arange(5000.0))
    path.unlink()
    assert np.array_equal(file.read("a"), np.arange(5000.0))


def test_s24_saving_over_the_file_that_is_mapped(tmp_path):
    path = tmp_path / "a"
    save_safetensors(path, {"a": np.arange(5000.0)})
    file = open_safetensors(path)
    old = file.read("a")
    save_safetensors(path, {"a": old[::-1], "b": old})
    assert np.array_equal(old, np.arange(5000.0))
    assert np.array_equal(file.read("a"), old)
    new = load_file(path)
    assert np.array_equal(new["a"], old[::-1])
    assert np.array_equal(new["b"], old)


@pytest.mark.parametrize(
    ("head", "what", "hint"),
    [
        (
            b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 440449768\n",
            "git-lfs pointer",
            "git lfs pull",
        ),
        (b"\n<!DOCTYPE html><html><body>Not found</body></html>", "HTML page", "download"),
        (b"<html>", "HTML page", "download"),
    ],
)
def test_another_kind_of_file_is_recognised(tmp_path, head, what, hint):
    path = tmp_path / "model.safetensors"
    path.write_bytes(head)
    assert hint in refused(path, f"expected a safetensors file, got .*{what}").hint


def test_nothing_there_or_no_file(tmp_path):
    with pytest.raises(NotFound, match="no such file"):
        open_safetensors(tmp_path / "absent")
    refused(tmp_path, "expected a file, got a folder")
    os.mkfifo(tmp_path / "pipe")
    refused(tmp_path / "pipe", "expected a file, got a pipe")  # without waiting for a writer
    with pytest.raises(LoadError, match="cannot be opened"):
        open_safetensors("a\0b")


@pytest.mark.parametrize("field", ["dtype", "shape", "data_offsets", "more"])
def test_entry_with_a_field_missing_or_too_many(build, field):
    fields = {**entry(), "more": 1} if field == "more" else {k: v for k, v in entry().items() if k != field}
    refused(build({"a": fields}, b"\7"), "tensor 'a': expected an object of dtype, shape and data_offsets")


def test_arrays_are_windows_on_the_file(tmp_path):
    save_safetensors(tmp_path / "a", {"a": np.arange(6.0).reshape(2, 3)})
    array = open_safetensors(tmp_path / "a").read("a")
    assert not array.flags.owndata
    assert not array.flags.writeable
    assert np.array(array).flags.writeable


def test_unaligned_tensors_are_copied(build):
    numbers = np.arange(3, dtype="<f8")
    header = json.dumps({"a": entry("F64", (3,), (0, 24))})
    for padding in range(8):
        array = open_safetensors(build(header + " " * padding, numbers.tobytes())).read("a")
        assert array.flags.aligned
        assert not array.flags.writeable
        assert np.array_equal(array, numbers)


def test_opening_a_large_file_reads_only_its_header(build):
    header = json.dumps({"a": entry("F32", (2**30,), (0, 2**32))})
    path = build(header + " " * (-len(header) % 8))
    os.truncate(path, path.stat().st_size + 2**32)  # sparse
    started = time.perf_counter()
    assert open_safetensors(path).read("a")[-1] == 0
    assert time.perf_counter() - started < 1
