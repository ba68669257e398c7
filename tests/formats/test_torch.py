"""PyTorch files of both generations: the exact numbers, whatever the view, and nothing beyond the storages."""

from __future__ import annotations

import io
import json
import os
import pickle
import random
import struct
import tarfile
import tracemalloc
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from minibert.errors import LoadError, NotFound
from minibert.formats.archive import Archive
from minibert.formats.opening import open_weights
from minibert.formats.torch import tensors
from minibert.formats.torch.legacy import MAGIC, open_legacy
from tests.formats.torchfiles import (
    SYSTEM,
    Call,
    Global,
    Ordered,
    Part,
    Raw,
    encode,
    pickled,
    storage,
    tensor,
    torch_legacy,
    torch_parts,
    torch_zip,
    zip_bytes,
)

X = np.arange(12, dtype="<f4") * np.float32(0.5) - 1
KINDS = {
    "DoubleStorage": ("F64", "<f8"), "FloatStorage": ("F32", "<f4"), "HalfStorage": ("F16", "<f2"),
    "LongStorage": ("I64", "<i8"), "IntStorage": ("I32", "<i4"), "ShortStorage": ("I16", "<i2"),
    "CharStorage": ("I8", "i1"), "ByteStorage": ("U8", "u1"), "BoolStorage": ("BOOL", "?"),
    "ComplexFloatStorage": ("C64", "<c8"),
}  # fmt: skip


class Saved:
    """Writes {name: tensor} over storages {key: array} in one of the two formats."""

    def __init__(self, folder: Path, generation: str) -> None:
        self.path, self.generation = folder / "pytorch_model.bin", generation

    def storage(self, key: str, numel: int, kind: str = "FloatStorage") -> object:
        return storage(key, numel, kind) if self.generation == "zip" else storage(key, numel, kind, None)

    def save(self, value: object, **storages: np.ndarray) -> Path:
        raw = {key.removeprefix("s"): array for key, array in storages.items()}
        if self.generation == "zip":
            self.path.write_bytes(torch_zip(value, {key: array.tobytes() for key, array in raw.items()}))
        else:
            self.path.write_bytes(torch_legacy(value, {key: (a.size, a.tobytes()) for key, a in raw.items()}))
        return self.path

    def of(self, size, stride, offset=0, numel=12, kind="FloatStorage"):
        return tensor(self.storage("0", numel, kind), size, stride, offset)


@pytest.fixture(params=["zip", "legacy"])
def saved(request, tmp_path):
    return Saved(tmp_path, request.param)


def same(came: np.ndarray, expected: np.ndarray) -> bool:
    assert came.flags.c_contiguous
    assert came.flags.aligned
    assert not came.flags.writeable
    return came.dtype == expected.dtype and came.shape == expected.shape and came.tobytes() == expected.tobytes()


# Numbers


@pytest.mark.parametrize("kind", KINDS)
def test_every_dtype(saved, kind):
    dtype, stored = KINDS[kind]
    array = np.arange(12).astype(stored) if dtype != "BOOL" else np.arange(12) % 3 == 0
    file = open_weights(saved.save({"w": saved.of((3, 4), (4, 1), kind=kind)}, s0=array))
    assert file.format == ("PyTorch zip" if saved.generation == "zip" else "PyTorch legacy")
    assert file.paths == (saved.path,)
    assert file.tensors == {"w": (dtype, (3, 4), 12 * array.itemsize)}
    assert same(file.read("w"), array.reshape(3, 4))
    assert (file.ties, file.notes, file.metadata) == ({}, [], {})


def test_bfloat16_comes_as_float32(saved):
    bits = np.array([0x3F80, 0xC000, 0x7F80, 0x0001], "<u2")
    file = open_weights(saved.save({"w": saved.of((2, 2), (1, 2), numel=4, kind="BFloat16Storage")}, s0=bits))
    assert file.tensors["w"].dtype == "BF16"
    expected = (bits.astype("u4") << 16).view("f4").reshape(2, 2).T.copy()
    assert same(file.read("w"), expected)


