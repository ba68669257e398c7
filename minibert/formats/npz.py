"""NumPy's files <-> {name: array}: .npz, a zip archive of .npy members (see `archive` and `npy`), and a single .npy.

The name of a member without ".npy" is the name of its array; it may contain "/". `numpy.savez` stores its members,
and such arrays are windows on the mapped file. `numpy.savez_compressed` deflates them, and a few bytes of deflate can
stand for gigabytes of zeros. So an array is unpacked only up to the size that its header and the archive's directory
both name, and none is opened that would take much more memory than the whole file.

Texts are no weights. A member that is one text (`numpy.savez(..., config="...")`) counts as metadata under its name;
`save_npz` puts its own into the member `__metadata__`, bytes of a JSON object of texts, which every program that reads
.npz can get at without unpickling.
"""

from __future__ import annotations

import io
import json
import os
import re
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import InputError, LoadError
from .archive import DEFLATED, Archive, Member
from .atomic import write_atomic
from .files import quote
from .jsonfile import CONFIG_LIMIT, parse_json_object
from .mapped import MappedFile
from .npy import HEAD_LIMIT, LETTERS, NpyHeader, format_header, npy_array, parse_header, tensor_info
from .weights import Array, TensorInfo, Weights

__all__ = ["NpyFile", "NpzFile", "open_npy", "open_npz", "save_npz"]

METADATA = "__metadata__"
TEXT_LIMIT = 2**22  # bytes of all text members together

_CHUNK = 2**18  # bytes of deflate at a time
_LARGE = 2**30  # bytes from which a member gets a zip64 field; zip needs one from 4 GiB
_ALIGNMENT = 64
_PADDING_FIELD = 0x4246  # the extra field by which PyTorch, too, moves data to aligned places


def open_npz(path: str | os.PathLike[str], archive: Archive | None = None) -> NpzFile:
    """Opens the .npz file `path`, reading only the headers of its arrays; `archive` is the same file if already open.

    Raises NotFound if nothing is there, and LoadError naming the member and the field if it is malformed, holds
    Python objects or other things than numbers, or unpacks to far more than the file.
    """
    return NpzFile(archive or Archive(Path(path)))


def open_npy(path: str | os.PathLike[str]) -> NpyFile:
    """Opens the .npy file `path`: one array, named like the file without its suffix. Errors as in `open_npz`."""
    return NpyFile(Path(path))


