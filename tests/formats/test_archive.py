"""Zip archives: what every reader sees alike is read, all else is a LoadError that says what is wrong."""

from __future__ import annotations

import io
import os
import stat
import struct
import tracemalloc
import zipfile
import zlib

import numpy as np
import pytest

from minibert.errors import LoadError
from minibert.formats.archive import Archive
from minibert.formats.zips import open_zip
from tests.formats.torchfiles import Part, storage, tensor, torch_parts, zip_bytes

W = np.arange(6, dtype="<f4").reshape(2, 3)
VALUE = {"w": tensor(storage("0", 6), (2, 3), (3, 1))}


@pytest.fixture
def refused(tmp_path):
    """refused(content, match): opening a file of these bytes is a LoadError that names it and matches."""

    def refused(content: bytes, match: str, open_file=Archive) -> LoadError:
        path = tmp_path / "model.bin"
        path.write_bytes(content)
        tracemalloc.start()
        try:
            with pytest.raises(LoadError, match=match) as caught:
                open_file(path)
            assert tracemalloc.get_traced_memory()[1] < 2**20 + 3 * len(content)
        finally:
            tracemalloc.stop()
        assert str(caught.value).startswith(str(path))
        assert len(str(caught.value)) < 1000
        return caught.value

    return refused


def parts(**changes: object) -> list[Part]:
    """A PyTorch file of two storages whose member data/0 has these fields changed."""
    members = torch_parts(VALUE, {"0": W.tobytes(), "1": b"other"})
    for name, change in changes.items():
        setattr(members[2], name, change)
    return members


def added(*names: str | bytes, **fields: object) -> list[Part]:
    return parts() + [Part(name, b"new", **fields) for name in names]


# What is read


def test_members_of_an_archive_as_pytorch_writes_it(tmp_path):
    path = tmp_path / "model.bin"
    path.write_bytes(zip_bytes(parts(extra=b"FB\5\0ZZZZZ"), zip64={}))
    archive = Archive(path)
    assert list(archive.members) == [
        f"archive/{name}" for name in ("data.pkl", "byteorder", "data/0", "data/1", "version")
    ]
    member = archive.members["archive/data/0"]
    assert (member.nbytes, member.size, member.method, member.crc) == (24, 24, 0, zlib.crc32(W.tobytes()))
    assert path.read_bytes()[member.offset :][:24] == W.tobytes()
    assert archive.has_checksums
    assert bytes(archive.window("archive/data/1")) == b"other"
    assert np.array_equal(open_zip(path).read("w"), W)


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
@pytest.mark.parametrize("way", ["file", "stream", "zip64 fields", "zip64 stream"])
def test_archives_of_python_are_read(tmp_path, method, way):
    class Stream(io.RawIOBase):  # cannot seek, so that sizes follow the data
        def __init__(self):
            self.content = b""

        def writable(self):
            return True

        def write(self, raw):
            self.content += bytes(raw)
            return len(raw)

    contents = {"a.txt": b"hello" * 50, "folder/é.bin": b"", "folder/z": bytes(1000)}
    target = Stream() if "stream" in way else io.BytesIO()
    with zipfile.ZipFile(target, "w", method) as file:
        file.mkdir("folder")
        for name, content in contents.items():
            with file.open(name, "w", force_zip64="zip64" in way) as member:
                member.write(content)
    path = tmp_path / "some.zip"
    path.write_bytes(target.content if isinstance(target, Stream) else target.getvalue())
    archive = Archive(path)
    assert list(archive.members) == list(contents)
    for name, content in contents.items():
        raw = bytes(archive.window(name))
        assert (zlib.decompress(raw, -15) if method else raw) == content
        assert archive.members[name].size == len(content)
        assert archive.members[name].method == method


def test_archives_of_numpy_are_read(tmp_path):
    for save in (np.savez, np.savez_compressed):
        save(tmp_path / "arrays.npz", w=W, b=np.ones(2))
        assert list(Archive(tmp_path / "arrays.npz").members) == ["w.npy", "b.npy"]


