"""The opcode machine: plain values come out right, and nothing that a pickle says is ever done."""

from __future__ import annotations

import inspect
import pickle
import struct
import sys
import time
import tracemalloc

import numpy as np
import pytest

from minibert.errors import LoadError
from minibert.formats.opening import open_weights
from minibert.formats.torch import zipped
from minibert.formats.torch.legacy import open_legacy
from minibert.formats.torch.pickle import BUDGET, unpickle
from minibert.formats.torch.symbols import SYMBOLS
from minibert.formats.torch.values import Dict, Inert, Refused
from minibert.formats.zips import open_zip
from tests.formats.torchfiles import (
    Call,
    Global,
    Ordered,
    Raw,
    encode,
    pickled,
    storage,
    tensor,
    torch_legacy,
    torch_zip,
)

STORAGE = {"0": np.arange(6, dtype="<f4").tobytes()}
W = tensor(storage("0", 6), (2, 3), (3, 1))


def run(code: bytes) -> object:
    """The value of the pickle `code`, which must end at its end; storages are not known."""
    value, end = unpickle(memoryview(code), 0, "FILE", SYMBOLS)
    assert end == len(code)
    return value


def plain(value: object) -> object:
    """`value` with Dicts made dicts again."""
    if isinstance(value, Dict):
        return {key: plain(item) for key, item in value}
    return type(value)(map(plain, value)) if type(value) in (list, tuple) else value


def refused(code: bytes, match: str) -> LoadError:
    """Running `code` is a LoadError that names the byte, and comes quickly."""
    started = time.process_time()
    with pytest.raises(LoadError, match=match) as caught:
        run(code)
    assert time.process_time() - started < 2
    assert str(caught.value).startswith("FILE: byte ")
    assert len(str(caught.value)) < 1000
    return caught.value


# Values


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_p17_plain_values_of_every_protocol(protocol):
    value = {
        "ints": [0, 1, 255, 256, 65535, 65536, -1, 2**31 - 1, -(2**31), 2**31, 2**70, -(2**70)],
        "floats": (0.0, -0.5, 1e300, float("inf")),
        "texts": ["", "é", "x" * 300, "\U0001f600"],
        "rest": (None, True, False, (), (1,), (1, 2), (1, 2, 3), (1, 2, 3, 4), [], {}, {"a": {"b": []}}),
        "again": ["shared"] * 3,
    }
    assert plain(run(pickle.dumps(value, protocol))) == value


@pytest.mark.parametrize(("protocol", "opcode"), [(0, "opcode not allowed: PUT"), (1, "opcode not allowed: INT")])
def test_p17_opcodes_of_protocols_0_and_1_are_not_allowed(protocol, opcode):
    error = refused(pickle.dumps([1, True], protocol).replace(b"(lp0\n", b"]p0\n"), opcode)
    assert "pickle_protocol=2" in error.hint


@pytest.mark.parametrize("version", [6, 7, 255])
def test_p17_protocols_that_there_are_not(version):
    refused(b"\x80" + bytes([version]) + b"N.", f"PROTO: expected a protocol of at most 5, got {version}")


def test_shared_and_cyclic_values_stay_so():
    value = run(b"\x80\x02]q\0h\0a.")
    assert isinstance(value, list)
    assert value[0] is value


def test_strings_of_python_2():
    assert run(b"(U\x02abT\2\0\0\0cdt.") == ("ab", "cd")
    assert run(b"U\x02\xff\xfe.") == Inert("bytes")


def test_long_texts_and_bytes_are_stepped_over():
    long = "x" * 5000
    assert run(pickle.dumps((long, b"ab", b"x" * 300), 3)) == (Inert("long text"), Inert("bytes"), Inert("bytes"))
    assert run(pickle.dumps((b"x", "y" * 4096), 4)) == (Inert("bytes"), "y" * 4096)
    assert run(b"\x8e" + struct.pack("<Q", 3) + b"abc.") == Inert("bytes")
    assert run(b"\x8d" + struct.pack("<Q", 3) + b"abc.") == "abc"