@pytest.mark.parametrize("dtype", ["uint16", "uint32", "uint64"])
def test_dtypes_without_storages_of_their_own(saved, dtype):
    array = np.arange(6, dtype=dtype)
    untyped = ("storage", Global("torch.storage", "UntypedStorage"), "0", "cpu", array.nbytes)
    outside = Raw(encode(untyped if saved.generation == "zip" else (*untyped, None)) + b"Q")
    rebuild = Global("torch._utils", "_rebuild_tensor_v3")
    value = {"w": Call(rebuild, (outside, 1, (2, 2), (2, 1), False, Ordered(), Global("torch", dtype)))}
    file = open_weights(saved.save(value, s0=array.view("u1")))
    assert same(file.read("w"), array[1:5].reshape(2, 2))


def test_other_ways_to_rebuild(saved):
    plain = Call(Global("torch._utils", "_rebuild_tensor"), (saved.storage("0", 12), 0, (12,), (1,)))
    parameter = Call(Global("torch._utils", "_rebuild_parameter"), (saved.of((12,), (1,)), True, Ordered()))
    state = Call(Global("torch._utils", "_rebuild_parameter_with_state"), (parameter, False, Ordered(), {"a": 1}))
    file = open_weights(saved.save(Ordered(a=plain, b=parameter, c=state), s0=X))
    assert all(same(file.read(name), X) for name in "abc")
    assert file.ties == {"b": "a", "c": "a"}


@pytest.mark.parametrize(
    ("size", "stride", "offset", "expected"),
    [
        ((12,), (1,), 0, X),
        ((), (), 5, X[5]),
        ((1, 12, 1), (99, 1, 99), 0, X.reshape(1, 12, 1)),
        ((3, 4), (1, 3), 0, X.reshape(4, 3).T),
        ((2, 2), (4, 2), 1, X.reshape(3, 4)[:2, 1::2]),
        ((2, 3, 2), (1, 4, 2), 0, X.reshape(3, 2, 2).transpose(2, 0, 1)),
        ((4, 3), (0, 1), 9, np.broadcast_to(X[9:], (4, 3))),
        ((5, 8), (1, 1), 0, np.lib.stride_tricks.sliding_window_view(X, 8)),
        ((0, 3), (3, 1), 12, np.zeros((0, 3), "f4")),
        ((3, 0), (10**30, 7), 0, np.zeros((3, 0), "f4")),
    ],
)
def test_any_view_of_a_storage(saved, size, stride, offset, expected):
    file = open_weights(saved.save({"w": saved.of(size, stride, offset)}, s0=X))
    assert same(file.read("w"), np.array(expected, order="C"))


def test_random_views_are_read_like_numpy_strides_them_or_refused(tmp_path):
    rng = random.Random(0)
    counts = {"read": 0, "refused": 0}
    saved = Saved(tmp_path, "zip")
    for _ in range(150):
        rank = rng.randrange(4)
        size = [rng.randrange(5) for _ in range(rank)]
        stride = [rng.randrange(6) for _ in range(rank)]
        offset = rng.randrange(14)
        reach = (
            offset + sum((n - 1) * step for n, step in zip(size, stride, strict=True)) if 0 not in size else offset - 1
        )
        path = saved.save({"w": saved.of(size, stride, offset)}, s0=X)
        if reach < 12:
            counts["read"] += 1
            expected = np.zeros(size, "f4")
            if expected.size:
                strides = [4 * step for step in stride]
                expected = np.lib.stride_tricks.as_strided(X[offset:], size, strides, writeable=False).copy("C")
            assert same(open_weights(path).read("w"), expected)
        else:
            counts["refused"] += 1
            with pytest.raises(LoadError, match=rf"tensor 'w': offset .* reach element {reach + 1} of a storage of 12"):
                open_weights(path)
    assert min(counts.values()) > 25


def test_contiguous_numbers_are_views_of_the_file(tmp_path):
    big = np.zeros(1_000_000, "<f4")
    saved = Saved(tmp_path, "zip")
    parts = torch_parts({"w": saved.of((1000, 1000), (1000, 1), numel=big.size)}, {"0": big.tobytes()})
    saved.path.write_bytes(zip_bytes(parts))
    gap = -(Archive(saved.path).members["archive/data/0"].offset + 4) % 64
    parts[2].extra = b"FB" + struct.pack("<H", gap) + b"Z" * gap  # as PyTorch aligns
    saved.path.write_bytes(zip_bytes(parts))
    tracemalloc.start()
    try:
        array = open_weights(saved.path).read("w")
        assert tracemalloc.get_traced_memory()[1] < 2**20
    finally:
        tracemalloc.stop()
    assert not array.flags.owndata
    assert same(array, big.reshape(1000, 1000))