def test_wide_descriptors_and_fields_behind_four_gigabytes(tmp_path):
    """As PyTorch writes what begins behind 4 GiB: here the true numbers are small, but stand in their zip64 places."""
    members = parts(wide_descriptor=True, central_extra=struct.pack("<2H2Q", 1, 16, 24, 24))
    members[2].central |= {"nbytes": 0xFFFFFFFF, "size": 0xFFFFFFFF}
    path = tmp_path / "model.bin"
    ones = {"here": 0xFFFF, "count": 0xFFFF, "directory": 0xFFFFFFFF, "offset": 0xFFFFFFFF}
    path.write_bytes(zip_bytes(members, ones, zip64={}))
    assert np.array_equal(open_zip(path).read("w"), W)


def test_without_checksums_as_pytorch_can_write(tmp_path):
    """torch.serialization.set_crc32_options(False) makes the crc of every member 0; nothing less is taken for that."""
    members = parts()
    for member in members:
        member.crc = 0
    path = tmp_path / "model.bin"
    path.write_bytes(zip_bytes(members))
    file = open_zip(path)
    assert np.array_equal(file.read("w"), W)
    assert file.notes == ["The file was written without checksums: damage to its numbers would go unnoticed."]
    members[-1].crc = None
    path.write_bytes(zip_bytes(members))
    with pytest.raises(LoadError, match=r"byteorder': crc: expected 0x00000000, got 0x"):
        open_zip(path)


def test_checksums_are_computed_once(tmp_path, monkeypatch):
    path = tmp_path / "model.bin"
    path.write_bytes(zip_bytes(parts()))
    archive = Archive(path)
    archive.window("archive/data/0")
    monkeypatch.setattr(zlib, "crc32", lambda _: 1)
    archive.window("archive/data/0")
    with pytest.raises(LoadError, match=r"data/1': crc: expected 0x.*, got 0x00000001"):
        archive.window("archive/data/1")


def test_no_such_member(tmp_path):
    path = tmp_path / "model.bin"
    path.write_bytes(zip_bytes(parts()))
    with pytest.raises(LoadError, match="no member 'other' of 5"):
        Archive(path).window("other")


# P20 to P25


@pytest.mark.parametrize("name", ["archive/data.pkl", "archive/data/0"])
def test_p20_duplicate_member(refused, name):
    refused(zip_bytes(added(name)), f"member '{name}': there twice")


def test_p20_two_roots(refused):
    refused(zip_bytes(added("other/data.pkl")), "expected all members in one folder, got 'archive', 'other'", open_zip)
    refused(zip_bytes(added("version")), "expected all members in one folder, got 'archive', 'version'", open_zip)


@pytest.mark.parametrize(
    "name",
    ["../evil", "archive/../../evil", "/etc/passwd", "archive//x", "archive/./x", "C:/evil", "archive\\evil", "a\0b",
     "a\nb", "", b"archive/\xff", b"archive/\xed\xb2\x80", "/", "archive//"],
)  # fmt: skip
def test_p20_no_plain_relative_name(refused, name):
    refused(zip_bytes(added(name)), "member '.*': not a plain relative name in ASCII or, with its flag, UTF-8")


def test_p20_name_beyond_ascii_without_its_flag(refused):
    content = zip_bytes(added("archive/é", local={"flags": 8}, central={"flags": 8}))
    refused(content, "not a plain relative name")


def test_p20_second_name_in_an_extra_field(refused):
    name = struct.pack("<2HBI", 0x7075, 9, 1, 0) + b"evil"
    refused(zip_bytes(parts(central_extra=name)), "extra fields: malformed, too many, or a second name")


@pytest.mark.parametrize("kind", [stat.S_IFLNK, stat.S_IFIFO, stat.S_IFCHR])
def test_p20_symbolic_link(refused, kind):
    content = zip_bytes(parts(central={"system": 3 << 8, "outer": (kind | 0o777) << 16}))
    refused(content, "data/0': expected a file, got a symbolic link or a device")


def test_p20_extra_fields_without_end(refused):
    refused(zip_bytes(parts(central_extra=bytes(4 * 17))), "extra fields: malformed, too many")
    refused(zip_bytes(parts(central_extra=struct.pack("<2H", 0x4246, 5) + b"four")), "extra fields: malformed")
    extra = struct.pack("<2H2Q", 1, 16, 24, 24) + bytes(4 * 16)
    content = zip_bytes(parts(extra=extra, local={"nbytes": 0xFFFFFFFF, "size": 0xFFFFFFFF}))
    refused(content, "data/0': extra fields: malformed, too many")


