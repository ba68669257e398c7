"""NumPy's own files come back to the bit, ours are read by NumPy, and no header or deflated byte can hurt."""

from __future__ import annotations

import io
import os
import struct
import threading
import tracemalloc
import zipfile
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from minibert.errors import InputError, LoadError, NotFound
from minibert.formats import npz
from minibert.formats.npz import open_npy, open_npz, save_npz
from minibert.formats.opening import open_weights

DTYPES = ["?", "u1", "i1", "<i2", "<u2", "<f2", "<i4", "<u4", "<f4", "<c8", "<f8", "<i8", "<u8"]
ORDERS = [*DTYPES, *(dtype.replace("<", ">") for dtype in DTYPES if dtype[0] == "<")]
SHAPES = [(), (1,), (5,), (0, 4), (2, 3), (3, 1, 2, 2)]
WRITERS = {"stored": np.savez, "deflated": np.savez_compressed}


def numbers(dtype: str, shape: tuple[int, ...]) -> np.ndarray:
    """Every bit pattern of one byte; NaN payloads and negative zeros with them."""
    dtype = np.dtype(dtype)
    size = int(np.prod(shape)) * dtype.itemsize
    raw = np.random.default_rng(7).integers(0, 2 if dtype == "?" else 256, size, np.uint8)
    return raw.view(dtype).reshape(shape)


def same(ours: np.ndarray, array: np.ndarray) -> bool:
    """Equal to the bit, and as `Weights.read` promises."""
    assert ours.flags.c_contiguous
    assert ours.flags.aligned
    assert not ours.flags.writeable
    assert ours.dtype.isnative
    native = array.astype(array.dtype.newbyteorder("="))
    return (ours.dtype, ours.shape, ours.tobytes()) == (native.dtype, native.shape, native.tobytes("C"))


def npy(header: str, data: bytes = b"", version: int = 1, length: int | None = None) -> bytes:
    """An .npy file with this header, whatever it says."""
    text = header.encode("utf-8" if version == 3 else "latin-1")
    size = (len(text) if length is None else length).to_bytes(2 if version == 1 else 4, "little")
    return b"\x93NUMPY" + bytes([version, 0]) + size + text + data


def described(descr: str = "'<f4'", shape: str = "(2, 3)", fortran: str = "False") -> str:
    return f"{{'descr': {descr}, 'fortran_order': {fortran}, 'shape': {shape}, }}"


@pytest.fixture
def archive(tmp_path):
    """archive({member: bytes}, compress=False): a zip file of them."""

    def write(members: dict[str, bytes], compress: bool = False):
        path = tmp_path / "model.npz"
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED if compress else zipfile.ZIP_STORED) as file:
            for name, content in members.items():
                file.writestr(name, content)
        return path

    return write


# --- reading what NumPy writes ------------------------------------------------------------------------------------


@pytest.mark.parametrize("writer", WRITERS)
def test_files_of_numpy_are_read(tmp_path, writer):
    arrays = {f"{dtype}/{shape}": numbers(dtype, shape) for dtype in ORDERS for shape in SHAPES}
    arrays |= {f"F {name}": np.asfortranarray(array) for name, array in arrays.items()}
    arrays = {name.replace("<", "le").replace(">", "be").replace("?", "b"): array for name, array in arrays.items()}
    WRITERS[writer](tmp_path / "model.npz", **arrays)
    file = open_weights(tmp_path / "model.npz")
    assert file.format == "npz"
    assert file.paths == (tmp_path / "model.npz",)
    assert list(file.tensors) == list(arrays)
    for name, array in arrays.items():
        assert file.tensors[name].shape == array.shape
        assert file.tensors[name].nbytes == array.nbytes
        assert same(file.read(name), array), name
    with pytest.raises(LoadError, match=r"model\.npz: no tensor named 'absent' of 276"):
        file.read("absent")