def test_values_that_only_hold_data_are_inert():
    import argparse
    import collections
    import datetime
    import pathlib

    values = {
        "args": argparse.Namespace(lr=0.1, path=pathlib.PurePosixPath("/x"), when=datetime.date(2020, 1, 1)),
        "numpy": [np.float64(1), np.arange(3), np.dtype("f4")],
        "set": {1, 2},
        "counter": collections.Counter("ab"),
        "complex": 1j,
        "empty": [b"", np.zeros(0)],
        "zone": datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC),
    }
    came = plain(run(pickle.dumps(values, 2)))
    assert came["args"] == Inert("argparse.Namespace")
    assert came["numpy"] == [Inert("numpy.core.multiarray.scalar"), Inert("numpy.core.multiarray._reconstruct"),
                             Inert("numpy.dtype")]  # fmt: skip
    assert came["set"] == Inert("builtins.set")
    assert came["counter"] == Inert("collections.Counter")
    assert came["complex"] == Inert("builtins.complex")
    assert came["empty"] == [Inert("builtins.bytes"), Inert("numpy.core.multiarray._reconstruct")]
    assert came["zone"] == Inert("datetime.datetime")
    default = collections.defaultdict(list, {"a": [1]})
    assert plain(run(pickle.dumps(default, 2))) == {"a": [1]}


def test_ordered_dicts_of_both_pythons():
    ordered = Ordered(a=1, b=(2,))
    ordered.metadata = Ordered(version=1)
    assert plain(run(pickled(ordered))) == ordered
    python_2 = Call(Global("collections", "OrderedDict"), ([["a", 1], ["b", (2,)]],), {"_metadata": 1})
    assert plain(run(pickled(python_2))) == ordered


# What a pickle must not do

HARMFUL = [
    *[("os", "system"), ("posix", "system"), ("nt", "system"), ("os", "popen"), ("subprocess", "Popen")],
    *[("builtins", name) for name in ("eval", "exec", "getattr", "__import__", "open", "compile", "type", "setattr")],
    *[("__builtin__", name) for name in ("eval", "exec", "getattr", "__import__", "file", "apply")],
]
BYPASSES = [
    ("pty", "spawn"), ("runpy", "_run_code"), ("operator", "methodcaller"), ("operator", "attrgetter"),
    ("numpy.f2py.crackfortran", "getlincoef"), ("numpy.f2py.capi_maps", "load_f2cmap_file"),
    ("uuid", "_get_command_stdout"), ("io", "FileIO"), ("_io", "FileIO"), ("importlib", "import_module"),
    ("importlib.util", "find_spec"), ("marshal", "loads"), ("types", "FunctionType"), ("cProfile", "run"),
    ("ctypes", "CDLL"), ("pydoc", "locate"), ("code", "interact"), ("multiprocessing.util", "spawnv_passfds"),
    ("_aix_support", "_read_cmd_output"), ("_osx_support", "_read_output"), ("distutils.file_util", "write_file"),
    ("asyncio.unix_events", "_UnixSubprocessTransport._start"), ("pickle", "loads"), ("torch", "load"),
    ("torch.jit", "load"), ("torch.hub", "load"), ("torch.serialization", "load"), ("functools", "partial"),
    ("copyreg", "_reconstructor"), ("webbrowser", "open"), ("timeit", "timeit"), ("bdb", "Bdb.run"),
    ("numpy", "load"), ("numpy.testing._private.utils", "runstring"), ("this", "s"),
]  # fmt: skip


def call(module: str, name: str, *arguments: object) -> Call:
    return Call(Global(module, name), arguments)


@pytest.mark.parametrize("build", [torch_zip, lambda value, _: torch_legacy(value)], ids=["zip", "legacy"])
@pytest.mark.parametrize(("module", "name"), HARMFUL + BYPASSES)
def test_p01_p02_names_that_could_harm(tmp_path, build, module, name):
    canary = tmp_path / "canary"
    command = f"touch {canary}"
    path = tmp_path / "model.bin"
    path.write_bytes(build({"x": call(module, name, command)}, STORAGE))
    loaded = set(sys.modules)
    with pytest.raises(
        LoadError, match=rf"{path}: .*: byte \d+: GLOBAL: {module}.{name} is not among the names"
    ) as caught:
        open_weights(path)
    assert "nothing of it was run" in caught.value.hint
    assert set(sys.modules) == loaded
    assert not canary.exists()