def test_opening_does_not_read_numbers(tmp_path):
    """A sparse legacy file of 40 GB opens at once."""
    value = {"w": tensor(storage("0", 10**10, "FloatStorage", None), (10**5, 10**5), (10**5, 1))}
    head = torch_legacy(value, {"0": (10**10, b"")})
    path = tmp_path / "model.bin"
    path.write_bytes(head)
    os.truncate(path, len(head) + 4 * 10**10)
    tracemalloc.start()
    try:
        assert open_weights(path).tensors["w"].nbytes == 4 * 10**10
        assert tracemalloc.get_traced_memory()[1] < 2**20
    finally:
        tracemalloc.stop()


def test_reading_in_threads(saved):
    value = {f"w{i}": saved.of((3,), (4,), i % 4) for i in range(64)}
    file = open_weights(saved.save(value, s0=X))
    with ThreadPoolExecutor(4) as pool:
        for i, array in enumerate(pool.map(file.read, value)):
            assert np.array_equal(array, X[i % 4 :: 4])


def test_no_such_tensor_and_no_such_file(saved):
    file = open_weights(saved.save({"w": saved.of((12,), (1,))}, s0=X))
    with pytest.raises(LoadError, match="no tensor named 'v' of 1"):
        file.read("v")
    with pytest.raises(NotFound):
        open_legacy(saved.path.with_name("absent.bin"))


def test_bool_bytes_that_are_none(saved):
    bad = np.array([0, 1, 2], "u1")
    file = open_weights(saved.save({"w": saved.of((3,), (1,), numel=3, kind="BoolStorage")}, s0=bad))
    with pytest.raises(LoadError, match="tensor 'w': BOOL: expected bytes 0 and 1"):
        file.read("w")


# P13 to P19


@pytest.mark.parametrize("numel", [0, 1, 11, 13, 2**40, 2**60 - 1])
def test_p13_storage_of_another_size(saved, numel):
    path = saved.save({"w": saved.of((1,), (1,), numel=numel)}, s0=X)
    with pytest.raises(
        LoadError, match=rf"storage '?0'?: expected {4 * numel} bytes( of F32)?,.* (48$|got 12 elements)"
    ):
        open_weights(path)


def test_p13_bytes_that_are_no_whole_number_of_elements(tmp_path):
    path = tmp_path / "model.bin"
    path.write_bytes(torch_zip({"w": tensor(storage("0", 3), (3,), (1,))}, {"0": bytes(13)}))
    with pytest.raises(LoadError, match="storage 0: expected 12 bytes, the archive has 13"):
        open_weights(path)


def test_p13_storage_named_with_two_dtypes(saved):
    path = saved.save({"w": saved.of((1,), (1,)), "v": saved.of((1,), (1,), kind="IntStorage")}, s0=X)
    with pytest.raises(LoadError, match="BINPERSID: storage 0: named with two dtypes"):
        open_weights(path)


@pytest.mark.parametrize(
    ("size", "stride", "offset", "match"),
    [
        ((12,), (1,), 1, "offset 1, size \\(12,\\) and stride \\(1,\\) reach element 13 of a storage of 12"),
        ((13,), (1,), 0, "reach element 13 of a storage of 12"),
        ((2,), (12,), 0, "reach element 13 of a storage of 12"),
        ((2, 2), (10, 2), 0, "reach element 13 of a storage of 12"),
        ((), (), 12, "reach element 13 of a storage of 12"),
        ((0,), (1,), 13, "reach element 13 of a storage of 12"),
        ((2,), (2**62,), 0, "reach element 4611686018427387905 of a storage"),
        ((2,), (2**600,), 0, "reach element .* of a storage"),
        ((1,), (1,), 2**63, "reach element 9223372036854775809 of a storage"),
        ((1,), (1,), -1, "expected an offset and 1 strides of 0 or more, got -1 and \\(1,\\)"),
        ((12,), (-1,), 11, "expected an offset and 1 strides of 0 or more, got 11 and \\(-1,\\)"),
        ((12, 1), (1,), 0, "expected an offset and 2 strides of 0 or more"),
        ((12,), (1, 1), 0, "expected an offset and 1 strides of 0 or more"),
        ((-1,), (1,), 0, "shape: expected at most 32 integers of 0 or more"),
        ((2**63,), (0,), 0, "shape: expected at most 32 integers of 0 or more"),
        ((2**62, 2), (0, 0), 0, "shape: expected less than 2\\^63 bytes"),
        ((1,) * 33, (0,) * 33, 0, "shape: expected at most 32 integers of 0 or more"),
        ((10**12,), (0,), 0, "tensor 'w': size: .* repeats the 48 bytes of its storage"),
        ((10**6, 6), (1, 1), 0, "reach element"),
        ((2**11 + 1, 2**11), (0, 0), 3, "tensor 'w': size: .* take over 16777216 bytes more than there are"),
    ],
)
def test_p14_tensors_beyond_their_storage(saved, size, stride, offset, match):
    path = saved.save({"ok": saved.of((12,), (1,)), "w": saved.of(size, stride, offset)}, s0=X)
    tracemalloc.start()
    try:
        with pytest.raises(LoadError, match=rf"tensor 'w': .*{match}|{match}") as caught:
            open_weights(path)
        assert tracemalloc.get_traced_memory()[1] < 2**20
    finally:
        tracemalloc.stop()
    assert str(caught.value).startswith(str(path))
    assert len(str(caught.value)) < 1000