@pytest.mark.parametrize("version", [(1, 0), (2, 0), (3, 0)])
def test_versions_of_the_header(tmp_path, version):
    array = numbers("<f4", (2, 3))
    with open(tmp_path / "bert.x.npy", "wb") as file:
        np.lib.format.write_array(file, array, version)
    opened = open_weights(tmp_path / "bert.x.npy")
    assert opened.format == "npy"
    assert list(opened.tensors) == ["bert.x"]
    assert same(opened.read("bert.x"), array)


@pytest.mark.parametrize(
    "header",
    [
        "{'descr': '<f4', 'fortran_order': False, 'shape': (2L, 3L), }",  # Python 2
        "{'shape':(2,3),'fortran_order':False,'descr':'<f4'}",
        " { 'fortran_order' : False , 'descr' : '<f4' ,\n 'shape' : ( 2 , 3 , ) , } \n",
    ],
)
def test_headers_of_other_writers(tmp_path, header):
    (tmp_path / "a.npy").write_bytes(npy(header, numbers("<f4", (2, 3)).tobytes()))
    assert same(open_npy(tmp_path / "a.npy").read("a"), numbers("<f4", (2, 3)))


@pytest.mark.parametrize("descr", ["|i1", "<i1", ">i1", "<u1", "<b1"])
def test_byte_order_of_single_bytes_means_nothing(tmp_path, descr):
    array = numbers(descr[1:], (2, 3))
    (tmp_path / "a.npy").write_bytes(npy(described(repr(descr), "(2, 3)"), array.tobytes()))
    assert same(open_npy(tmp_path / "a.npy").read("a"), array)


def test_stored_arrays_are_views_of_the_file(tmp_path):
    save_npz(tmp_path / "model.npz", {"a": numbers("<f4", (2**20,))})
    file = open_npz(tmp_path / "model.npz")
    tracemalloc.start()
    array = file.read("a")
    assert tracemalloc.get_traced_memory()[1] < 2**16
    tracemalloc.stop()
    assert array[0] == numbers("<f4", (2**20,))[0]


def test_one_text_is_metadata(tmp_path):
    texts = {"config": '{"a": "é😀"}', "none": "", "big": np.array("ÿ1", ">U2")}
    for writer in WRITERS.values():
        writer(tmp_path / "model.npz", weight=np.zeros(2), raw=np.bytes_("née".encode()), **texts)
        file = open_npz(tmp_path / "model.npz")
        assert file.metadata == {"config": '{"a": "é😀"}', "none": "", "big": "ÿ1", "raw": "née"}
        assert list(file.tensors) == ["weight"]