def test_p01_the_canary_sings_where_pickles_are_run(tmp_path):
    code = pickled(call("os", "mkdir", str(tmp_path / "canary")))
    refused(code, "byte 2: GLOBAL: os.mkdir is not among the names")
    assert not (tmp_path / "canary").exists()
    pickle.loads(code)
    assert (tmp_path / "canary").is_dir()


def test_p01_a_harmful_name_is_refused_even_if_it_is_not_called():
    refused(pickled([Global("os", "system")]), "GLOBAL: os.system is not among the names")


@pytest.mark.parametrize(
    ("module", "name"),
    [("collections", "OrderedDict.__reduce__"), ("torch", "_utils._rebuild_tensor_v2"), ("collections.OrderedDict", ""),
     ("collections", "OrderedDict\n"), ("os\n", "system"), ("", "")],
)  # fmt: skip
def test_p03_stack_global_with_other_names(module, name):
    refused(b"\x80\x04" + encode(module) + encode(name) + b"\x93.", "STACK_GLOBAL: .* is not among the names")


@pytest.mark.parametrize(
    "line",
    [b"cos\rsystem\n\n", b"cos\x0bsystem\nx\n", "cos\u2028system\nx\n".encode(), b"c\ncollections\nOrderedDict\n"],
)
def test_p03_names_split_by_other_newlines(line):
    refused(line + b".", "GLOBAL: .* is not among the names")


def test_p03_stack_global_of_no_texts():
    refused(b"K\1K\2\x93.", "STACK_GLOBAL: expected two texts, got 1 and 2")
    refused(encode("collections") + b"]\x93.", "STACK_GLOBAL: expected two texts, got 'collections' and a list of 0")
    refused(encode(Global("collections", "OrderedDict")) + b"X\1\0\0\0a\x93.", "STACK_GLOBAL: expected two texts")


def test_p03_stack_global_of_a_known_name():
    assert run(b"\x80\x04" + encode("collections") + encode("OrderedDict") + b"\x93)R.") == Dict()


@pytest.mark.parametrize(
    ("code", "name"),
    [
        (b"(iargparse\nNamespace\n", "INST"), (b"(cargparse\nNamespace\no", "OBJ"), (b"\x82\1", "EXT1"),
        (b"\x83\1\0", "EXT2"), (b"\x84\1\0\0\0", "EXT4"), (b"cargparse\nNamespace\n)}\x92", "NEWOBJ_EX"),
        (b"\x96" + bytes(8), "BYTEARRAY8"), (b"\x97", "NEXT_BUFFER"), (b"N\x98", "READONLY_BUFFER"), (b"N2", "DUP"),
        (b"NN0", "POP"), (b"(1", "POP_MARK"), (b"Pid\n", "PERSID"), (b"g0\n", "GET"), (b"Np0\n", "PUT"),
        (b"I1\n", "INT"), (b"L1L\n", "LONG"), (b"S'a'\n", "STRING"), (b"Va\n", "UNICODE"), (b"F1\n", "FLOAT"),
        (b"(l", "LIST"), (b"(d", "DICT"), (b"\x8b\1\0\0\0\1", "LONG4"), (b"\x8f", "EMPTY_SET"), (b"(\x91", "FROZENSET"),
        (b"\xff", "0xff"), (b"\0", "0x0"),
    ],
)  # fmt: skip
def test_p04_opcode_not_allowed(code, name):
    refused(b"\x80\x02" + code + b".", f"opcode not allowed: {name}")


