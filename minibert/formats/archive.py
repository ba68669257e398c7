"""A strict zip reader, for the formats that are zip archives: PyTorch's since 1.6, and NumPy's .npz.

    (local header | name | extra | data | data descriptor)*  |  central directory  |  end record

Everything is said twice: each local header repeats its entry of the central directory (or leaves crc and sizes 0 and
repeats them in a data descriptor behind the data, as PyTorch does), and the end record says where the directory is.
Readers differ in which of the two they believe, where they look for the end record, and what they make of equal names.
A file on which they could disagree can show one content to a scanner and another to the program, so here both must say
the same, and members, directory and end record must tile the file: nothing before, between, behind or shared.
Numbers that do not fit their field are all ones there and stand in a zip64 extra field or record, under the same rule.

PyTorch can be told to leave out checksums (`set_crc32_options(False)`): then the crc of every member is 0. An archive
in which no member has one is read unchecked; as soon as one has, all are checked. Nothing is ever extracted to disk.
Format: APPNOTE.TXT of PKWARE, version 6.3.10.
"""

from __future__ import annotations

import re
import stat
import struct
import zlib
from pathlib import Path
from typing import NamedTuple

from ..errors import LoadError
from .files import quote
from .mapped import MappedFile

__all__ = ["DEFLATED", "STORED", "Archive", "Member"]

STORED, DEFLATED = 0, 8
MEMBER_LIMIT = 100_000  # Python objects take more memory than the bytes that ask for them
EXTRA_LIMIT = 16  # extra fields a member

_LOCAL = struct.Struct("<4s5H3I2H")  # signature, version, flags, method, time, date, crc, 2 sizes, 2 lengths
_CENTRAL = struct.Struct("<4s6H3I5H2I")  # ... after the lengths: comment, disk, 2 attributes, where the header is
_END = struct.Struct("<4s4H2IH")  # signature, 2 disks, 2 counts, size and offset of the directory, comment
_END64_LOCATOR = struct.Struct("<4sIQI")  # signature, disk, offset of the zip64 end record, disks
_END64 = struct.Struct("<4sQ2H2I4Q")  # signature, bytes that follow, 2 versions, 2 disks, 2 counts, size and offset
_DESCRIPTOR, _DESCRIPTOR64 = struct.Struct("<4s3I"), struct.Struct("<4sI2Q")  # signature, crc, 2 sizes

_ENCRYPTED, _HAS_DESCRIPTOR, _UTF8 = 1 | 1 << 6 | 1 << 13, 1 << 3, 1 << 11  # flags
_HARMLESS_FLAGS = _HAS_DESCRIPTOR | _UTF8 | 0b110  # these two: how hard the writer compressed
_METHODS = {9: "deflate64", 12: "bzip2", 14: "lzma", 93: "zstd", 95: "xz", 99: "AES encryption"}
_DAMAGED = "the file is cut off, damaged or made to deceive: download or copy it again"


class Member(NamedTuple):
    """One file of an archive: where its bytes lie and how many they are, stored and (as the file says) unpacked."""

    name: str
    offset: int
    nbytes: int
    size: int
    method: int
    crc: int


class _Entry(NamedTuple):
    """What the central directory says of a member."""

    raw_name: bytes
    flags: int
    method: int
    crc: int
    nbytes: int
    size: int
    header: int


class Archive:
    """The zip archive at `path`, mapped and checked: `members` by name, without folders, and `window(name)`.

    `file` is the archive itself, for who needs no more than the beginning of a member. `has_checksums` is False if no
    member carries one.
    """

    def __init__(self, path: Path) -> None:
        """Raises NotFound if nothing is there, LoadError if it is no archive that all readers see alike."""
        self.path = path
        self.file = MappedFile(path)
        self.members: dict[str, Member] = {}
        for member in _members(self.file):
            if member.name in self.members:
                raise LoadError(f"{path}: member {quote(member.name)}: there twice", _DAMAGED)
            self.members[member.name] = member
        self.members = {name: member for name, member in self.members.items() if not name.endswith("/")}
        self.has_checksums = any(member.crc for member in self.members.values())
        self._checked: set[str] = set()

    def window(self, name: str) -> memoryview:
        """The bytes of `name` as they are stored, no copy; compared with their checksum when first asked for.

        The checksum of a deflated member is of its unpacked bytes: whoever unpacks them checks. Raises LoadError.
        """
        if name not in self.members:
            raise LoadError(f"{self.path}: no member {quote(name)} of {len(self.members)}")
        member = self.members[name]
        raw = self.file.window(member.offset, member.nbytes)
        if member.method == STORED and self.has_checksums and name not in self._checked:
            crc = zlib.crc32(raw)
            if crc != member.crc:
                raise LoadError(
                    f"{self.path}: member {quote(name)}: crc: expected 0x{member.crc:08x}, got 0x{crc:08x}",
                    "its bytes are damaged: download or copy the file again",
                )
            self._checked.add(name)
        return raw