def test_p21_overlapping_entries(refused):
    members = parts()
    members.append(Part("archive/data/2", b"", central={"header": 0}))
    refused(zip_bytes(members), "bytes|overlap")
    twice = parts()  # two entries of the directory for the same bytes
    content = zip_bytes(twice)
    first = content.index(b"PK\1\2")
    entry = content[first : content.index(b"PK\1\2", first + 4)]
    double = content[:first] + entry + content[first:]
    end = double.rindex(b"PK\5\6")
    fields = list(struct.unpack("<4s4H2IH", double[end:]))
    fields[3] += 1
    fields[4] += 1
    fields[5] += len(entry)
    refused(double[:end] + struct.pack("<4s4H2IH", *fields), "data.pkl': .* overlap what follows at 0")


def test_p21_quoted_overlap(refused):
    """A member whose extra field or data is the header of the next, as in zip bombs."""
    inner = zip_bytes([Part("inner", b"x" * 50)])
    header_and_data = inner[: inner.index(b"PK\1\2")]
    outer = Part("outer", header_and_data)
    content = zip_bytes([outer, Part("inner", b"x" * 50)])
    moved = content.replace(
        content[content.rindex(b"PK\1\2") :][42:46], struct.pack("<I", content.index(b"PK\3\4", 4)), 1
    )
    assert moved != content
    refused(moved, "overlap")


@pytest.mark.parametrize("field", ["crc", "nbytes", "size"])
@pytest.mark.parametrize(
    ("streamed", "place"), [(True, "local"), (True, "descriptor"), (False, "local"), (False, "central")]
)
def test_p21_local_and_central_differ(refused, field, streamed, place):
    content = zip_bytes(parts(streamed=streamed, **{place: {field: 23}}))
    refused(content, r"data/0': (crc, size stored and unpacked: expected \(|1 bytes hidden)")


@pytest.mark.parametrize("change", [{"flags": 0x0800}, {"method": 8}, {"signature": b"PK\3\5"}, {"name": 13}])
def test_p21_local_header_says_other_than_the_directory(refused, change):
    refused(zip_bytes(parts(local=change)), r"data/0': local header: expected what the directory says")


def test_p21_other_name_in_the_local_header(refused):
    content = zip_bytes(parts())
    refused(content.replace(b"data/0", b"data/7", 1), "data/0': local header: expected what the directory says")


def test_p21_no_descriptor_though_announced(refused):
    members = parts(streamed=False)
    members[2].local = members[2].central = {"flags": 0x0808}
    refused(zip_bytes(members), "data/0': expected a data descriptor behind it, got 0 other bytes")
    other = parts(descriptor={"signature": b"PK\7\7"})
    refused(zip_bytes(other), "data/0': expected a data descriptor behind it, got 16 other bytes")


@pytest.mark.parametrize("nbytes", [23, 25])
def test_p21_size_wrong_by_one(refused, nbytes):
    refused(zip_bytes(parts(central={"nbytes": nbytes})), "data/0': expected a data descriptor behind it, got 1[57]")


@pytest.mark.parametrize("nbytes", [100, 0xFFFFFFFE])
def test_p21_forged_stored_size(refused, nbytes):
    refused(zip_bytes(parts(central={"nbytes": nbytes, "size": nbytes})), f"{nbytes} bytes at .* overlap what follows")


@pytest.mark.parametrize("size", [0, 23, 25, 0xFFFFFFFE])
def test_p21_unpacked_size_of_a_stored_member_differs(refused, size):
    refused(zip_bytes(parts(size=size)), f"data/0': stored, but 24 bytes are to stand for {size}")


@pytest.mark.parametrize("header", [1, 30, 0xFFFFFFFE])
def test_p21_offset_of_a_header_that_is_none(refused, header):
    match = "overlap|directory says|byteorder': expected a data descriptor"
    refused(zip_bytes(parts(central={"header": header})), match)


def test_p21_bytes_between_members(refused):
    refused(zip_bytes(parts(gap=b"hidden")), "data/0': expected a data descriptor behind it, got 22 other bytes")
    refused(zip_bytes(parts(gap=b"hidden", streamed=False)), "data/0': 6 bytes hidden behind it")


def test_p21_folder_with_content(refused):
    refused(zip_bytes(added("archive/folder/")), "folder/': a folder with content")