def test_p04_frames():
    frame = b"\x80\x04\x95" + struct.pack("<Q", 3)
    assert run(frame + b"K\1.") == 1
    assert run(frame[:-8] + struct.pack("<Q", 2) + b"K\1.") == 1  # STOP behind the frame
    refused(frame[:-8] + struct.pack("<Q", 1) + b"K\1.", "BININT1: straddles the end of a frame at 12")
    refused(frame[:-8] + struct.pack("<Q", 4) + b"K\1.", "FRAME: a frame of 4 bytes, of which 3 are there")
    refused(frame[:-8] + struct.pack("<Q", 2**64 - 1) + b"K\1.", "FRAME: a frame of")
    refused(
        frame[:-8] + struct.pack("<Q", 12) + b"\x95" + struct.pack("<Q", 3) + b"K\1.", "FRAME: a frame within a frame"
    )
    refused(frame[:-8] + struct.pack("<Q", 5) + b"K\1.  ", "STOP: before the end of the frame at 16")


V1, V2, V3, PARAMETER, WITH_STATE = (
    ("torch._utils", f"_rebuild_{name}")
    for name in ("tensor", "tensor_v2", "tensor_v3", "parameter", "parameter_with_state")
)


@pytest.mark.parametrize(
    ("function", "arguments", "match"),
    [
        (V2, (), "expected 6 to 7 arguments, got 0"),
        (V2, (1, 2, 3, 4, 5), "expected 6 to 7 arguments, got 5"),
        (V2, (1, 0, (2,), (1,), False, None), "tensor: expected storage, offset, size"),
        (V2, ("S", 0.0, (2,), (1,), False, None), "tensor: expected storage"),
        (V2, ("S", True, (2,), (1,), False, None), "tensor: expected storage"),
        (V2, ("S", 0, [2], (1,), False, None), "tensor: expected storage"),
        (V2, ("S", 0, (2.0,), (1,), False, None), "tensor: expected storage"),
        (V2, ("S", 0, (2,), None, False, None), "tensor: expected storage"),
        (V2, ("S", 0, (2,), (1,), 7, None), "no conjugate or negative bit, got \\(7\\)"),
        (V2, ("S", 0, (2,), (1,), False, None, {"conj": True}), "no conjugate or negative bit"),
        (V1, ("S", 0, (2,)), "expected 4 to 4 arguments, got 3"),
        (V3, ("S", 0, (2,), (1,), False, None), "expected 7 to 8 arguments, got 6"),
        (V3, ("S", 0, (2,), (1,), False, None, "f4"), "dtype: expected one of torch, got 'f4'"),
        (V3, ("S", 0, (2,), (1,), False, None, Global("torch", "FloatStorage")), "dtype: expected one of torch, got"),
        (V3, ("S", 0, (2,), (1,), False, None, Global("collections", "OrderedDict")), "dtype: expected one of torch"),
        (V3, ("S", 0, (2,), (1,), False, None, Global("torch", "float8_e5m2")), "torch.float8_e5m2 is not read"),
        (PARAMETER, (1, True, None), "parameter: expected a tensor"),
        (PARAMETER, (W, 1, None), "parameter: expected a tensor"),
        (WITH_STATE, (W,), "expected 3 to 4 arguments, got 1"),
        (("collections", "OrderedDict"), (1,), "OrderedDict: expected nothing or one list of pairs, got \\(1\\)"),
        (("collections", "OrderedDict"), ([[1]],), "OrderedDict: expected nothing or one list of pairs"),
        (("collections", "OrderedDict"), (["ab"],), "OrderedDict: expected nothing or one list of pairs"),
        (("collections", "OrderedDict"), ([], []), "OrderedDict: expected nothing or one list of pairs"),
        (("torch._utils", "_rebuild_qtensor"), (), "quantised tensors are not read"),
        (("torch.serialization", "_get_layout"), ("torch.sparse_coo",), "sparse tensors are not read"),
        (("torch", "FloatStorage"), (), "expected a name that can be called, got <torch.FloatStorage>"),
        (("torch", "float32"), (), "expected a name that can be called, got <torch.float32>"),
    ],
)  # fmt: skip
def test_p05_wrong_arguments(tmp_path, function, arguments, match):
    arguments = tuple(storage("0", 6) if argument == "S" else argument for argument in arguments)
    path = tmp_path / "model.bin"
    path.write_bytes(torch_zip({"w": call(*function, *arguments)}, STORAGE))
    with pytest.raises(LoadError, match=rf"data.pkl: byte \d+: REDUCE: .*{match}"):
        open_weights(path)


