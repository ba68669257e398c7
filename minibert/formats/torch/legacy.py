"""PyTorch's format before 1.6, in which the first BERT models were published: pickles and numbers in one stream.

    1  a pickle of a magic number, always the same 15 bytes, or those of another protocol
    2  a pickle of the protocol's version, 1001
    3  a pickle of {"protocol_version": 1001, "little_endian": True, "type_sizes": {...}}
    4  the pickle of what was saved; a storage in it is
           ("storage", class, key, device, number of elements, None or (key of a view, offset, number of elements))
    5  a pickle of the list of all keys
    6  for each of these keys: u64 number of elements, little-endian | the numbers

The format has no checksums and aligns nothing. The magic bytes are compared, not unpickled: forging them by a program
is a known trick. A storage may be a view on another one, which then holds the numbers of both.
"""

from __future__ import annotations

from pathlib import Path

from ...errors import LoadError
from ..files import quote
from ..mapped import MappedFile
from ..weights import DTYPES
from .pickle import unpickle
from .symbols import SYMBOLS, Storage, parse_storage
from .tensors import TorchFile
from .values import Dict, Refused, describe

__all__ = ["MAGIC", "open_legacy"]

MAGIC = bytes.fromhex("80028a0a6cfc9c46f9206aa850192e")
_FRAME = b"\x95\x0d" + bytes(7)  # pickle_protocol=4 and 5 put the 13 bytes of the number into a frame
MAGICS = (MAGIC, b"\x80\3" + MAGIC[2:], b"\x80\4" + _FRAME + MAGIC[2:], b"\x80\5" + _FRAME + MAGIC[2:])
PROTOCOL = 1001


def open_legacy(path: Path) -> TorchFile:
    """Opens the legacy PyTorch file `path`, reading its pickles only.

    Raises NotFound if nothing is there, LoadError if it is malformed, cut off, or holds no plain weights.
    """
    file = MappedFile(path)
    data = file.window(0, file.size)
    head = bytes(data[: max(map(len, MAGICS))])
    magic = next((magic for magic in MAGICS if head.startswith(magic)), None)
    if magic is None:
        raise LoadError(f"{path}: magic number: expected {MAGIC.hex()}, got {head[: len(MAGIC)].hex()}")
    version, at = unpickle(data, len(magic), f"{path}: protocol", {})
    if type(version) is not int or version != PROTOCOL:
        raise LoadError(f"{path}: protocol: expected {PROTOCOL}, got {describe(version)}")
    system, at = unpickle(data, at, f"{path}: system", {})
    for field, expected in (("protocol_version", PROTOCOL), ("little_endian", True)):
        came = [value for key, value in system if key == field] if isinstance(system, Dict) else []
        if len(came) != 1 or type(came[0]) is not type(expected) or came[0] != expected:
            raise LoadError(f"{path}: system: {field}: expected {expected}, got {describe(came)}")
    storages: dict[str, Storage] = {}

    def find(identifier: object) -> Storage:
        storage, view = parse_storage(identifier, 6)
        if storages.setdefault(storage.key, storage) != storage:
            raise Refused(f"storage {storage.key}: named with two dtypes or sizes")
        return storage if view is None else _view(storage, view)

    value, at = unpickle(data, at, f"{path}: object", SYMBOLS, find)
    keys, at = unpickle(data, at, f"{path}: list of storages", {})
    offsets = _offsets(file, keys, at, storages)
    return TorchFile(
        path, "PyTorch legacy", value, lambda key: file.window(offsets[key], storages[key].nbytes), big_endian=False
    )


def _view(storage: Storage, view: object) -> Storage:
    """The part of `storage` that (key, offset, number of elements) stands for."""
    key, offset, numel = view if type(view) is tuple and len(view) == 3 else (None, None, None)
    if not isinstance(key, str) or type(offset) is not int or type(numel) is not int or min(offset, numel) < 0:
        raise Refused(f"storage {storage.key}: view: expected key, offset and number of elements, got {describe(view)}")
    itemsize = DTYPES[storage.dtype].itemsize
    if (offset + numel) * itemsize > storage.nbytes:
        raise Refused(
            f"storage {storage.key}: view: elements {quote(offset)} to {quote(offset + numel)} of "
            f"{storage.nbytes // itemsize}"
        )
    return Storage(storage.key, storage.dtype, offset * itemsize, numel * itemsize)


def _offsets(file: MappedFile, keys: object, at: int, storages: dict[str, Storage]) -> dict[str, int]:
    """Where in the file the numbers of each storage begin; `keys` in this order come from `at` on, to the end."""
    offsets: dict[str, int] = {}
    for key in keys if type(keys) is list else [None]:
        if not isinstance(key, str) or key not in storages or key in offsets:
            raise LoadError(f"{file.path}: list of storages: expected those of the tensors, once, got {describe(key)}")
        where, storage = f"{file.path}: storage {quote(key)}", storages[key]
        numel = int.from_bytes(file.window(at, 8), "little")
        if numel * DTYPES[storage.dtype].itemsize != storage.nbytes:
            raise LoadError(f"{where}: expected {storage.nbytes} bytes of {storage.dtype}, got {numel} elements")
        offsets[key] = at + 8
        at += 8 + storage.nbytes
        if at > file.size:
            raise LoadError(f"{where}: {at - file.size} bytes are missing", "the file is cut off: download it again")
    if missing := [key for key in storages if key not in offsets]:
        raise LoadError(f"{file.path}: list of storages: without {', '.join(map(quote, missing[:4]))}")
    if at != file.size:
        raise LoadError(
            f"{file.path}: {file.size - at} bytes follow the last storage", "do not trust it, download it again"
        )
    return offsets
