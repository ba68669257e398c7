"""Builds PyTorch files field by field, the wrong ones too: pickles, zip archives, legacy streams."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

MAGIC = bytes.fromhex("80028a0a6cfc9c46f9206aa850192e")
SYSTEM = {
    "protocol_version": 1001,
    "little_endian": True,
    "type_sizes": {"short": 2, "int": 4, "long": 4},
}


class Raw(NamedTuple):
    """Opcodes as they are."""

    code: bytes


class Global(NamedTuple):
    module: str
    name: str


class Call(NamedTuple):
    """REDUCE, and BUILD if there is a state."""

    function: object
    arguments: object
    state: object = None


class Outside(NamedTuple):
    """BINPERSID."""

    identifier: object


class Ordered(dict):
    """A collections.OrderedDict; `metadata` becomes its attribute `_metadata`, as a state_dict has it."""

    metadata: object = None


def pickled(value: object, protocol: int = 2) -> bytes:
    return b"\x80" + bytes([protocol]) + encode(value) + b"."


def encode(value: object) -> bytes:
    """The opcodes that push `value`, in the words of protocol 2."""
    match value:
        case Raw(code):
            return code
        case Global(module, name):
            return b"c" + module.encode() + b"\n" + name.encode() + b"\n"
        case Call(function, arguments, state):
            return encode(function) + encode(arguments) + b"R" + (encode(state) + b"b" if state is not None else b"")
        case Outside(identifier):
            return encode(identifier) + b"Q"
        case None | True | False:
            return {None: b"N", True: b"\x88", False: b"\x89"}[value]
        case int():
            if 0 <= value < 256:
                return b"K" + bytes([value])
            if -(2**31) <= value < 2**31:
                return b"J" + struct.pack("<i", value)
            raw = value.to_bytes(value.bit_length() // 8 + 1, "little", signed=True)
            return b"\x8a" + bytes([len(raw)]) + raw
        case float():
            return b"G" + struct.pack(">d", value)
        case str():
            text = value.encode()
            return b"X" + struct.pack("<I", len(text)) + text
        case tuple():
            return b"(" + b"".join(map(encode, value)) + b"t"
        case list():
            return b"](" + b"".join(map(encode, value)) + b"e"
        case dict():
            items = b"(" + b"".join(encode(key) + encode(item) for key, item in value.items()) + b"u"
            if not isinstance(value, Ordered):
                return b"}" + items
            state = encode({"_metadata": value.metadata}) + b"b" if value.metadata is not None else b""
            return encode(Call(Global("collections", "OrderedDict"), ())) + items + state
    raise TypeError(value)


def storage(key: str, numel: int, kind: str = "FloatStorage", *view: object) -> Outside:
    """A storage by its id; the legacy format has one field more, `view`."""
    return Outside(("storage", Global("torch", kind), key, "cpu", numel, *view))


def tensor(where: object, size: Sequence[int], stride: Sequence[int], offset: int = 0) -> Call:
    rebuild = Global("torch._utils", "_rebuild_tensor_v2")
    return Call(rebuild, (where, offset, tuple(size), tuple(stride), False, Ordered()))


@dataclass
class Part:
    """A member of a zip archive. `local`, `central` and `descriptor` override fields of what is written by their name.

    streamed: crc and sizes stand in a data descriptor behind the data and are 0 before it, as PyTorch writes them.
    """

    name: str | bytes
    data: bytes
    streamed: bool = True
    method: int = 0
    size: int | None = None
    crc: int | None = None
    extra: bytes = b""
    central_extra: bytes = b""
    gap: bytes = b""
    wide_descriptor: bool = False
    local: dict[str, int | bytes] = field(default_factory=dict)
    central: dict[str, int | bytes] = field(default_factory=dict)
    descriptor: dict[str, int | bytes] = field(default_factory=dict)


def _record(layout: str, fields: dict[str, int | bytes], changes: Mapping[str, int | bytes]) -> bytes:
    assert changes.keys() <= fields.keys(), changes
    return struct.pack(layout, *(fields | changes).values())


def zip_bytes(
    parts: Sequence[Part],
    end: Mapping[str, int | bytes] = {},
    *,
    comment: bytes = b"",
    zip64: Mapping[str, int | bytes] | None = None,
    locator: Mapping[str, int | bytes] = {},
    before: bytes = b"",
) -> bytes:
    """The archive of `parts`. end, zip64, locator override fields of these records; zip64=None leaves both out."""
    out, directory = before, b""
    for part in parts:
        name = part.name if isinstance(part.name, bytes) else part.name.encode()
        crc = zlib.crc32(part.data) if part.crc is None else part.crc
        size = len(part.data) if part.size is None else part.size
        flags = 0x0808 if part.streamed else 0x0800
        truth = {"crc": crc, "nbytes": len(part.data), "size": size}
        common = {"version": 0, "flags": flags, "method": part.method, "time": 0, "date": 0}
        said = dict.fromkeys(truth, 0) if part.streamed else truth
        header = len(out)
        local = {"signature": b"PK\3\4", **common, **said, "name": len(name), "extra": len(part.extra)}
        out += _record("<4s5H3I2H", local, part.local) + name + part.extra + part.data
        if part.streamed:
            layout = "<4sI2Q" if part.wide_descriptor else "<4s3I"
            out += _record(layout, {"signature": b"PK\7\x08", **truth}, part.descriptor)
        out += part.gap
        central = {"signature": b"PK\1\2", "system": 0, **common, **truth, "name": len(name)}
        central |= {"extra": len(part.central_extra), "comment": 0, "disk": 0, "inner": 0, "outer": 0, "header": header}
        directory += _record("<4s6H3I5H2I", central, part.central) + name + part.central_extra
    begin = len(out)
    out += directory
    counts = {"disk": 0, "directory_disk": 0, "here": len(parts), "count": len(parts)}
    places = {"directory": len(directory), "offset": begin}
    if zip64 is not None:
        record = {"signature": b"PK\6\6", "follow": 44, "made": 0x031E, "needed": 45, **counts, **places}
        place = len(out)
        out += _record("<4sQ2H2I4Q", record, zip64)
        out += _record("<4sIQI", {"signature": b"PK\6\7", "disk": 0, "offset": place, "disks": 1}, locator)
    record = {"signature": b"PK\5\6", **counts, **places, "comment": len(comment)}
    return out + _record("<4s4H2IH", record, end) + comment


def torch_parts(
    value: object, storages: Mapping[str, bytes], root: str = "archive", order: str = "little"
) -> list[Part]:
    """The members of a PyTorch file as PyTorch orders them."""
    records = {"data.pkl": pickled(value), "byteorder": order.encode()}
    records |= {f"data/{key}": raw for key, raw in storages.items()} | {"version": b"3\n"}
    return [Part(f"{root}/{name}", raw, streamed=bool(raw)) for name, raw in records.items()]


def torch_zip(value: object, storages: Mapping[str, bytes] = {}, order: str = "little") -> bytes:
    return zip_bytes(torch_parts(value, storages, order=order), zip64={})


def torch_legacy(
    value: object,
    storages: Mapping[str, tuple[int, bytes]] = {},
    *,
    magic: bytes = MAGIC,
    version: object = 1001,
    system: object = SYSTEM,
    keys: object = None,
) -> bytes:
    """A legacy stream; storages by key: the number of elements that is written, and their bytes."""
    keys = sorted(storages) if keys is None else keys
    stream = magic + b"".join(map(pickled, (version, system, value, keys)))
    return stream + b"".join(struct.pack("<Q", numel) + raw for _, (numel, raw) in sorted(storages.items()))