def test_p14_repeated_elements_are_counted_together(saved, monkeypatch):
    monkeypatch.setattr(tensors, "EXPANSION_LIMIT", 1000)
    repeated = saved.of((111,), (0,))  # 444 bytes, 396 more than its storage
    assert len(open_weights(saved.save({"a": repeated, "b": repeated}, s0=X)).tensors) == 2
    with pytest.raises(LoadError, match=r"tensor 'c': size: .* repeats the 48 bytes"):
        open_weights(saved.save({"a": repeated, "b": repeated, "c": repeated}, s0=X))


def test_p15_tied_tensors(saved):
    value = {
        "word": saved.of((3, 4), (4, 1)),
        "decoder": saved.of((3, 4), (4, 1)),
        "transposed": saved.of((4, 3), (1, 4)),
        "part": saved.of((2, 4), (4, 1)),
        "again": saved.of((3, 4), (4, 1)),
        "other": tensor(saved.storage("1", 12), (3, 4), (4, 1)),
    }
    file = open_weights(saved.save(value, s0=X, s1=X))
    assert file.ties == {"decoder": "word", "again": "word"}
    assert all(same(file.read(name), X.reshape(3, 4)) for name in ("word", "decoder", "again", "other"))
    assert same(file.read("transposed"), X.reshape(3, 4).T.copy())


@pytest.mark.parametrize("dtype", ["<f4", "<f2", "<i8", "<c8"])
def test_p16_big_endian_numbers(tmp_path, dtype):
    array = np.arange(6).astype(dtype) + 1
    kind = next(kind for kind, (_, stored) in KINDS.items() if stored == dtype)
    value = {"w": tensor(storage("0", 6, kind), (2, 3), (3, 1)), "t": tensor(storage("0", 6, kind), (3, 2), (1, 3))}
    path = tmp_path / "model.bin"
    path.write_bytes(torch_zip(value, {"0": array.byteswap().tobytes()}, order="big"))
    file = open_weights(path)
    assert same(file.read("w"), array.reshape(2, 3))
    assert same(file.read("t"), array.reshape(2, 3).T.copy())


def test_p16_big_endian_bfloat16(tmp_path):
    path = tmp_path / "model.bin"
    value = {"w": tensor(storage("0", 2, "BFloat16Storage"), (2,), (1,))}
    path.write_bytes(torch_zip(value, {"0": b"\x3f\x80\xc0\x00"}, order="big"))
    assert same(open_weights(path).read("w"), np.array([1, -2], "f4"))


@pytest.mark.parametrize("order", ["Big", "little\n", "", "middle", "little" + "x" * 1000])
def test_p16_other_byte_orders(tmp_path, order):
    path = tmp_path / "model.bin"
    path.write_bytes(torch_zip({"w": tensor(storage("0", 12), (12,), (1,))}, {"0": X.tobytes()}, order=order))
    with pytest.raises(LoadError, match="byteorder: expected 'little' or 'big', got"):
        open_weights(path)


def test_p16_without_a_byte_order(tmp_path):
    parts = torch_parts({"w": tensor(storage("0", 12), (12,), (1,))}, {"0": X.tobytes()})
    path = tmp_path / "model.bin"
    path.write_bytes(zip_bytes([part for part in parts if "byteorder" not in str(part.name)]))
    assert same(open_weights(path).read("w"), X)


