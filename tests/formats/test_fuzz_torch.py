"""Thousands of damaged PyTorch files of both generations: each is read or refused, quickly and in little memory."""

from __future__ import annotations

import random
import struct
from collections.abc import Callable

import numpy as np

from minibert.formats.opening import open_weights
from tests.formats.fuzzing import survives
from tests.formats.torchfiles import (
    SYSTEM,
    Call,
    Global,
    Ordered,
    Outside,
    Part,
    Raw,
    encode,
    tensor,
    torch_legacy,
    torch_parts,
    zip_bytes,
)

NUMBERS = {  # key: the numbers of its storage
    "0": np.arange(12, dtype="<f4"),
    "1": np.arange(6, dtype="<f2"),
    "2": np.array([0, 1, 1, 0], "u1"),
    "3": np.arange(4, dtype="<i8"),
    "4": np.array([0x3F80, 0x4000], "<u2"),
}
STORAGES = {key: array.tobytes() for key, array in NUMBERS.items()}
KINDS = {"0": "FloatStorage", "1": "HalfStorage", "2": "BoolStorage", "3": "LongStorage", "4": "BFloat16Storage"}


def checkpoint(*view: object) -> dict[str, object]:
    """A training checkpoint with every kind of entry; `view` is the field that only the legacy format has."""

    def numbers(key: str) -> Outside:
        return Outside(("storage", Global("torch", KINDS[key]), key, "cpu", NUMBERS[key].size, *view))

    word = tensor(numbers("0"), (3, 4), (4, 1))
    weights = Ordered(
        word=word,
        decoder=word,
        transposed=tensor(numbers("0"), (2, 3), (1, 4), 1),
        bias=Call(Global("torch._utils", "_rebuild_parameter"), (tensor(numbers("1"), (6,), (1,)), True, Ordered())),
        mask=tensor(numbers("2"), (2, 2), (2, 1)),
        position=tensor(numbers("3"), (5, 4), (0, 1)),
        scale=tensor(numbers("4"), (), (), 1),
        empty=tensor(numbers("1"), (0, 3), (3, 1)),
        old=Call(Global("torch._utils", "_rebuild_tensor"), (numbers("0"), 0, (12,), (1,))),
    )
    weights.metadata = Ordered({"": {"version": 1}})
    args = Call(Global("argparse", "Namespace"), (), {"lr": 0.1, "layers": [1, 2], "shape": (3, None)})
    return {"state_dict": weights, "epoch": 3, "args": args}


VALUES = [
    None, True, False, 0, 1, -1, 2, 3, 4, 12, 13, 255, 2**31, 2**61, 2**63 - 1, 2**63, 2**64, 2**1000, 0.5,
    float("nan"), "", "0", "1", "storage", "state_dict", "../../x", "é" * 100, "x" * 5000, (), [], {}, (0,), (1,),
    (2, 3), (3, 1), (4, 1), (10**12,), (0, 0), (1,) * 40, [1], [[]], (None, None), Ordered(), Ordered(a=1),
    Global("os", "system"), Global("torch", "LongStorage"), Global("torch", "float32"),
    Global("collections", "OrderedDict"), Global("torch._utils", "_rebuild_tensor_v2"),
    Outside(("storage", Global("torch", "FloatStorage"), "0", "cpu", 12)), Call(Global("torch", "Size"), ((1,),)),
    Raw(b""), Raw(b"("), Raw(b"h\0"), Raw(b"]q\0h\0a"), Raw(b"0"), Raw(b"R"),
]  # fmt: skip


def changed(node: object, rng: random.Random) -> object:
    """`node` with one thing in it replaced, left out or put in; mostly far down."""
    children = [*node.values()] if isinstance(node, dict) else [*node] if isinstance(node, list | tuple) else []
    if type(node) is int and rng.random() < 0.7:
        return max(0, node + rng.choice([-1, 1, 2, 7]))  # sizes, strides and offsets that are only a little wrong
    if not children or isinstance(node, Raw) or rng.random() < 0.06:
        return rng.choice(VALUES)
    at, action = rng.randrange(len(children)), rng.random()
    if isinstance(node, dict):
        keys = list(node)
        if action < 0.1:
            keys[at] = rng.choice(["", "x" * 5000, "state_dict", "model", 3, None, keys[-1]])
        children[at] = changed(children[at], rng) if action > 0.2 else children[at]
        copy = type(node)(zip(keys, children, strict=True))
        if isinstance(copy, Ordered):
            copy.metadata = rng.choice(VALUES) if rng.random() < 0.1 else node.metadata
        return copy
    if action < 0.08:
        del children[at]
    elif action < 0.16:
        children.insert(at, rng.choice(VALUES))
    else:
        children[at] = changed(children[at], rng)
    if type(node) in (list, tuple):
        return type(node)(children)
    try:
        same = type(node)(*children)
        encode(same)
        return same
    except (TypeError, AttributeError):  # another number of fields, names that are no texts
        return Raw(b"".join(map(encode, children)) + rng.choice([b"R", b"Q", b"\x93", b"b", b""]))


def damaged(raw: bytes, rng: random.Random) -> bytes:
    """`raw` with a few bytes changed, cut out, doubled or put in, or cut off."""
    at = rng.randrange(len(raw) + 1)
    end = at + rng.choice([0, 1, 1, 1, 2, 4, 8, 30])
    new = rng.choice([
        b"", rng.randbytes(1), rng.randbytes(end - at), raw[at:end] * 2, b"\xff" * (end - at), bytes(end - at),
        struct.pack("<I", rng.choice([0, 1, 2**31, 2**32 - 1])),
        rng.choice([b"(", b".", b"0", b"R", b"q\0", b"h\0", b"t"]),
    ])  # fmt: skip
    return raw[:at] if rng.random() < 0.05 else raw[:at] + new + raw[end:]