@pytest.mark.parametrize("function", [None, 1, "os.system", (), [], {}, Ordered(), call("argparse", "Namespace"), W])
@pytest.mark.parametrize("opcode", [b"R", b"\x81"])
def test_p05_calling_what_is_no_name(tmp_path, function, opcode):
    path = tmp_path / "model.bin"
    path.write_bytes(torch_zip({"w": Raw(encode(function) + b")" + opcode)}, STORAGE))
    with pytest.raises(LoadError, match=r"(REDUCE|NEWOBJ): expected a name that can be called"):
        open_weights(path)


@pytest.mark.parametrize("arguments", [None, 1, [], {}, "ab", call("torch", "Size")])
def test_p05_arguments_that_are_no_tuple(arguments):
    refused(
        pickled(Call(Global("collections", "OrderedDict"), arguments)), "OrderedDict: expected a tuple of arguments"
    )


@pytest.mark.parametrize("key", ["__class__", "__setstate__", "__dict__", "_metadata "])
def test_p06_attributes_of_an_ordered_dict(key):
    ordered = Call(Global("collections", "OrderedDict"), (), {key: 1})
    refused(pickled(ordered), f"BUILD: attributes for <dict of 0>: expected _metadata for an OrderedDict, got '{key}'")
    both = Call(Global("collections", "OrderedDict"), (), {"_metadata": {}, key: 1})
    refused(pickled(both), "BUILD: attributes for <dict of 0>")


@pytest.mark.parametrize("target", [None, 1, "x", (), [], {}, Global("torch", "float32"), Global("os", "x")])
def test_p06_attributes_of_anything_else(target):
    refused(encode(target) + encode({"_metadata": 1}) + b"b.", "BUILD: attributes for |GLOBAL: os.x is not")


@pytest.mark.parametrize("state", [None, 1, (), [("_metadata", 1)], ({"_metadata": 1}, None)])
def test_p06_attributes_that_are_no_dict(state):
    code = encode(Ordered()) + encode(state) + b"b."
    refused(code, "BUILD: attributes for <dict of 0>: expected _metadata for an OrderedDict, got")


def test_p06_metadata_is_ignored():
    ordered = Call(Global("collections", "OrderedDict"), (), {"_metadata": {"": {"version": 1}}})
    assert run(pickled(ordered)) == Dict()


@pytest.mark.parametrize("target", [None, 1, "x", (1,), [1], W, storage("0", 6), Global("torch", "float32"),
                                    call("argparse", "Namespace")])  # fmt: skip
@pytest.mark.parametrize("opcode", [b"K\1K\2s", b"(K\1K\2u"])
def test_p07_items_of_what_is_no_dict(tmp_path, target, opcode):
    path = tmp_path / "model.bin"
    path.write_bytes(torch_zip({"w": Raw(encode(target) + opcode)}, STORAGE))
    with pytest.raises(LoadError, match=r"SETITEMS?: expected a dict below, got"):
        open_weights(path)


@pytest.mark.parametrize("target", [None, "x", (1,), {1: 2}, Ordered(), W, storage("0", 6)])
@pytest.mark.parametrize("opcode", [b"K\1a", b"(K\1e"])
def test_p07_appending_to_what_is_no_list(tmp_path, target, opcode):
    path = tmp_path / "model.bin"
    path.write_bytes(torch_zip({"w": Raw(encode(target) + opcode)}, STORAGE))
    with pytest.raises(LoadError, match=r"APPENDS?: expected a list below, got"):
        open_weights(path)


def test_p07_keys_without_values():
    refused(b"}(K\1u.", "SETITEMS: expected keys and values in turn")


@pytest.mark.parametrize("get", [b"h\0", b"h\xff", b"j\0\0\0\x80"])
def test_p08_memo_slots_never_filled(get):
    refused(b"\x80\x02Nq\1" + get + b".", "BINGET: memo: nothing in slot")