class NpzFile(Weights):
    """An open .npz file. Stored arrays are windows on the mapped file, deflated ones are unpacked at each `read`."""

    format = "npz"

    def __init__(self, archive: Archive) -> None:
        self.paths = (archive.path,)
        self.tensors, self.metadata, self.ties, self.notes = {}, {}, {}, []
        self._archive = archive
        self._headers: dict[str, NpyHeader] = {}
        self._text_bytes = 0
        for member in archive.members.values():
            self._add(member)

    def read(self, name: str) -> Array:
        """The tensor `name`; see `Weights.read`."""
        info = self._info(name)
        return npy_array(self._unpacked(f"{name}.npy"), self._headers[name], info, self._where(f"{name}.npy"))

    def _where(self, member: str) -> str:
        return f"{self.paths[0]}: member {quote(member)}"

    def _add(self, member: Member) -> None:
        """Enters what `member` is among tensors or metadata."""
        where = self._where(member.name)
        if not member.name.endswith(".npy"):
            raise LoadError(f"{where}: expected the members of an .npz to end in .npy")
        name = member.name.removesuffix(".npy")
        header = parse_header(self._head(member, where), where)
        text = re.fullmatch(r"[<>|]([US])(\d{1,9})", header.descr)
        if text and not header.shape:
            nbytes = int(text[2]) * (4 if text[1] == "U" else 1)
            self._check_size(member, header.start + nbytes, where)
            self.metadata[name] = self._text(member, header, where)
            return
        info = tensor_info(header, where)
        self._check_size(member, header.start + info.nbytes, where)
        if name == METADATA:
            self.metadata |= self._json(member, header, info, where)
        else:
            self.tensors[name], self._headers[name] = info, header

    def _check_size(self, member: Member, expected: int, where: str) -> None:
        if member.size != expected:
            raise LoadError(f"{where}: expected {expected} bytes by its header, got {member.size}")
        # Half of the three times the file that reading may take: swapping or reordering needs a second copy.
        limit = 3 * self._archive.file.size // 2 + (28 << 20)
        if member.method == DEFLATED and expected > limit:
            raise LoadError(
                f"{where}: {member.nbytes} bytes unpack to {expected}, more than is safe for a file of this size",
                "if you trust the file, load it with numpy and save it with numpy.savez",
            )

    def _head(self, member: Member, where: str) -> bytes:
        """The first bytes of the array. Not compared with the checksum yet, which would read all of it."""
        raw = self._archive.file.window(member.offset, min(member.nbytes, 2 * HEAD_LIMIT))
        if member.method != DEFLATED:
            return bytes(raw[:HEAD_LIMIT])
        try:
            return zlib.decompressobj(-zlib.MAX_WBITS).decompress(raw, HEAD_LIMIT)
        except zlib.error as error:
            raise LoadError(f"{where}: its deflated bytes are damaged: {error}") from None

    def _unpacked(self, name: str) -> memoryview:
        """Header and data of the member `name`, compared with their checksum."""
        member = self._archive.members[name]
        raw = self._archive.window(name)
        if member.method != DEFLATED:
            return raw
        where = self._where(name)
        whole = np.empty(member.size, np.uint8).data
        stream, at = zlib.decompressobj(-zlib.MAX_WBITS), 0
        try:
            for begin in range(0, len(raw), _CHUNK):
                pending: bytes | memoryview = raw[begin : begin + _CHUNK]
                while pending:
                    piece = stream.decompress(pending, min(4 * _CHUNK, member.size - at + 1))
                    pending = stream.unconsumed_tail
                    if at + len(piece) > member.size or stream.unused_data:
                        raise LoadError(f"{where}: unpacks to more than the {member.size} bytes that it names")
                    whole[at : at + len(piece)] = piece
                    at += len(piece)
        except zlib.error as error:
            raise LoadError(f"{where}: its deflated bytes are damaged: {error}") from None
        if at < member.size or not stream.eof:
            raise LoadError(f"{where}: expected to unpack to {member.size} bytes, got {at}")
        if self._archive.has_checksums and (crc := zlib.crc32(whole)) != member.crc:
            raise LoadError(f"{where}: crc: expected 0x{member.crc:08x}, got 0x{crc:08x}", "its bytes are damaged")
        return whole

    def _text(self, member: Member, header: NpyHeader, where: str) -> str:
        """The text of an array of NumPy's kind U (UTF-32) or S (bytes) without dimensions."""
        self._text_bytes += member.size
        if self._text_bytes > TEXT_LIMIT:  # together: many could be deflated into few bytes
            raise LoadError(f"{where}: expected texts of at most {TEXT_LIMIT} bytes in all, got {self._text_bytes}")
        encoding = "utf-8" if header.descr[1] == "S" else "utf-32-be" if header.descr[0] == ">" else "utf-32-le"
        try:
            return bytes(self._unpacked(member.name)[header.start :]).decode(encoding).rstrip("\0")
        except UnicodeDecodeError as error:
            raise LoadError(f"{where}: expected {encoding} text: {error.reason} at {error.start}") from None

    def _json(self, member: Member, header: NpyHeader, info: TensorInfo, where: str) -> dict[str, str]:
        """What `save_npz` was given as metadata."""
        if info.dtype != "U8" or len(info.shape) != 1 or info.nbytes > CONFIG_LIMIT:
            came = f"{info.dtype} of shape {quote(info.shape)}"
            raise LoadError(f"{where}: expected metadata as one row of at most {CONFIG_LIMIT} bytes U8, got {came}")
        fields = parse_json_object(bytes(self._unpacked(member.name)[header.start :]), where)
        for key, text in fields.items():
            if not isinstance(text, str):
                raise LoadError(f"{where}: {quote(key)}: expected a text, got {quote(text)}")
        return fields