@pytest.mark.parametrize("version", [b"0\n", b"11\n", b"", b"x", b"-3", b"3\n\n", b" 3", b"3" * 20, b"\xff"])
def test_version_of_the_archive(tmp_path, version):
    parts = torch_parts({"w": tensor(storage("0", 12), (12,), (1,))}, {"0": X.tobytes()})
    path = tmp_path / "model.bin"
    path.write_bytes(zip_bytes([*parts[:-1], Part("archive/version", version, streamed=bool(version))]))
    with pytest.raises(LoadError, match="version: expected 1 to 10, got"):
        open_weights(path)
    path.write_bytes(zip_bytes(parts[:-1]))
    with pytest.raises(LoadError, match="no member 'archive/version' of 3"):
        open_weights(path)


W = tensor(storage("0", 12, "FloatStorage", None), (12,), (1,))
LEGACY = {"0": (12, X.tobytes())}


def legacy_refused(path: Path, content: bytes, match: str) -> LoadError:
    path.write_bytes(content)
    with pytest.raises(LoadError, match=match) as caught:
        open_legacy(path)
    assert str(caught.value).startswith(str(path))
    return caught.value


@pytest.mark.parametrize(
    "magic",
    [
        pickled(0x1950A86A20F9469CFC6D),
        b"\x80\x06" + MAGIC[2:],
        b"\x80\x04" + MAGIC[2:],
        b"\x80\x04\x95\x0e" + bytes(7) + MAGIC[2:],
        pickled(Call(Global("builtins", "int"), ("119547037146038801333356",))),
        b"",
    ],
)
def test_p18_magic_number(tmp_path, magic):
    """Also the right number, made by a program, as some files do that deceive scanners."""
    content = torch_legacy({"w": W}, LEGACY, magic=magic)
    legacy_refused(tmp_path / "model.bin", content, f"magic number: expected {MAGIC.hex()}, got")
    with pytest.raises(LoadError):
        open_weights(tmp_path / "model.bin")


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_p17_legacy_file_of_every_protocol(tmp_path, protocol):
    """Protocols 4 and 5 put each of the pickles into a frame of its own."""
    ids = pickle.dumps(0x1950A86A20F9469CFC6C, protocol), pickle.dumps(1001, protocol)
    body = torch_legacy({"w": W}, LEGACY)[len(MAGIC) + len(pickled(1001)) :]
    (tmp_path / "model.bin").write_bytes(b"".join(ids) + body)
    file = open_weights(tmp_path / "model.bin")
    assert file.format == "PyTorch legacy"
    assert same(file.read("w"), X)


@pytest.mark.parametrize("version", [1000, 1002, "1001", 1001.0, True, None, Call(Global("os", "getpid"), ())])
def test_p18_protocol_number(tmp_path, version):
    content = torch_legacy({"w": W}, LEGACY, version=version)
    legacy_refused(tmp_path / "model.bin", content, "protocol: (expected 1001, got|byte .* os.getpid is not among)")


@pytest.mark.parametrize(
    ("system", "field"),
    [
        (SYSTEM | {"little_endian": False}, "little_endian: expected True"),
        (SYSTEM | {"little_endian": 1}, "little_endian: expected True"),
        (SYSTEM | {"protocol_version": 1000}, "protocol_version: expected 1001"),
        ({"protocol_version": 1001}, "little_endian: expected True"),
        (None, "protocol_version: expected 1001"),
        ([1], "protocol_version: expected 1001"),
    ],
)
def test_p18_system(tmp_path, system, field):
    content = torch_legacy({"w": W}, LEGACY, system=system)
    legacy_refused(tmp_path / "model.bin", content, f"system: {field}")


@pytest.mark.parametrize(
    ("keys", "match"),
    [
        ([], "list of storages: without '0'"),
        (["0", "0"], "list of storages: expected those of the tensors, once, got '0'"),
        (["0", "1"], "list of storages: expected those of the tensors, once, got '1'"),
        ([0], "list of storages: expected those of the tensors, once, got 0"),
        ([["0"]], "list of storages: expected those of the tensors, once, got a list of 1"),
        ("0", "list of storages: expected those of the tensors, once, got None"),
        (None, None),
        ({"0": 1}, "list of storages: expected those of the tensors, once, got None"),
    ],
)
def test_p18_list_of_storages(tmp_path, keys, match):
    content = torch_legacy({"w": W}, LEGACY, keys=keys)
    if match is None:  # the true list
        (tmp_path / "model.bin").write_bytes(content)
        assert same(open_weights(tmp_path / "model.bin").read("w"), X)
    else:
        legacy_refused(tmp_path / "model.bin", content, match)