def _members(file: MappedFile) -> list[Member]:
    """All members, in the order of their bytes, which they share with nothing else."""
    directory, count, size = _directory(file)
    entries = sorted(_entries(file, directory, count, size), key=lambda entry: entry.header)
    ends = [entry.header for entry in entries[1:]] + [directory] * bool(entries)
    first = entries[0].header if entries else directory
    if first:
        raise LoadError(f"{file.path}: {first} bytes stand before the first member", _DAMAGED)
    return [_member(file, entry, end) for entry, end in zip(entries, ends, strict=True)]


def _directory(file: MappedFile) -> tuple[int, int, int]:
    """Where the central directory begins, how many entries it has and how many bytes."""
    reach = min(file.size, _END.size + 0xFFFF)  # a comment behind the record can be that long
    tail = bytes(file.window(file.size - reach, reach))
    record = tail[-_END.size :]
    if len(record) < _END.size or record[:4] != b"PK\5\6" or record[-2:] != b"\0\0":
        came = "one with a comment or other bytes behind it" if b"PK\5\6" in tail else "none"
        raise LoadError(f"{file.path}: end record: expected it as the last {_END.size} bytes, got {came}", _DAMAGED)
    fields = _END.unpack(record)
    end = file.size - _END.size
    numbers = fields[1:7]  # disk, disk of the directory, entries on this disk, entries, size, offset
    locator = end - _END64_LOCATOR.size
    if locator >= _END64.size and bytes(file.window(locator, 4)) == b"PK\6\7":
        end = locator - _END64.size
        if _END64_LOCATOR.unpack(file.window(locator, _END64_LOCATOR.size)) != (b"PK\6\7", 0, end, 1):
            raise LoadError(f"{file.path}: zip64 locator: expected one disk and the offset {end}", _DAMAGED)
        signature, follow, _, _, *wide = _END64.unpack(file.window(end, _END64.size))
        ones = (0xFFFF,) * 4 + (0xFFFFFFFF,) * 2
        if (signature, follow) != (b"PK\6\6", _END64.size - 12) or any(
            narrow not in (value, all_ones) for narrow, value, all_ones in zip(numbers, wide, ones, strict=True)
        ):
            raise LoadError(f"{file.path}: zip64 end record: expected what the end record says, got other", _DAMAGED)
        numbers = tuple(wide)
    disk, directory_disk, here, count, size, offset = numbers
    if disk or directory_disk or here != count:
        raise LoadError(f"{file.path}: end record: expected all of {count} entries on disk 0", _DAMAGED)
    if offset + size != end:
        raise LoadError(
            f"{file.path}: end record: expected the directory of {size} bytes at {end - size}, got {offset}", _DAMAGED
        )
    if count > min(MEMBER_LIMIT, size // _CENTRAL.size):
        raise LoadError(f"{file.path}: end record: {count} entries in {size} bytes, more than can be", _DAMAGED)
    return offset, count, size


def _entries(file: MappedFile, offset: int, count: int, size: int) -> list[_Entry]:
    """The central directory, whose bytes must be exactly its entries."""
    raw, at, entries = file.window(offset, size), 0, []
    for i in range(count):
        where = f"{file.path}: entry {i} of the directory"
        if at + _CENTRAL.size > size:
            raise LoadError(f"{where}: expected {_CENTRAL.size} bytes, got {size - at}", _DAMAGED)
        fields = _CENTRAL.unpack(raw[at : at + _CENTRAL.size])
        signature, system, _, flags, method, _, _, crc, nbytes, full, *lengths, disk, _, attributes, header = fields
        at += _CENTRAL.size
        if signature != b"PK\1\2" or disk or at + sum(lengths) > size:
            raise LoadError(f"{where}: not one, or it reaches beyond the directory", _DAMAGED)
        name = bytes(raw[at : at + lengths[0]])
        extra = raw[at + lengths[0] : at + lengths[0] + lengths[1]]
        at += sum(lengths)
        where = f"{file.path}: member {quote(name.decode('utf-8', 'replace'))}"
        _check_kind(where, name, flags, method, attributes >> 16 if system >> 8 == 3 else 0)
        full, nbytes, header = _widen(where, extra, [full, nbytes, header])
        entries.append(_Entry(name, flags, method, crc, nbytes, full, header))
    if at != size:
        raise LoadError(f"{file.path}: directory: {size - at} bytes more than its {count} entries", _DAMAGED)
    return entries


def _check_kind(where: str, name: bytes, flags: int, method: int, unix_mode: int) -> None:
    """Refuses whatever is no plain file under a plain relative name."""
    if flags & _ENCRYPTED:
        raise LoadError(f"{where}: encrypted", "unpack it with its password, and save the weights again")
    if flags & ~_HARMLESS_FLAGS:
        raise LoadError(f"{where}: flags: 0x{flags:04x} are not supported")
    if method not in (STORED, DEFLATED):
        came = _METHODS.get(method, f"method {method}")
        raise LoadError(f"{where}: must be stored (or, in .npz, deflated), got {came}", "unpack it, zip it with -0")
    if stat.S_IFMT(unix_mode) not in (0, stat.S_IFREG, stat.S_IFDIR):
        raise LoadError(f"{where}: expected a file, got a symbolic link or a device", _DAMAGED)
    text = name.decode("utf-8" if flags & _UTF8 else "ascii", "surrogateescape")
    parts = text.removesuffix("/").split("/")
    if (
        re.search(r"[\x00-\x1f\x7f\\\udc80-\udcff]", text)
        or any(part in ("", ".", "..") for part in parts)
        or re.fullmatch("[A-Za-z]:", parts[0])
    ):
        raise LoadError(f"{where}: not a plain relative name in ASCII or, with its flag, UTF-8", _DAMAGED)


def _widen(where: str, extra: memoryview, values: list[int]) -> list[int]:
    """`values` with those that are all ones replaced from the zip64 field in `extra`, which holds just these."""
    asked = [i for i, value in enumerate(values) if value == 0xFFFFFFFF]
    found: list[memoryview] = []
    fields = 0
    while extra:
        fields += 1
        kind, length = int.from_bytes(extra[:2], "little"), int.from_bytes(extra[2:4], "little")
        if len(extra) < 4 + length or fields > EXTRA_LIMIT or kind == 0x7075:  # another name, that some readers prefer
            raise LoadError(f"{where}: extra fields: malformed, too many, or a second name", _DAMAGED)
        if kind == 1:
            found.append(extra[4 : 4 + length])
        extra = extra[4 + length :]
    if not asked:
        return values
    if len(found) != 1 or len(found[0]) != 8 * len(asked):
        raise LoadError(f"{where}: zip64 field: expected one of {len(asked)} numbers", _DAMAGED)
    wide = iter(struct.unpack(f"<{len(asked)}Q", found[0]))
    return [next(wide) if i in asked else value for i, value in enumerate(values)]


def _member(file: MappedFile, entry: _Entry, end: int) -> Member:
    """The member that begins at `entry.header` and must end, with its descriptor, at `end`."""
    name = entry.raw_name.decode()
    where = f"{file.path}: member {quote(name)}"
    fields = _LOCAL.unpack(file.window(entry.header, _LOCAL.size))
    signature, _, flags, method, _, _, crc, nbytes, size, name_length, extra_length = fields
    begin = entry.header + _LOCAL.size + name_length + extra_length
    if begin + entry.nbytes > end:
        raise LoadError(f"{where}: {entry.nbytes} bytes at {begin} overlap what follows at {end}", _DAMAGED)
    said = bytes(file.window(entry.header + _LOCAL.size, name_length))
    if (signature, flags, method, said) != (b"PK\3\4", entry.flags, entry.method, entry.raw_name):
        raise LoadError(f"{where}: local header: expected what the directory says, got other", _DAMAGED)
    if 0xFFFFFFFF in (nbytes, size):
        size, nbytes = _widen(where, file.window(begin - extra_length, extra_length), [size, nbytes])
    truth = (entry.crc, entry.nbytes, entry.size)
    behind = file.window(begin + entry.nbytes, end - begin - entry.nbytes)
    repeated: list[tuple[int, ...]] = [(crc, nbytes, size)]
    if flags & _HAS_DESCRIPTOR:
        repeated = [tuple(value or true for value, true in zip(repeated[0], truth, strict=True))]  # 0: not known then
        layout = _DESCRIPTOR64 if len(behind) == _DESCRIPTOR64.size else _DESCRIPTOR
        if len(behind) != layout.size or bytes(behind[:4]) != b"PK\7\x08":
            raise LoadError(f"{where}: expected a data descriptor behind it, got {len(behind)} other bytes", _DAMAGED)
        repeated.append(layout.unpack(behind)[1:])
    elif behind:
        raise LoadError(f"{where}: {len(behind)} bytes hidden behind it", _DAMAGED)
    for numbers in repeated:
        if numbers != truth:
            raise LoadError(f"{where}: crc, size stored and unpacked: expected {truth}, got {numbers}", _DAMAGED)
    if method == STORED and entry.nbytes != entry.size:
        raise LoadError(f"{where}: stored, but {entry.nbytes} bytes are to stand for {entry.size}", _DAMAGED)
    if name.endswith("/") and entry.size:
        raise LoadError(f"{where}: a folder with content", _DAMAGED)
    return Member(name, begin, entry.nbytes, entry.size, method, entry.crc)