class NpyFile(Weights):
    """An open .npy file: one array, a window on the mapped file."""

    format = "npy"

    def __init__(self, path: Path) -> None:
        self._file = MappedFile(path)
        self._header = parse_header(bytes(self._file.window(0, min(self._file.size, HEAD_LIMIT))), str(path))
        info = tensor_info(self._header, str(path))
        if self._file.size != (expected := self._header.start + info.nbytes):
            raise LoadError(f"{path}: expected {expected} bytes by its header, got {self._file.size}")
        self.paths, self.tensors = (path,), {path.stem: info}
        self.metadata, self.ties, self.notes = {}, {}, []

    def read(self, name: str) -> Array:
        """The tensor `name`; see `Weights.read`."""
        info, path = self._info(name), self.paths[0]
        return npy_array(self._file.window(0, self._file.size), self._header, info, str(path))


def save_npz(
    path: str | os.PathLike[str], arrays: Mapping[str, Array], metadata: Mapping[str, str] | None = None
) -> None:
    """Writes `arrays` and `metadata` as the .npz file `path`, atomically (see `write_atomic`).

    Members are stored in the order given, little-endian, their numbers at multiples of 64 bytes; equal arguments give
    equal files. `numpy.load` reads them without pickle. Raises InputError for a name or dtype that cannot be read
    back, OSError if the disk refuses.
    """
    members = {name: _checked(name, array) for name, array in arrays.items()}
    if metadata:
        members[METADATA] = np.frombuffer(_texts_as_json(metadata), np.uint8)
    write_atomic(path, _zipped(members))


def _texts_as_json(metadata: Mapping[str, str]) -> bytes:
    for text in (*metadata, *metadata.values()):
        if not isinstance(text, str) or re.search("[\ud800-\udfff]", text):
            raise InputError(f"metadata: expected Unicode texts, got {quote(text)}")
    encoded = json.dumps(dict(metadata)).encode()
    if len(encoded) > CONFIG_LIMIT:
        raise InputError(f"metadata: expected at most {CONFIG_LIMIT} bytes as JSON, got {len(encoded)}")
    return encoded


def _checked(name: str, array: Array) -> Array:
    where = f"tensor {quote(name)}"
    if name == METADATA:
        raise InputError(f"{where}: reserved for metadata, no tensor may have this name")
    parts = name.split("/") if isinstance(name, str) else [""]
    if (
        any(part in ("", ".", "..") for part in parts)
        or re.fullmatch("[A-Za-z]:", parts[0])
        or re.search(r"[\x00-\x1f\x7f\\\ud800-\udfff]", name)
        or len(name.encode()) > 60_000
    ):
        raise InputError(f"{where}: expected a name that can be a relative path in a zip archive")
    array = np.asarray(array)
    if array.dtype.str[1:] not in LETTERS:
        expected = ", ".join(np.dtype(key).name for key in LETTERS)
        raise InputError(f"{where}: dtype: expected one of {expected}, got {array.dtype}")
    return array


class _Sink(io.RawIOBase):
    """A file for `zipfile` that keeps what is written until it is taken; it can neither seek nor tell."""

    def __init__(self) -> None:
        self.written = 0
        self._chunks: list[bytes | memoryview] = []

    def write(self, chunk: Any) -> int:
        self._chunks.append(chunk)
        self.written += len(chunk)
        return len(chunk)

    def take(self) -> list[bytes | memoryview]:
        chunks, self._chunks = self._chunks, []
        return chunks


def _zipped(arrays: Mapping[str, Array]) -> Iterator[bytes | memoryview]:
    """The archive in pieces, each array converted when its turn comes."""
    sink = _Sink()
    with zipfile.ZipFile(sink, "w") as archive:
        for name, array in arrays.items():
            array = array.astype(array.dtype.newbyteorder("<"), order="C", copy=False)
            header = format_header(array.dtype.str, array.shape)
            info = zipfile.ZipInfo(f"{name}.npy", (1980, 1, 1, 0, 0, 0))
            info.create_system, info.external_attr = 3, 0o644 << 16  # Unix, whatever wrote it
            info.file_size = len(header) + array.nbytes
            is_large = info.file_size >= _LARGE
            begin = sink.written + 30 + len(info.filename.encode()) + 4 + (20 if is_large else 0)
            padding = -begin % _ALIGNMENT
            info.extra = _PADDING_FIELD.to_bytes(2, "little") + padding.to_bytes(2, "little") + bytes(padding)
            with archive.open(info, "w", force_zip64=is_large) as member:
                member.write(header)
                member.write(array.reshape(-1).view(np.uint8).data)
            yield from sink.take()
    yield from sink.take()