def test_p18_missing_and_extra_storages(tmp_path):
    path = tmp_path / "model.bin"
    legacy_refused(path, torch_legacy({"w": W}, {}), "list of storages: without '0'")
    legacy_refused(
        path, torch_legacy({"w": W}, LEGACY | {"1": (0, b"")}), "expected those of the tensors, once, got '1'"
    )
    content = torch_legacy({"w": W}, LEGACY)
    legacy_refused(path, content + b"\0", "1 bytes follow the last storage")
    legacy_refused(path, content[:-1], "storage '0': 1 bytes are missing")
    legacy_refused(path, content[: -len(X.tobytes()) - 1], "bytes .* were asked for")


def test_p18_cut_anywhere(tmp_path):
    content = torch_legacy({"w": W}, LEGACY)
    for length in range(0, len(content), 3):
        legacy_refused(tmp_path / "model.bin", content[:length], "magic|cut off|missing|were asked for|line of at most")


def test_p18_keys_in_any_order(tmp_path):
    value = {"a": tensor(storage("7", 12, "FloatStorage", None), (12,), (1,)),
             "b": tensor(storage("10", 1, "LongStorage", None), (), ())}  # fmt: skip
    path = tmp_path / "model.bin"
    path.write_bytes(torch_legacy(value, {"7": (12, X.tobytes()), "10": (1, struct.pack("<q", -5))}))
    file = open_weights(path)
    assert same(file.read("a"), X)
    assert same(file.read("b"), np.array(-5))


def test_p18_storages_that_are_views(tmp_path):
    """Before PyTorch 1.0 a storage could be a part of another one; the offsets of its tensors count from its start."""
    path = tmp_path / "model.bin"
    part = storage("0", 12, "FloatStorage", ("1", 4, 6))
    value = {
        "w": tensor(part, (2, 2), (3, 1), 1),
        "x": tensor(storage("0", 12, "FloatStorage", None), (2, 2), (3, 1), 5),
    }
    path.write_bytes(torch_legacy(value, LEGACY))
    file = open_weights(path)
    assert same(file.read("w"), X[4:10].reshape(2, 3)[:, 1:].copy())
    assert file.ties == {"x": "w"}
    legacy_refused(path, torch_legacy({"w": tensor(part, (7,), (1,))}, LEGACY), "reach element 7 of a storage of 6")
    end = storage("0", 12, "FloatStorage", ("1", 4, 8))
    path.write_bytes(torch_legacy({"w": tensor(end, (8,), (1,))}, LEGACY))
    assert same(open_weights(path).read("w"), X[4:])


@pytest.mark.parametrize(
    "view",
    [
        1,
        (),
        ("1", 0),
        (1, 0, 1),
        ("1", -1, 1),
        ("1", 0, -1),
        ("1", 0.0, 1),
        ("1", True, 1),
        ("1", 0, "1"),
        ("1", 0, True),
    ],
)
def test_p18_views_that_are_none(tmp_path, view):
    value = {"w": tensor(storage("0", 12, "FloatStorage", view), (1,), (1,))}
    legacy_refused(
        tmp_path / "model.bin", torch_legacy(value, LEGACY), "storage 0: view: expected key, offset and number"
    )


@pytest.mark.parametrize("view", [("1", 1, 12), ("1", 13, 0), ("1", 0, 2**64), ("1", 2**600, 0)])
def test_p18_views_beyond_their_storage(tmp_path, view):
    value = {"w": tensor(storage("0", 12, "FloatStorage", view), (1,), (1,))}
    legacy_refused(tmp_path / "model.bin", torch_legacy(value, LEGACY), "storage 0: view: elements .* of 12")


@pytest.mark.parametrize("name", ["model.tar", "pytorch_model.bin"])
def test_p19_tar_archives(tmp_path, monkeypatch, name):
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w") as tar:
        for member in ("sys_info", "pickle", "storages", "tensors"):
            tar.addfile(tarfile.TarInfo(member))
    path = tmp_path / name
    path.write_bytes(content.getvalue())
    monkeypatch.setattr(tarfile, "open", None)
    with pytest.raises(LoadError, match="got a tar archive") as caught:
        open_weights(path)
    assert "load and save it once with PyTorch" in caught.value.hint
    with pytest.raises(LoadError, match="magic number"):
        open_legacy(path)