@pytest.mark.parametrize(
    ("method", "name"), [(12, "bzip2"), (14, "lzma"), (93, "zstd"), (9, "deflate64"), (99, "AES"), (1, "method 1")]
)
def test_p22_other_compression(refused, method, name):
    refused(zip_bytes(parts(method=method)), rf"data/0': must be stored \(or, in .npz, deflated\), got {name}")


def test_p22_deflate_bomb_in_a_pytorch_file(refused):
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    bomb = packer.compress(bytes(50_000_000)) + packer.flush()
    content = zip_bytes(parts(method=8, data=bomb, size=50_000_000))
    assert "zip it again with -0" in refused(content, "data/0': must be stored, got deflated", open_zip).hint


@pytest.mark.parametrize("field", ["here", "count", "directory", "offset"])
@pytest.mark.parametrize("value", [0, 1, 6, 0xFFFE, 0xFFFF])
@pytest.mark.parametrize("zip64", [None, {}])
def test_p23_lying_end_record(refused, field, value, zip64):
    refused(zip_bytes(parts(), {field: value}, zip64=zip64 if value != 0xFFFF else None), "end record|directory|entry")


@pytest.mark.parametrize("change", [{"disk": 1}, {"directory_disk": 1}, {"here": 4, "count": 4}, {"count": 4}])
def test_p23_other_disks_or_counts(refused, change):
    refused(zip_bytes(parts(), change), "end record|directory: ")


def test_p23_end_record_that_announces_a_comment(refused):
    refused(zip_bytes(parts(), {"comment": 1}), "end record: expected it as the last 22 bytes, got one with a comment")


def test_p23_one_entry_more_than_there_are(refused):
    content = zip_bytes(parts(), {"here": 6, "count": 6})
    refused(content, "entry 5 of the directory: expected 46 bytes, got 0")


@pytest.mark.parametrize("change", [{"signature": b"PK\1\3"}, {"disk": 1}, {"name": 99}, {"extra": 1}, {"comment": 1}])
def test_p23_entry_that_is_none(refused, change):
    refused(zip_bytes(added("archive/x", central=change)), "entry 5 of the directory: not one, or it reaches beyond")


@pytest.mark.parametrize(
    "change",
    [{"signature": b"PK\6\5"}, {"follow": 45}, {"disk": 1}, {"here": 4}, {"count": 2**40}, {"directory": 2**63},
     {"offset": 2**64 - 1}, {"offset": 0}, {"count": 2**40, "here": 2**40}],
)  # fmt: skip
def test_p23_lying_zip64_record(refused, change):
    narrow = {"here": 0xFFFF, "count": 0xFFFF, "directory": 0xFFFFFFFF, "offset": 0xFFFFFFFF}
    refused(zip_bytes(parts(), zip64=change), "zip64 end record: expected what the end record says")
    refused(zip_bytes(parts(), narrow, zip64=change), "end record")


@pytest.mark.parametrize("change", [{"disk": 1}, {"disks": 2}, {"offset": 0}, {"offset": 2**64 - 1}])
def test_p23_lying_zip64_locator(refused, change):
    refused(zip_bytes(parts(), zip64={}, locator=change), "zip64 locator: expected one disk and the offset")


@pytest.mark.parametrize("extra", [b"", struct.pack("<2HQ", 1, 8, 24), struct.pack("<2H3Q", 1, 24, 24, 24, 0),
                                   struct.pack("<2H2Q", 1, 16, 24, 24) * 2, b"\1\0\x10\0"])  # fmt: skip
def test_p23_zip64_field_without_what_is_asked_of_it(refused, extra):
    content = zip_bytes(parts(central={"nbytes": 0xFFFFFFFF, "size": 0xFFFFFFFF}, central_extra=extra))
    refused(content, "zip64 field: expected one of 2 numbers|extra fields: malformed")


@pytest.mark.parametrize("numbers", [(24, 2**63), (2**64 - 1, 24), (25, 25), (2**40, 2**40)])
def test_p23_lying_zip64_field(refused, numbers):
    extra = struct.pack("<2H2Q", 1, 16, *numbers)
    content = zip_bytes(parts(central={"nbytes": 0xFFFFFFFF, "size": 0xFFFFFFFF}, central_extra=extra))
    refused(content, "overlap|data/0': (expected a data descriptor|crc, size)")


def test_p23_prepended_bytes(refused):
    refused(b"MZ" + zip_bytes(parts()), "end record: expected the directory of .* bytes at")
    refused(zip_bytes(parts(), before=b"MZ"), "2 bytes stand before the first member")


