"""The names that may stand in a PyTorch file, and what each is taken for.

A tensor is pickled as a call of `torch._utils._rebuild_tensor_v2` (storage, offset, size, stride, ...): a view on a
storage, which is a flat run of numbers kept outside the pickle. Here such a call gives a record of its arguments; no
number is looked at before `tensors` has compared them with the bytes that are there. Sizes, strides and offsets count
elements.

Old and training checkpoints carry more beside their weights: the arguments of a command line, paths, NumPy scalars, the
state of random generators. Values of those types, which only hold data, are read as `Inert`. Whatever is not listed
here, whole models among it, is an error.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from ..weights import DTYPES, SIZE_LIMIT
from .values import Dict, Inert, OrderedDict, Refused, Symbol, describe

__all__ = ["SYMBOLS", "Storage", "Tensor", "parse_storage"]


class StorageType(NamedTuple):
    """The meaning of a storage class: its dtype, "" if tensors of it are not read."""

    dtype: str


class Dtype(NamedTuple):
    """The meaning of a torch dtype, "" if tensors of it are not read."""

    dtype: str


class Storage(NamedTuple):
    """A run of numbers: `nbytes` bytes from byte `begin` of the record `key` on."""

    key: str
    dtype: str
    begin: int
    nbytes: int

    def __repr__(self) -> str:
        return "<a storage>"


class Tensor(NamedTuple):
    """A view on a storage, as the file describes it: of the right types, but not checked."""

    storage: Storage
    dtype: str
    offset: int
    size: tuple[int, ...]
    stride: tuple[int, ...]

    def __repr__(self) -> str:
        return "<a tensor>"


def parse_storage(identifier: object, fields: int) -> tuple[Storage, object]:
    """The storage that a persistent id of `fields` fields stands for, and its last field.

    It is ("storage", class, key, device, number of elements), and in the legacy format one field more.
    """
    if type(identifier) is not tuple or len(identifier) != fields or identifier[0] != "storage":
        raise Refused(f"persistent id: expected a tuple of {fields} that begins with 'storage', got {_row(identifier)}")
    _, kind, key, device, numel = identifier[:5]
    if not isinstance(kind, Symbol) or not isinstance(kind.meaning, StorageType):
        raise Refused(f"persistent id: expected a class of storages, got {describe(kind)}")
    if not kind.meaning.dtype:
        raise Refused(f"{kind.name}: quantised and complex128 numbers are not read", "save the model in float32")
    if not isinstance(key, str) or not (key.isascii() and key.isdigit()):
        raise Refused(f"storage: key: expected digits, got {describe(key)}")
    if not isinstance(device, str) or type(numel) is not int or not 0 <= numel < SIZE_LIMIT // 8:
        raise Refused(f"storage {key}: expected device and number of elements, got {_row((device, numel))}")
    dtype = kind.meaning.dtype
    return Storage(key, dtype, 0, numel * DTYPES[dtype].itemsize), identifier[-1]


def _row(values: object) -> str:
    return f"({', '.join(map(describe, values[:8]))})" if type(values) is tuple else describe(values)


def _ordered_dict(arguments: tuple[object, ...]) -> OrderedDict:
    """OrderedDict(), or as Python 2 wrote it, OrderedDict([[key, value], ...])."""
    pairs = arguments[0] if len(arguments) == 1 else [] if not arguments else None
    if not isinstance(pairs, list) or not all(type(pair) in (list, tuple) and len(pair) == 2 for pair in pairs):
        raise Refused(f"OrderedDict: expected nothing or one list of pairs, got {_row(arguments)}")
    return OrderedDict((key, value) for key, value in pairs)


def _rebuild(arguments: tuple[object, ...], dtype: str) -> Tensor:
    storage, offset, size, stride = arguments[:4]
    if (
        not isinstance(storage, Storage)
        or type(offset) is not int
        or not all(type(value) is tuple and all(type(item) is int for item in value) for value in (size, stride))
    ):
        raise Refused(f"tensor: expected storage, offset, size and stride, got {_row(arguments[:4])}")
    return Tensor(storage, dtype or storage.dtype, offset, size, stride)  # type: ignore[arg-type]


def _rebuild_tensor(arguments: tuple[object, ...]) -> Tensor:
    """(storage, offset, size, stride)"""
    _expect(arguments, 4, 4)
    return _rebuild(arguments, "")


def _rebuild_tensor_v2(arguments: tuple[object, ...]) -> Tensor:
    """(storage, offset, size, stride, requires_grad, hooks[, metadata])"""
    _expect(arguments, 6, 7)
    _check_extras(arguments[4], arguments[6:])
    return _rebuild(arguments, "")


def _rebuild_tensor_v3(arguments: tuple[object, ...]) -> Tensor:
    """(storage, offset, size, stride, requires_grad, hooks, dtype[, metadata]): for dtypes without a storage class."""
    _expect(arguments, 7, 8)
    _check_extras(arguments[4], arguments[7:])
    dtype = arguments[6]
    if not isinstance(dtype, Symbol) or not isinstance(dtype.meaning, Dtype):
        raise Refused(f"tensor: dtype: expected one of torch, got {describe(dtype)}")
    if not dtype.meaning.dtype:
        raise Refused(f"tensor: {dtype.name} is not read", "save the model in float32, float16 or bfloat16")
    return _rebuild(arguments, dtype.meaning.dtype)


def _rebuild_parameter(arguments: tuple[object, ...]) -> Tensor:
    """(tensor, requires_grad, hooks[, state]): a parameter is its tensor."""
    _expect(arguments, 3, 4)
    if not isinstance(arguments[0], Tensor) or type(arguments[1]) is not bool:
        raise Refused(f"parameter: expected a tensor and whether it has a gradient, got {_row(arguments[:2])}")
    return arguments[0]


def _expect(arguments: tuple[object, ...], least: int, most: int) -> None:
    if not least <= len(arguments) <= most:
        raise Refused(f"expected {least} to {most} arguments, got {len(arguments)}")


def _check_extras(requires_grad: object, metadata: tuple[object, ...]) -> None:
    """Metadata, if there is any, says that the numbers are to be conjugated or negated before use."""
    if type(requires_grad) is not bool or not all(
        value is None or (isinstance(value, Dict) and not value) for value in metadata
    ):
        raise Refused(f"tensor: expected no conjugate or negative bit, got {_row((requires_grad, *metadata))}")


def _refusal(message: str, hint: str) -> Callable[[tuple[object, ...]], object]:
    def refuse(_: tuple[object, ...]) -> object:
        raise Refused(message, hint)

    return refuse


_STORAGES = {
    "DoubleStorage": "F64",
    "FloatStorage": "F32",
    "HalfStorage": "F16",
    "BFloat16Storage": "BF16",
    "LongStorage": "I64",
    "IntStorage": "I32",
    "ShortStorage": "I16",
    "CharStorage": "I8",
    "ByteStorage": "U8",
    "BoolStorage": "BOOL",
    "ComplexFloatStorage": "C64",
    "ComplexDoubleStorage": "",
    **dict.fromkeys(("QInt8Storage", "QUInt8Storage", "QInt32Storage", "QUInt4x2Storage", "QUInt2x4Storage"), ""),
}
_DTYPES = {
    "float64": "F64",
    "float32": "F32",
    "float16": "F16",
    "bfloat16": "BF16",
    "int64": "I64",
    "int32": "I32",
    "int16": "I16",
    "int8": "I8",
    "uint64": "U64",
    "uint32": "U32",
    "uint16": "U16",
    "uint8": "U8",
    "bool": "BOOL",
    "complex64": "C64",
    **dict.fromkeys(("complex32", "complex128", "qint8", "quint8", "qint32", "quint4x2", "quint2x4"), ""),
    **dict.fromkeys(("float8_e4m3fn", "float8_e4m3fnuz", "float8_e5m2", "float8_e5m2fnuz", "float8_e8m0fnu"), ""),
}
_CALLS: dict[tuple[str, str], Callable[[tuple[object, ...]], object]] = {
    ("collections", "OrderedDict"): _ordered_dict,
    ("collections", "defaultdict"): lambda _: Dict(),
    ("torch._utils", "_rebuild_tensor"): _rebuild_tensor,
    ("torch._utils", "_rebuild_tensor_v2"): _rebuild_tensor_v2,
    ("torch._utils", "_rebuild_tensor_v3"): _rebuild_tensor_v3,
    ("torch._utils", "_rebuild_parameter"): _rebuild_parameter,
    ("torch._utils", "_rebuild_parameter_with_state"): _rebuild_parameter,
    ("torch._utils", "_rebuild_qtensor"): _refusal("quantised tensors are not read", "save the model in float32"),
    ("torch._utils", "_rebuild_sparse_tensor"): _refusal("sparse tensors are not read", "save them as x.to_dense()"),
    ("torch.serialization", "_get_layout"): _refusal("sparse tensors are not read", "save them as x.to_dense()"),
}
# Classes whose values only hold data. They, too, are never imported: a value of one becomes Inert.
_DATA = {
    "argparse": ("Namespace",),
    "collections": ("Counter",),
    "builtins": ("set", "frozenset", "complex", "bytes", "bytearray", "list", "dict", "int", "float", "str"),
    "numpy": ("dtype", "ndarray"),
    "numpy.core.multiarray": ("scalar", "_reconstruct"),
    "_codecs": ("encode",),
    "datetime": ("datetime", "date", "timedelta", "timezone"),
    "pathlib": ("Path", "PosixPath", "WindowsPath", "PurePosixPath", "PureWindowsPath"),
    "torch": ("Size", "device"),
}
_ALIASES = {  # of Python 2, NumPy 2 and Python 3.13
    "builtins": "__builtin__",
    "numpy.core.multiarray": "numpy._core.multiarray",
    "pathlib": "pathlib._local",
}


def _table() -> dict[tuple[str, str], Symbol]:
    table = {place: Symbol(".".join(place), call) for place, call in _CALLS.items()}
    for name, dtype in _STORAGES.items():
        table["torch", name] = Symbol(f"torch.{name}", meaning=StorageType(dtype))
    table["torch.storage", "UntypedStorage"] = Symbol("torch.storage.UntypedStorage", meaning=StorageType("U8"))
    for name, dtype in _DTYPES.items():
        table["torch", name] = Symbol(f"torch.{name}", meaning=Dtype(dtype))
    for module, names in _DATA.items():
        for name in names:
            symbol = Symbol(f"{module}.{name}", _inert(f"{module}.{name}"))
            table[module, name] = symbol
            if module in _ALIASES:
                table[_ALIASES[module], name] = symbol
    return table


def _inert(what: str) -> Callable[[tuple[object, ...]], object]:
    value = Inert(what)
    return lambda _: value


SYMBOLS = _table()