# P26: what is in the file


@pytest.mark.parametrize("wrapper", ["state_dict", "model", "module", "model_state_dict"])
def test_p26_nested_checkpoints(saved, wrapper):
    inner = {"module.LayerNorm.gamma": saved.of((12,), (1,)), "module.LayerNorm.beta": saved.of((12,), (1,))}
    args = Call(Global("argparse", "Namespace"), (), {"lr": 0.1})
    value = {"epoch": 3, wrapper: Ordered(inner), "optimizer": {"state": {0: saved.of((12,), (1,))}}, "args": args}
    file = open_weights(saved.save(value, s0=X))
    assert list(file.tensors) == list(inner)
    assert same(file.read("module.LayerNorm.beta"), X)
    assert file.notes == [
        f"The weights are those under '{wrapper}'; beside it, not read: 'epoch', 'optimizer', 'args'."
    ]


def test_p26_twice_nested(saved):
    file = open_weights(saved.save({"model": {"state_dict": {"w": saved.of((12,), (1,))}}}, s0=X))
    assert list(file.tensors) == ["w"]
    assert file.notes == ["The weights are those under 'model'.", "The weights are those under 'state_dict'."]


def test_p26_tensors_named_like_wrappers(saved):
    file = open_weights(saved.save({"model": saved.of((12,), (1,)), "module": 3}, s0=X))
    assert list(file.tensors) == ["model"]
    assert file.notes == ["Entries that are no tensors, not read: 'module'."]


def test_p26_entries_that_are_no_tensors(saved):
    value = {"w": saved.of((12,), (1,)), **{f"n{i}": i for i in range(10)}}
    file = open_weights(saved.save(value, s0=X))
    shown = ", ".join(f"'n{i}'" for i in range(8))
    assert file.notes == [f"Entries that are no tensors, not read: {shown} and 2 more."]


@pytest.mark.parametrize("module", ["torch.nn.modules.linear", "transformers.models.bert.modeling_bert", "__main__"])
def test_p26_whole_models(saved, module):
    model = Call(Global(module, "Model"), (), {"weight": saved.of((12,), (1,))})
    with pytest.raises(LoadError, match=f"GLOBAL: {module}.Model is not among the names") as caught:
        open_weights(saved.save(model, s0=X))
    assert "torch.save(model.state_dict(), PATH)" in caught.value.hint


@pytest.mark.parametrize(
    ("value", "match"),
    [
        (None, "expected a dict of tensors, got None"),
        ([{}], "expected a dict of tensors, got a list of 1"),
        ({}, "expected tensors by name, got an empty dict"),
        ({"a": 1, "b": {"c": 1}}, "expected tensors by name, got 'a', 'b'"),
        ({1: 2}, "expected names of tensors, got the key 1"),
        ({("a",): 2}, "expected names of tensors, got the key a tuple of 1"),
        ({"state_dict": {None: 2}}, "expected names of tensors, got the key None"),
        ({"state_dict": {"model": {"module": {"model": {"w": 1}}}}}, "more than 3 checkpoints inside one another"),
        (Raw(b"}" + (encode("w") + b"Ns") * 2), "'w': there twice"),
    ],
)
def test_p26_no_state_dict(saved, value, match):
    path = saved.save(value)
    with pytest.raises(LoadError, match=match) as caught:
        open_weights(path)
    assert str(caught.value).startswith(f"{path}: ")


def test_p26_a_bare_tensor(saved):
    with pytest.raises(LoadError, match="expected a dict of tensors, got <a tensor>"):
        open_weights(saved.save(saved.of((12,), (1,)), s0=X))


def test_shards_are_opened_one_by_one(tmp_path):
    index = {"weight_map": {}}
    for i in range(2):
        name = f"pytorch_model-0000{i + 1}-of-00002.bin"
        value = Ordered({f"w{i}": tensor(storage("0", 12), (12,), (1,))})
        (tmp_path / name).write_bytes(torch_zip(value, {"0": (X + i).tobytes()}))
        index["weight_map"][f"w{i}"] = name
    (tmp_path / "pytorch_model.bin.index.json").write_text(json.dumps(index))
    file = open_weights(tmp_path)
    assert file.format == "PyTorch zip, 2 shards"
    assert same(file.read("w1"), X + 1)