@pytest.mark.parametrize("slot", [BUDGET, 2**31, 2**32 - 1])
def test_p08_memo_slots_far_away(slot):
    code = b"\x80\x02Nr" + struct.pack("<I", slot) + b"."
    tracemalloc.start()
    try:
        refused(code, f"LONG_BINPUT: memo: expected a slot below {BUDGET}, got {slot}")
        assert tracemalloc.get_traced_memory()[1] < 2**20
    finally:
        tracemalloc.stop()


NEEDS = {  # opcode: how many values it takes off the stack
    b"\x85": 1, b"\x86": 2, b"\x87": 3, b"a": 2, b"s": 3, b"\x93": 2, b"R": 2, b"\x81": 2, b"b": 2, b"Q": 1, b"q\0": 1,
    b"r\0\0\0\0": 1, b"\x94": 1, b".": 1,
}  # fmt: skip


@pytest.mark.parametrize("opcode", NEEDS)
@pytest.mark.parametrize("mark", [b"", b"N("])
def test_p09_too_little_on_the_stack(opcode, mark):
    """A mark hides what is below it."""
    fitting = {b"a": b"]", b"s": b"}NN", b"\x93": b"NX\1\0\0\0a"}.get(opcode, b"N)")[: NEEDS[opcode] - 1]
    refused(mark + fitting + opcode, "nothing on the stack|expected one value on the stack|no object is kept")


@pytest.mark.parametrize("opcode", [b"t", b"e", b"u"])
def test_p09_no_mark(opcode):
    refused(b"N" + opcode + b".", "no mark on the stack")
    refused(b"(" + opcode + opcode + b".", "no mark on the stack|nothing on the stack")


def test_p09_no_stop():
    refused(b"\x80\x02N", "byte 3: expected 1 byte, got 0: the pickle is cut off")
    refused(b"", "byte 0: expected 1 byte, got 0: the pickle is cut off")
    refused(b".", "STOP: expected one value on the stack, got 0 and 0 marks")
    refused(b"NN.", "STOP: expected one value on the stack, got 2 and 0 marks")
    refused(b"N(.", "STOP: expected one value on the stack, got 1 and 1 marks")


@pytest.mark.parametrize("cut", range(1, 40))
def test_p09_cut_off_in_any_place(cut):
    code = pickled({"a": (1, 1000, 100000, 2**40, 1.5, "text")})
    refused(code[:-cut], "the pickle is cut off")


def test_p09_bytes_after_stop(tmp_path):
    path = tmp_path / "model.bin"
    path.write_bytes(torch_zip(Raw(encode({"w": W}) + b"."), STORAGE))
    with pytest.raises(LoadError, match=r"data.pkl: 1 bytes follow the end of the pickle"):
        open_weights(path)


@pytest.mark.parametrize(
    "code",
    [b"\x8b" + struct.pack("<I", 2**31), b"X" + struct.pack("<I", 2**32 - 1), b"\x8d" + struct.pack("<Q", 2**63),
     b"\x8e" + struct.pack("<Q", 2**64 - 1), b"T" + struct.pack("<I", 2**31), b"B" + struct.pack("<I", 2**31),
     b"\x8a\xff", b"\x8c\xff"],
)  # fmt: skip
def test_p10_lengths_beyond_the_file(code):
    refused(b"\x80\x02" + code + b"abc.", "the pickle is cut off|opcode not allowed: LONG4")


@pytest.mark.parametrize("code", [b"X\2\0\0\0\xff\xfe", b"\x8c\3\xed\xa0\x80", b"X\1\0\0\0\x80"])
def test_p10_text_that_is_none(code):
    refused(code + b".", "expected UTF-8, got other bytes")


@pytest.mark.parametrize("unit", [b"\x85", b"(", b"N\x86"])
def test_p10_a_million_deep(unit):
    refused(b"\x80\x02)" + unit * 10**6 + b".", f"more than {BUDGET} instructions")


