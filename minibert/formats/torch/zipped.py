"""PyTorch's format since 1.6: a zip archive whose members are all stored, so that numbers can be read where they are.

    <root>/data.pkl        the pickle; a storage in it is ("storage", class, key, device, number of elements)
    <root>/data/<key>      the numbers of a storage, aligned to 64 bytes in newer files
    <root>/version         "3\\n"
    <root>/byteorder       "little" or "big", in newer files; little-endian without

TorchScript puts code beside them (code/, constants.pkl); such archives are programs and are refused.
"""

from __future__ import annotations

import re

from ...errors import LoadError
from ..archive import STORED, Archive
from ..files import quote
from .pickle import unpickle
from .symbols import SYMBOLS, Storage, parse_storage
from .tensors import TorchFile
from .values import Refused

__all__ = ["open_zipped"]

VERSIONS = range(1, 11)  # the archive versions that PyTorch itself reads


def open_zipped(archive: Archive) -> TorchFile:
    """Opens the PyTorch file that `archive` is. Raises LoadError if it is malformed or holds no plain weights."""
    path, root = archive.path, _root(archive)
    version = _record(archive, f"{root}/version")
    if not re.fullmatch(r"[0-9]{1,3}\n?", version) or int(version) not in VERSIONS:
        raise LoadError(f"{path}: version: expected {VERSIONS[0]} to {VERSIONS[-1]}, got {quote(version)}")
    byteorder = _record(archive, f"{root}/byteorder") if f"{root}/byteorder" in archive.members else "little"
    if byteorder not in ("little", "big"):
        raise LoadError(f"{path}: byteorder: expected 'little' or 'big', got {quote(byteorder)}")
    storages: dict[str, Storage] = {}

    def find(identifier: object) -> Storage:
        storage, _ = parse_storage(identifier, 5)
        member = archive.members.get(f"{root}/data/{storage.key}")
        if member is None:
            raise Refused(f"storage {storage.key}: the archive has no {root}/data/{storage.key}")
        if member.nbytes != storage.nbytes:
            raise Refused(f"storage {storage.key}: expected {storage.nbytes} bytes, the archive has {member.nbytes}")
        if storages.setdefault(storage.key, storage) != storage:
            raise Refused(f"storage {storage.key}: named with two dtypes, {storages[storage.key].dtype} before")
        return storage

    where = f"{path}: data.pkl"
    program = archive.window(f"{root}/data.pkl")
    value, end = unpickle(program, 0, where, SYMBOLS, find)
    if end != len(program):
        raise LoadError(f"{where}: {len(program) - end} bytes follow the end of the pickle")
    file = TorchFile(path, "PyTorch zip", value, lambda key: archive.window(f"{root}/data/{key}"), byteorder == "big")
    if not archive.has_checksums:
        file.notes.append("The file was written without checksums: damage to its numbers would go unnoticed.")
    return file


def _root(archive: Archive) -> str:
    """The folder that all members are in."""
    roots = sorted({name.partition("/")[0] for name in archive.members})
    if len(roots) > 1:
        raise LoadError(f"{archive.path}: expected all members in one folder, got {', '.join(map(quote, roots[:4]))}")
    for name, member in archive.members.items():
        if name == f"{roots[0]}/constants.pkl" or name.startswith(f"{roots[0]}/code/"):
            raise LoadError(
                f"{archive.path}: expected weights, got a TorchScript archive, which is a program",
                "save its weights with PyTorch: torch.save(torch.jit.load(PATH).state_dict(), NEW_PATH)",
            )
        if member.method != STORED:
            raise LoadError(
                f"{archive.path}: member {quote(name)}: must be stored, got deflated",
                "unpack it and zip it again with -0, or load and save it with PyTorch",
            )
    return roots[0]


def _record(archive: Archive, name: str) -> str:
    """The short text that is the member `name`."""
    raw = archive.window(name)
    return bytes(raw[:16]).decode("latin-1")