def test_several_threads_read(tmp_path):
    arrays = {str(i): numbers("<f4", (1000 + i,)) for i in range(8)}
    np.savez_compressed(tmp_path / "model.npz", **arrays)
    file, failed = open_npz(tmp_path / "model.npz"), []

    def read():
        failed.extend(name for name in arrays if not same(file.read(name), arrays[name]))

    threads = [threading.Thread(target=read) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failed


def test_nothing_there(tmp_path):
    with pytest.raises(NotFound, match="no such file"):
        open_npz(tmp_path / "absent.npz")
    with pytest.raises(NotFound, match="no such file"):
        open_npy(tmp_path / "absent.npy")


# --- T11: headers that lie ----------------------------------------------------------------------------------------

DATA = bytes(24)
BAD_HEADERS = {
    "object": (described("'|O'"), "descr: expected one of bool, .*, got '|O'"),
    "text": (described("'<U3'"), "descr: .* got '<U3'"),
    "bytes": (described("'|S3'"), r"descr: .* got '\|S3'"),
    "date": (described("'<M8[s]'"), r"descr: .* got '<M8\[s\]'"),
    "longdouble": (described("'<f16'"), "descr: .* got '<f16'"),
    "complex128": (described("'<c16'"), "descr: .* got '<c16'"),
    "bfloat16": (described("'|V2'"), r"descr: .* got '\|V2'"),
    "native order": (described("'=f4'"), "descr: .* got '=f4'"),
    "no order": (described("'f4'"), "descr: .* got 'f4'"),
    "order of a byte": (described("'=u1'"), "descr: .* got '=u1'"),
    "no byte order": (described("'|f4'"), r"descr: .* got '\|f4'"),
    "empty descr": (described("''"), "descr: .* got ''"),
    "structured": (described("[('a', '<f4'), ('b', '|O')]"), "descr: expected one dtype such as '<f4', got"),
    "1-tuple": (described("('<f4',)"), "descr: expected one dtype such as '<f4', got"),
    "descr number": (described("(4,)"), "descr: expected one dtype such as '<f4', got"),
    "shape 10^18": (described(shape="(1000000000000000000,)"), "expected 4000000000000000.* bytes"),
    "shape 10^19": (described(shape="(10000000000000000000,)"), "shape: expected at most 32 integers"),
    "shape 2^70": (described(shape=f"({2**70},)"), "shape: expected at most 32 integers of 0 or more"),
    "product 2^70": (described(shape=f"({2**35}, {2**35})"), r"shape: expected less than 2\^63 bytes"),
    "product 2^70 times 0": (described(shape=f"({2**35}, {2**35}, 0)"), r"shape: expected less than 2\^63 bytes"),
    "long number": (described(shape="(" + "9" * 500 + ",)"), "shape: expected a tuple of integers"),
    "negative": (described(shape="(-1, 6)"), "shape: expected at most 32 integers of 0 or more"),
    "both negative": (described(shape="(-2, -3)"), "shape: expected at most 32 integers of 0 or more"),
    "33 dimensions": (described(shape="(" + "1, " * 33 + ")"), "shape: expected at most 32"),
    "float": (described(shape="(2.0, 3)"), "shape: expected a tuple of integers"),
    "list": (described(shape="[2, 3]"), "shape: expected a tuple of integers"),
    "holes": (described(shape="(2,,3)"), "shape: expected a tuple of integers"),
    "number": (described(shape="6"), "expected descr, fortran_order and shape, got \"'shape': 6"),
    "name": (described(shape="(a,)"), "shape: expected a tuple of integers"),
    "call": (described(shape="__import__('os')"), "expected descr, fortran_order and shape"),
    "fortran number": (described(fortran="1"), "expected descr, fortran_order and shape"),
    "fortran text": (described(fortran="'no'"), "fortran_order: expected True or False, got \"'no'\""),
    "missing key": ("{'descr': '<f4', 'shape': (2, 3)}", r"expected descr, fortran_order and shape, got \['descr',"),
    "more keys": (described()[:-1] + "'x': True}", r"expected descr, fortran_order and shape, got \['descr',"),
    "twice": (described()[:-1] + "'shape': (1,)}", "expected descr, fortran_order and shape, got shape twice"),
    "no dict": ("['<f4']", "expected a dict"),
    "empty": ("", "expected a dict"),
    "brackets": ("{" * 500 + "}" * 500, "expected descr, fortran_order and shape"),
    "too few bytes": (described(shape="(2, 4)"), "expected .* bytes by its header, got"),
    "too many bytes": (described(shape="(5,)"), "expected .* bytes by its header, got"),
}


@pytest.mark.parametrize("name", BAD_HEADERS)
def test_t11_header(tmp_path, archive, name):
    header, match = BAD_HEADERS[name]
    (tmp_path / "a.npy").write_bytes(npy(header, DATA))
    with pytest.raises(LoadError, match=match) as caught:
        open_npy(tmp_path / "a.npy")
    assert caught.value.message.startswith(f"{tmp_path / 'a.npy'}: ")
    for compress in (False, True):
        path = archive({"good.npy": npy(described(), DATA), "x/bad.npy": npy(header, DATA)}, compress)
        with pytest.raises(LoadError, match=match) as caught:
            open_npz(path)
        assert caught.value.message.startswith(f"{path}: member 'x/bad.npy': ")


def test_t11_objects_are_not_unpickled(tmp_path):
    canary = tmp_path / "canary"

    class Evil:
        def __reduce__(self):
            return os.mkdir, (str(canary),)

    for writer in WRITERS.values():
        writer(tmp_path / "model.npz", good=np.zeros(2), evil=np.array([Evil()], object))
        with pytest.raises(LoadError, match=r"member 'evil\.npy': descr: .* got '\|O'") as caught:
            open_npz(tmp_path / "model.npz")
        assert "can run any program" in caught.value.hint
    np.save(tmp_path / "evil.npy", np.array([Evil()], object))
    with pytest.raises(LoadError, match=r"evil\.npy: descr: .* got '\|O'"):
        open_npy(tmp_path / "evil.npy")
    assert not canary.exists()


@pytest.mark.parametrize("length", [2**32 - 1, 2**31, 10_000, 4096])
def test_t11_length_of_the_header(tmp_path, archive, length):
    content = npy(described(), DATA, 2, length)
    tracemalloc.start()
    for path in (archive({"a.npy": content}), archive({"a.npy": content}, True), tmp_path / "a.npy"):
        (tmp_path / "a.npy").write_bytes(content)
        with pytest.raises(LoadError, match=f"header: expected at most 40.. bytes, got {length}"):
            open_weights(path)
    assert tracemalloc.get_traced_memory()[1] < 2**20
    tracemalloc.stop()


@pytest.mark.parametrize(
    ("content", "match"),
    [
        (b"", "begins with"),
        (b"\x93NUMP", "begins with"),
        (b"\x80\x04pickle", "begins with"),
        (b"\x93NUMPY", "version: expected 1.0, 2.0 or 3.0, got $"),
        (b"\x93NUMPY\x01\x01", "version: expected 1.0, 2.0 or 3.0, got 1.1"),
        (b"\x93NUMPY\x04\x00\x10\x00", "version: expected .* got 4.0"),
        (b"\x93NUMPY\x01\x00\x10", "header: expected .* bytes, got 9"),
        (b"\x93NUMPY\x02\x00\x10\x00\x00", "header: expected .* bytes, got 11"),
        (npy(described())[:-1], "header: expected .* bytes, got"),
        (npy(described("'é'"), version=1).replace(b"\x01\x00", b"\x03\x00\x47\x00", 1), "header: expected"),
        (npy("\x80", version=1).replace(b"\x01\x00\x01\x00", b"\x03\x00\x01\x00\x00\x00", 1), "header: expected UTF-8"),
    ],
)
def test_t11_beginning_of_the_file(tmp_path, archive, content, match):
    (tmp_path / "a.npy").write_bytes(content)
    for path in (tmp_path / "a.npy", archive({"a.npy": content}), archive({"a.npy": content}, True)):
        with pytest.raises(LoadError, match=match):
            (open_npy if path.suffix == ".npy" else open_npz)(path)


def test_t11_cut_off_anywhere(tmp_path):
    whole = npy(described(), DATA)
    for end in range(len(whole)):
        (tmp_path / "a.npy").write_bytes(whole[:end])
        with pytest.raises(LoadError):
            open_npy(tmp_path / "a.npy")


# --- T11: zip bombs and damaged members ---------------------------------------------------------------------------


def deflated(path, name: str, packed: bytes, size: int, crc: int) -> None:
    """An archive of one deflated member, of which the directory says `size` and `crc`."""
    raw = name.encode()
    common = struct.pack("<5H3I2H", 20, 0, 8, 0, 33, crc, len(packed), size, len(raw), 0)
    local = b"PK\3\4" + common + raw + packed
    central = b"PK\1\2" + struct.pack("<H", 20) + common + struct.pack("<3H2I", 0, 0, 0, 0, 0) + raw
    path.write_bytes(local + central + b"PK\5\6" + struct.pack("<4H2IH", 0, 0, 1, 1, len(central), len(local), 0))


def deflate(content: bytes) -> bytes:
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    return packer.compress(content) + packer.flush()


def refused_in_little_memory(path, match: str) -> None:
    tracemalloc.start()
    with pytest.raises(LoadError, match=match):
        open_npz(path).read("a")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 8 << 20


def test_t11_bomb_that_says_so(tmp_path):
    packed = deflate(npy(described("'|u1'", f"({2**25},)"), bytes(2**25)))  # 32 MiB from 32 KiB
    size = len(npy(described("'|u1'", f"({2**25},)"))) + 2**25
    deflated(tmp_path / "a.npz", "a.npy", packed, size, 0)
    refused_in_little_memory(tmp_path / "a.npz", f"'a.npy': .* bytes unpack to {size}, more than is safe")
    with pytest.raises(LoadError) as caught:
        open_npz(tmp_path / "a.npz")
    assert "numpy.savez" in caught.value.hint


def test_t11_bomb_behind_a_small_array(tmp_path):
    small = npy(described(), DATA)
    deflated(tmp_path / "a.npz", "a.npy", deflate(small + bytes(2**24)), len(small), zlib.crc32(small))
    refused_in_little_memory(tmp_path / "a.npz", f"'a.npy': unpacks to more than the {len(small)} bytes that it names")


def test_t11_bomb_in_the_header(tmp_path):
    packed = deflate(b"\x93NUMPY\x02\x00\xff\xff\xff\xff" + b" " * 2**24)
    deflated(tmp_path / "a.npz", "a.npy", packed, 2**24 + 12, 0)
    refused_in_little_memory(tmp_path / "a.npz", "header: expected at most 4084 bytes, got 4294967295")


def test_t11_bomb_as_a_text(tmp_path):
    content = npy(described(f"'|S{2**24}'", "()"), bytes(2**24))
    deflated(tmp_path / "a.npz", "a.npy", deflate(content), len(content), zlib.crc32(content))
    refused_in_little_memory(tmp_path / "a.npz", "expected texts of at most 4194304 bytes in all")


def test_t11_bomb_of_many_texts(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        for i in range(200):
            text = bytes(4 * 249_999) + "语".encode("utf-32-le")
            archive.writestr(f"{i}.npy", npy(described("'<U250000'", "()"), text))
    refused_in_little_memory(tmp_path / "a.npz", "expected texts of at most 4194304 bytes in all")


@pytest.mark.parametrize("damage", ["cut", "short", "open", "garbage", "flip", "appended", "size", "crc"])
def test_t11_damaged_deflate(tmp_path, damage):
    content = npy(described("'|u1'", "(5000,)"), np.random.default_rng(0).bytes(5000))
    packed, size, crc = deflate(content), len(content), zlib.crc32(content)
    match = "'a.npy': "
    if damage == "cut":
        packed, match = packed[:-3000], match + "expected to unpack to .* bytes, got"
    elif damage == "short":  # a whole stream, of one byte less, and no checksum to tell
        packed, crc, match = deflate(content[:-1]), 0, match + f"expected to unpack to {size} bytes, got {size - 1}"
    elif damage == "open":  # all bytes, but the stream goes on
        packer = zlib.compressobj(9, zlib.DEFLATED, -15)
        packed = packer.compress(content) + packer.flush(zlib.Z_SYNC_FLUSH)
        match += f"expected to unpack to {size} bytes, got {size}"
    elif damage == "garbage":
        packed, match = b"\xff" * 100, match + "its deflated bytes are damaged"
    elif damage == "flip":
        packed = packed[:3000] + bytes([packed[3000] ^ 1]) + packed[3001:]
        match += "(crc|its deflated bytes|expected to unpack|unpacks)"
    elif damage == "appended":
        packed, match = packed + b"hidden", match + "unpacks to more"
    elif damage == "size":
        size, match = size + 1, match + "expected .* bytes by its header, got"
    else:
        crc, match = crc ^ 1, match + "crc: expected 0x.*, got 0x"
    deflated(tmp_path / "a.npz", "a.npy", packed, size, crc)
    with pytest.raises(LoadError, match=match):
        open_npz(tmp_path / "a.npz").read("a")


def test_p24_one_flipped_bit_anywhere_in_stored_numbers(tmp_path):
    save_npz(tmp_path / "a.npz", {"a": np.arange(50, dtype="<i4")})
    whole = (tmp_path / "a.npz").read_bytes()
    begin = whole.index(np.arange(50, dtype="<i4").tobytes())
    for at in range(begin, begin + 200, 7):
        (tmp_path / "a.npz").write_bytes(whole[:at] + bytes([whole[at] ^ 4]) + whole[at + 1 :])
        with pytest.raises(LoadError, match=r"member 'a\.npy': crc: expected"):
            open_npz(tmp_path / "a.npz").read("a")


def test_member_of_another_kind(archive):
    with pytest.raises(LoadError, match=r"member 'README': expected the members of an \.npz to end in \.npy"):
        open_npz(archive({"a.npy": npy(described(), DATA), "README": b"hello"}))


@pytest.mark.parametrize(
    ("descr", "data"), [("'<U1'", b"\0\xd8\0\0"), ("'<U1'", b"\xff\xff\xff\xff"), ("'|S1'", b"\xff")]
)
def test_text_that_is_none(archive, descr, data):
    with pytest.raises(LoadError, match=r"member 'a\.npy': expected utf-.* text"):
        open_npz(archive({"a.npy": npy(described(descr, "()"), data)}))


@pytest.mark.parametrize(
    ("descr", "shape", "data", "match"),
    [
        ("'<f4'", "(2,)", bytes(8), "expected metadata as one row of at most .* bytes U8, got F32"),
        ("'|u1'", "(1, 2)", b"{}", r"expected metadata as one row .* got U8 of shape \(1, 2\)"),
        ("'|u1'", "(2,)", b"[]", "expected a JSON object"),
        ("'|u1'", "(7,)", b'{"a":1}', "'a': expected a text, got 1"),
        ("'|u1'", "(1,)", b"\xff", "expected UTF-8"),
    ],
)
def test_metadata_that_is_none(archive, descr, shape, data, match):
    with pytest.raises(LoadError, match=rf"member '__metadata__\.npy': {match}"):
        open_npz(archive({"__metadata__.npy": npy(described(descr, shape), data)}))


# --- writing ------------------------------------------------------------------------------------------------------

PARTS = st.text(st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="\\/"), min_size=1, max_size=8)
NAMES = st.lists(PARTS.filter(lambda part: part not in (".", "..")), min_size=1, max_size=3).map("/".join)
ARRAYS = st.dictionaries(
    NAMES.filter(lambda name: name != "__metadata__" and name.split("/")[0][1:] != ":"),
    st.sampled_from(ORDERS).flatmap(
        lambda dtype: hnp.arrays(np.dtype(dtype), hnp.array_shapes(min_dims=0, min_side=0))
    ),
    min_size=1,
    max_size=5,
)


@settings(max_examples=40, deadline=None, derandomize=True)
@given(ARRAYS, st.dictionaries(st.text(max_size=5), st.text(max_size=5), max_size=3))
def test_round_trip_agrees_with_numpy(tmp_path_factory, arrays, metadata):
    path = tmp_path_factory.getbasetemp() / "round_trip.npz"
    save_npz(path, arrays, metadata)
    ours = open_npz(path)
    assert ours.metadata == metadata
    assert list(ours.tensors) == list(arrays)
    with np.load(path, allow_pickle=False) as library:
        assert set(library) - {"__metadata__"} == set(arrays)
        for name, array in arrays.items():
            assert same(ours.read(name), array)
            assert library[name].dtype == array.dtype.newbyteorder("<")
            assert library[name].tobytes() == array.astype(library[name].dtype).tobytes()


def test_writing_strides_orders_and_alignment(tmp_path):
    grid = np.arange(24, dtype=">f8").reshape(2, 3, 4)
    arrays = {
        "a": grid, "bc": np.asfortranarray(grid), "def": grid.T, "strided": grid[::-1, :, ::2],
        "repeated": np.broadcast_to(grid[0, 0], (3, 4)), "scalar": np.float32(5), "é" * 50: grid[:, :0],
    }  # fmt: skip
    save_npz(tmp_path / "a.npz", arrays)
    file = open_npz(tmp_path / "a.npz")
    for name, array in arrays.items():
        ours = file.read(name)
        assert same(ours, np.asarray(array))
        assert ours.ctypes.data % 64 == 0 or not ours.size


def test_equal_arguments_give_equal_files_that_numpy_could_have_written(tmp_path):
    arrays = {"b": numbers("<f4", (2, 3)), "a": numbers("<f4", ())}
    save_npz(tmp_path / "1.npz", arrays, {"x": "y"})
    save_npz(tmp_path / "2.npz", {name: array.copy("F") for name, array in arrays.items()}, {"x": "y"})
    assert (tmp_path / "1.npz").read_bytes() == (tmp_path / "2.npz").read_bytes()
    with zipfile.ZipFile(tmp_path / "1.npz") as file:
        assert file.testzip() is None
        assert file.namelist() == ["b.npy", "a.npy", "__metadata__.npy"]
        assert {info.compress_type for info in file.infolist()} == {zipfile.ZIP_STORED}
        assert {info.date_time for info in file.infolist()} == {(1980, 1, 1, 0, 0, 0)}
        assert np.load(io.BytesIO(file.read("__metadata__.npy"))).tobytes() == b'{"x": "y"}'


def test_members_beyond_4_gib_get_their_zip64_field(tmp_path, monkeypatch):
    monkeypatch.setattr(npz, "_LARGE", 1)
    arrays = {"a": numbers("<f4", (3,)), "b": numbers("<f8", (2, 2))}
    save_npz(tmp_path / "a.npz", arrays)
    assert (tmp_path / "a.npz").read_bytes()[18:26] == b"\xff" * 8
    file = open_npz(tmp_path / "a.npz")
    with np.load(tmp_path / "a.npz", allow_pickle=False) as library:
        for name, array in arrays.items():
            assert same(file.read(name), array)
            assert file.read(name).ctypes.data % 64 == 0
            assert library[name].tobytes() == array.tobytes()


@pytest.mark.parametrize("dtype", ["O", "U3", "S3", "c16", "M8[s]", "m8[s]", [("a", "f4")], "V4"])
def test_dtype_that_is_not_written(tmp_path, dtype):
    save_npz(tmp_path / "a.npz", {"old": np.zeros(3)})
    with pytest.raises(InputError, match="tensor 'bad': dtype: expected one of bool, "):
        save_npz(tmp_path / "a.npz", {"good": np.zeros(3), "bad": np.zeros(2, dtype)})
    assert list(open_npz(tmp_path / "a.npz").tensors) == ["old"]


@pytest.mark.parametrize(
    "name", ["", "/a", "a/", "a//b", "../a", "a/./b", "a\\b", "a\0b", "a\nb", "\ud800", "C:/a", "x" * 70_000, 1, None]
)
def test_name_that_could_not_be_read_back(tmp_path, name):
    with pytest.raises(InputError, match="expected a name that can be a relative path"):
        save_npz(tmp_path / "a.npz", {name: np.zeros(1)})
    assert not list(tmp_path.iterdir())


def test_reserved_name(tmp_path):
    with pytest.raises(InputError, match="tensor '__metadata__': reserved"):
        save_npz(tmp_path / "a.npz", {"__metadata__": np.zeros(1)})


@pytest.mark.parametrize("metadata", [{"a": 1}, {1: "a"}, {"a": "\ud800"}, {"a": b"b"}])
def test_metadata_that_is_not_written(tmp_path, metadata):
    with pytest.raises(InputError, match="metadata: expected Unicode texts"):
        save_npz(tmp_path / "a.npz", {}, metadata)
    assert not list(tmp_path.iterdir())


def test_metadata_too_long_to_be_read_back(tmp_path, monkeypatch):
    monkeypatch.setattr(npz, "CONFIG_LIMIT", 100)
    save_npz(tmp_path / "a.npz", {}, {"a": "x" * 91})
    with pytest.raises(InputError, match="metadata: expected at most 100 bytes as JSON, got 101"):
        save_npz(tmp_path / "b.npz", {}, {"a": "x" * 92})
    assert len(list(tmp_path.iterdir())) == 1


def test_writing_converts_one_array_at_a_time(tmp_path):
    arrays = {str(i): np.zeros(2**20, ">f4") for i in range(6)}
    tracemalloc.start()
    save_npz(tmp_path / "a.npz", arrays)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 3 * 2**22