FIELDS = {
    "local": ["flags", "method", "crc", "nbytes", "size", "name", "extra", "signature"],
    "central": [
        "system",
        "flags",
        "method",
        "crc",
        "nbytes",
        "size",
        "name",
        "extra",
        "comment",
        "disk",
        "outer",
        "header",
    ],
    "descriptor": ["signature", "crc", "nbytes", "size"],
}  # fmt: skip
END = ["disk", "directory_disk", "here", "count", "directory", "offset"]


def odd(field: str, rng: random.Random) -> int | bytes:
    if field == "signature":
        return rng.randbytes(4)
    wide = field in ("crc", "nbytes", "size", "outer", "header", "directory", "offset")
    return rng.choice([0, 1, 8, 14, 24, 30, 0x0808, 0x0809, 0xFFFE, 0xFFFF, *([2**31, 0xA1FF0000, 2**32 - 1] * wide)])


def zipped(rng: random.Random) -> bytes:
    """A damaged zip; sizes and checksums fit again, unless they are what is damaged."""
    value = checkpoint()
    way = rng.choices(["value", "pickle", "numbers", "field", "end", "members", "bytes"], [10, 4, 1, 2, 1, 1, 1])[0]
    parts = torch_parts(changed(value, rng) if way == "value" else value, STORAGES)
    part = rng.choice(parts)
    ends: list[dict[str, int | bytes]] = [{}, {}, {}]  # end record, zip64 end record, its locator
    if way == "pickle":
        parts[0].data = damaged(parts[0].data, rng)
    elif way == "numbers":
        part.data = damaged(part.data, rng)
    elif way == "field":
        place = rng.choice(list(FIELDS))
        field = rng.choice(FIELDS[place])
        getattr(part, place)[field] = odd(field, rng)
    elif way == "end":
        which = rng.randrange(3)
        field = rng.choice(["disk", "offset", "disks"] if which == 2 else END)
        ends[which][field] = odd("count", rng)
    elif way == "members":
        change_members(parts, part, rng)
    content = zip_bytes(parts, ends[0], zip64=ends[1], locator=ends[2])
    return damaged(content, rng) if way == "bytes" else content


def change_members(parts: list[Part], part: Part, rng: random.Random) -> None:
    name = rng.choice(["archive/data.pkl", "archive/code/x.py", "other/x", "../x", "archive/x", "", "archive/x/"])
    rng.choice([
        lambda: parts.remove(part),
        lambda: rng.shuffle(parts),
        lambda: setattr(part, "name", name),
        lambda: setattr(part, "gap", rng.randbytes(3)),
        lambda: setattr(part, "extra", rng.randbytes(rng.randrange(20))),
        lambda: setattr(part, "central_extra", struct.pack("<2H", 1, 8) + bytes(rng.randrange(12))),
        lambda: parts.append(Part(name, b"x")),
        lambda: [setattr(each, "crc", 0) for each in parts],
    ])()  # fmt: skip


def legacy(rng: random.Random) -> bytes:
    value = checkpoint(None)
    way = rng.choices(["value", "pickle", "numel", "numbers", "around", "bytes"], [10, 4, 1, 1, 2, 2])[0]
    storages = {key: (array.size, STORAGES[key]) for key, array in NUMBERS.items()}
    key = rng.choice(list(storages))
    numel, raw = storages[key]
    around = {}
    if way == "value":
        value = changed(value, rng)
    elif way == "pickle":
        value = Raw(damaged(encode(value), rng))
    elif way == "numel":
        storages[key] = (rng.choice([0, 1, 11, 2**31, 2**63]), raw)
    elif way == "numbers":
        storages[key] = (numel, damaged(raw, rng))
    elif way == "around":
        around = {"system": changed(SYSTEM, rng)} if rng.random() < 0.5 else {"keys": changed(sorted(storages), rng)}
    content = torch_legacy(value, storages, **around)
    return damaged(content, rng) if way == "bytes" else content


def fuzz(make: Callable[[random.Random], bytes], cases: int, path) -> None:
    rng = random.Random(0)
    counts = {"read": 0, "refused": 0}
    for _ in range(cases):
        counts[survives(open_weights, path, {path.name: make(rng)})] += 1
    assert min(counts.values()) > cases // 10


def test_damaged_zip_files(tmp_path, fuzz_cases):
    fuzz(zipped, fuzz_cases // 2, tmp_path / "model.bin")


def test_damaged_legacy_files(tmp_path, fuzz_cases):
    fuzz(legacy, fuzz_cases // 2, tmp_path / "model.bin")


def test_the_files_are_read_as_long_as_nothing_is_damaged(tmp_path):
    """Otherwise the fuzzer would only ever see the first check fail."""
    path = tmp_path / "model.bin"
    whole = torch_parts(checkpoint(), STORAGES)
    stream = torch_legacy(checkpoint(None), {key: (array.size, STORAGES[key]) for key, array in NUMBERS.items()})
    for content in (zip_bytes(whole, zip64={}), stream):
        assert survives(open_weights, path, {path.name: content}) == "read"
        assert len(open_weights(path).tensors) == 9