def test_p10_deep_within_the_budget_does_not_recurse():
    assert type(run(b"\x80\x02)" + b"\x85" * 200_000 + b".")) is tuple


def test_p11_billion_laughs(tmp_path):
    """Ten times ten times ... the same list: nothing here follows shared values twice."""
    laughs = b"]q\0" + b"".join(
        b"](" + b"h" + bytes([i]) * 1 + (b"h" + bytes([i])) * 9 + b"eq" + bytes([i + 1]) for i in range(60)
    )
    path = tmp_path / "model.bin"
    path.write_bytes(torch_zip({"w": W, "laughs": Raw(b"(" + laughs + b"t")}, STORAGE))
    started = time.process_time()
    file = open_weights(path)
    assert time.process_time() - started < 1
    assert file.notes == ["Entries that are no tensors, not read: 'laughs'."]
    path.write_bytes(torch_zip({"w": call("collections", "OrderedDict", Raw(b"(" + laughs + b"t"))}, STORAGE))
    with pytest.raises(LoadError, match="OrderedDict: expected nothing or one list of pairs, got"):
        open_weights(path)


def test_p11_cyclic_dicts(tmp_path):
    path = tmp_path / "model.bin"
    path.write_bytes(torch_zip(Raw(b"}q\0" + encode("state_dict") + b"h\0s")))
    with pytest.raises(LoadError, match="more than 3 checkpoints inside one another"):
        open_weights(path)


@pytest.mark.parametrize("filler", [b"N", b"h\0", b"G" + bytes(8), b"X\x10\0\0\0" + b"x" * 16, b"]q\0"])
def test_p11_budget(filler):
    code = b"\x80\x02]q\0(" + filler * (BUDGET + 1) + b"t."
    refused(code, f"more than {BUDGET} instructions, too many for a file of weights")


@pytest.mark.parametrize(
    "code",
    [
        encode([["a", 1]] * 1000) + b"\x85q\0" + (encode(Global("collections", "OrderedDict")) + b"h\0R") * 10_000,
        encode((0,) * 1000) + b"q\0" + (encode(Global("torch", "Size")) + b"h\0R") * 10_000,
    ],
    ids=["pairs", "arguments"],
)
def test_p11_long_arguments_from_the_memo(code):
    """A few bytes a call, that would take thousands of steps and values each."""
    refused(b"\x80\x02(" + code + b"t.", f"REDUCE: more than {BUDGET} instructions")


def test_p11_long_attributes_from_the_memo():
    code = encode(Ordered()) + b"q\0" + encode(dict.fromkeys(range(10000), 0)) + b"q\1" + b"h\1b" * 100
    refused(b"\x80\x02(" + code + b"t.", "BUILD: attributes for")


@pytest.mark.parametrize("unit", [b"}", b"(", b"M\xff\xff", b"]\x85", b"X\x0f\0\0\0\xf0\x9f\x98\x80abcdefghijk"])
def test_p11_memory_at_the_budget(unit):
    """The dearest instructions, as many as there may be. How much a few of them take tells for all."""
    code = b"\x80\x02" + unit * 10_000
    tracemalloc.start()
    try:
        refused(code, "the pickle is cut off")
        taken = tracemalloc.get_traced_memory()[1] - 3 * len(code)
    finally:
        tracemalloc.stop()
    assert taken * BUDGET / 10_000 < 2**26


def test_p11_memory_of_the_memo():
    code = b"\x80\x02N" + b"".join(b"r" + struct.pack("<I", 1000 + slot) for slot in range(10_000))
    tracemalloc.start()
    try:
        refused(code, "the pickle is cut off")
        assert (tracemalloc.get_traced_memory()[1] - 3 * len(code)) * BUDGET / 10_000 < 2**26
    finally:
        tracemalloc.stop()


S, F32 = "storage", Global("torch", "FloatStorage")


def test_p12_no_storages_in_plain_pickles():
    refused(pickled(storage("0", 6)), "BINPERSID: no object is kept outside this pickle")