def test_p23_appended_bytes_and_comments(refused):
    content = zip_bytes(parts())
    for behind in (b"\0", b"junk", content[-22:], bytes(70_000)):
        refused(content + behind, "end record: expected")
    refused(zip_bytes(parts(), comment=b"hello"), "got one with a comment or other bytes behind it")
    refused(zip_bytes(parts(), comment=content[-22:]), "end record: expected")
    other = zip_bytes([Part("archive/data.pkl", b"")])
    refused(zip_bytes(parts(), comment=other), "end record: expected")


def test_p23_cut_anywhere(refused):
    content = zip_bytes(parts(), zip64={})
    for length in range(0, len(content), 7):
        assert "download" in refused(content[:length], "end record: expected it as the last 22 bytes").hint
    refused(b"PK\5\6\0\0", "end record: expected it as the last 22 bytes")
    refused(bytes(21), "end record: expected it as the last 22 bytes, got none")


def test_p23_more_entries_than_can_be(refused, monkeypatch):
    refused(zip_bytes(parts(), {"here": 60_000, "count": 60_000}), "60000 entries in .* bytes, more than can be")
    monkeypatch.setattr("minibert.formats.archive.MEMBER_LIMIT", 4)
    refused(zip_bytes(parts()), "5 entries in .* bytes, more than can be")


def test_p24_wrong_checksum_of_a_storage(tmp_path):
    path = tmp_path / "model.bin"
    content = zip_bytes(parts())
    path.write_bytes(content.replace(W.tobytes(), W[::-1].tobytes()))
    file = open_zip(path)  # the numbers are not read yet
    with pytest.raises(LoadError, match=r"data/0': crc: expected 0x[0-9a-f]{8}, got 0x"):
        file.read("w")
    with pytest.raises(LoadError, match=r"data/0': crc"):
        file.read("w")


def test_p24_wrong_checksum_of_the_pickle(refused):
    content = zip_bytes(parts())
    damaged = content.replace(b"archive/data.pkl\x80\x02", b"archive/data.pkl\x80\x03")
    assert damaged != content
    assert "download" in refused(damaged, r"data.pkl': crc: expected 0x.*, got 0x", open_zip).hint


@pytest.mark.parametrize("flag", [1, 1 << 6, 1 << 13, 1 | 1 << 6])
def test_p25_encrypted(refused, flag):
    change = {"flags": 0x0808 | flag}
    assert "password" in refused(zip_bytes(parts(local=change, central=change)), "data/0': encrypted").hint


@pytest.mark.parametrize("flag", [1 << 4, 1 << 5, 1 << 7, 1 << 12, 1 << 15])
def test_p25_unknown_flags(refused, flag):
    change = {"flags": 0x0808 | flag}
    refused(zip_bytes(parts(local=change, central=change)), "data/0': flags: 0x.* are not supported")


# What an archive is


@pytest.mark.parametrize(
    ("names", "what"),
    [
        (["saved_model.pb", "variables/variables.index"], "a zipped TensorFlow SavedModel"),
        (["config.json", "model.weights.h5"], "a Keras 3 model"),
        (["[Content_Types].xml", "word/document.xml"], "an office document"),
        (["bert/pytorch_model.bin"], "a zip archive of 1 other files: 'bert/pytorch_model.bin'"),
        (["data.pkl"], "a zip archive of 1 other files: 'data.pkl'"),
        (["w.npy", "readme.txt"], "a zip archive of 2 other files"),
    ],
)
def test_other_archives_are_named(refused, names, what):
    error = refused(
        zip_bytes([Part(name, b"x") for name in names]), f"expected a PyTorch file or an .npz, got {what}", open_zip
    )
    assert error.hint


@pytest.mark.parametrize("name", ["archive/constants.pkl", "archive/code/__torch__.py"])
def test_torchscript_is_refused_by_name(refused, name):
    error = refused(zip_bytes(added(name)), "expected weights, got a TorchScript archive", open_zip)
    assert "torch.jit.load" in error.hint


def test_nothing_is_extracted(tmp_path):
    path = tmp_path / "model.bin"
    path.write_bytes(zip_bytes(parts()))
    open_zip(path).read("w")
    assert os.listdir(tmp_path) == ["model.bin"]