@pytest.mark.parametrize(
    ("identifier", "match"),
    [
        (1, "persistent id: expected a tuple of 5 that begins with 'storage', got 1"),
        ("storage", "persistent id: expected a tuple of 5"),
        ((), "persistent id: expected a tuple of 5"),
        ((S, F32, "0", "cpu"), "persistent id: expected a tuple of 5"),
        ((S, F32, "0", "cpu", 6, None), "persistent id: expected a tuple of 5"),
        (("module", Global("torch", "FloatStorage"), "0", "cpu", 6), "begins with 'storage', got \\('module'"),
        (("storage", "FloatStorage", "0", "cpu", 6), "expected a class of storages, got 'FloatStorage'"),
        ((S, Global("torch", "float32"), "0", "cpu", 6), "expected a class of storages, got <torch.float32>"),
        ((S, Global("torch", "QInt8Storage"), "0", "cpu", 6), "QInt8Storage: quantised and complex128 numbers"),
        ((S, Global("torch", "ComplexDoubleStorage"), "0", "cpu", 6), "quantised and complex128 numbers"),
        ((S, F32, "../../x", "cpu", 6), "storage: key: expected digits, got '../../x'"),
        ((S, F32, "", "cpu", 6), "storage: key: expected digits, got ''"),
        ((S, F32, "²", "cpu", 6), "storage: key: expected digits, got '²'"),
        ((S, F32, 0, "cpu", 6), "storage: key: expected digits, got 0"),
        ((S, F32, "7", "cpu", 6), "storage 7: the archive has no archive/data/7"),
        ((S, F32, "0", None, 6), "storage 0: expected device and number of elements"),
        ((S, F32, "0", "cpu", -1), "storage 0: expected device and number of elements"),
        ((S, F32, "0", "cpu", 2**62), "storage 0: expected device and number of elements"),
        ((S, F32, "0", "cpu", True), "storage 0: expected device and number of elements"),
        ((S, F32, "0", "cpu", 6.0), "storage 0: expected device and number of elements"),
    ],
)  # fmt: skip
def test_p12_wrong_persistent_id(tmp_path, identifier, match):
    path = tmp_path / "model.bin"
    path.write_bytes(torch_zip({"w": W, "x": Raw(encode(identifier) + b"Q")}, STORAGE))
    with pytest.raises(LoadError, match=rf"data.pkl: byte \d+: BINPERSID: .*{match}"):
        open_weights(path)


def test_p12_unknown_storage_class(tmp_path):
    path = tmp_path / "model.bin"
    path.write_bytes(torch_zip({"w": storage("0", 6, "FancyStorage")}, STORAGE))
    with pytest.raises(LoadError, match=r"GLOBAL: torch.FancyStorage is not among the names"):
        open_weights(path)


def test_p27_what_is_refused_is_not_tried_again(tmp_path, monkeypatch):
    def forbidden(*_: object, **__: object) -> object:
        raise AssertionError("a pickle was run")

    for name in ("load", "loads", "Unpickler", "_Unpickler", "_load", "_loads"):
        monkeypatch.setattr(pickle, name, forbidden)
    path = tmp_path / "model.bin"
    for content in (torch_zip({"x": call("os", "system", "x")}), torch_legacy({"x": call("os", "system", "x")})):
        path.write_bytes(content)
        with pytest.raises(LoadError, match=r"os.system is not among the names"):
            open_weights(path)
    path.write_bytes(torch_zip({"w": W}, STORAGE))
    assert open_weights(path).read("w").shape == (2, 3)


def test_p27_no_way_to_loosen():
    """Openers take the path alone, and the table of names cannot be given from outside."""
    for opener in (open_weights, open_zip, open_legacy):
        assert list(inspect.signature(opener).parameters) == ["path"]
    assert list(inspect.signature(zipped.open_zipped).parameters) == ["archive"]


def test_refused_carries_its_hint():
    def fail(_: object) -> object:
        raise Refused("no", "do this")

    with pytest.raises(LoadError, match="FILE: byte 1: BINPERSID: no") as caught:
        unpickle(memoryview(b"NQ."), 0, "FILE", {}, fail)
    assert caught.value.hint == "do this"
