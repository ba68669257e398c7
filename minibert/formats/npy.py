"""One array as NumPy stores it: the .npy format, which is also what the members of an .npz are.

    "\\x93NUMPY" | version, 2 bytes | header length, u16 (version 1) or u32 (2 and 3) | header | data
    header = {'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }   and spaces up to a multiple of 64, "\\n"

The header is the text of a Python dict, in Latin-1, or UTF-8 in version 3. `descr` is byte order (<, > or, for single
bytes, |), kind and item size; descriptions of fields or Python objects are possible, too, but never are weights. The
data are exactly the array, in C or Fortran order.

The header is taken apart by a regular expression instead of being evaluated, and its length is bounded before it is
read. Format: https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html.
"""

from __future__ import annotations

import re
from typing import NamedTuple

import numpy as np

from ..errors import LoadError
from .files import quote
from .weights import DTYPES, Array, TensorInfo, checked_nbytes, decode

__all__ = ["HEAD_LIMIT", "MAGIC", "NpyHeader", "format_header", "npy_array", "parse_header", "tensor_info"]

MAGIC = b"\x93NUMPY"
HEAD_LIMIT = 4096  # bytes up to the data; arrays of numbers need less than 1000
LETTERS = {dtype.str[1:]: letters for letters, dtype in DTYPES.items() if letters != "BF16"}

_FIELD = re.compile(
    r"""\s* '(?P<key>\w{1,20})' \s*:\s*
        (?: '(?P<text>[^']*)' | (?P<flag>True|False) | \((?P<shape>[\s\d,L-]*)\) | (?P<other>[(\[].*?[)\]]) ) \s*
        (?: , \s* (?=' | $) | $ )""",
    re.VERBOSE | re.DOTALL,
)
_SIZES = re.compile(r"\s*(?:-?\d{1,40}L?\s*(?:,\s*-?\d{1,40}L?\s*)*,?\s*)?")  # L: written by Python 2
_HINTS = {
    "O": "Python objects come pickled, and unpickling can run any program: save arrays of numbers",
    "U": "save texts apart from arrays",
    "S": "save texts apart from arrays",
    "V": "convert bfloat16 to float32 before saving, and fields to arrays of their own",
}


class NpyHeader(NamedTuple):
    """What stands before the data: `descr`, `shape` (integers, not checked yet), the order, and where data begin."""

    descr: str
    shape: tuple[int, ...]
    fortran: bool
    start: int


def parse_header(head: bytes, where: str) -> NpyHeader:
    """The header that `head`, the first HEAD_LIMIT bytes of the array or all of it, begins with, or LoadError."""
    if not head.startswith(MAGIC):
        raise LoadError(f"{where}: expected an array that begins with {MAGIC!r}, got {quote(head[:8])}")
    version = tuple(head[6:8])
    if version not in ((1, 0), (2, 0), (3, 0)):
        raise LoadError(f"{where}: version: expected 1.0, 2.0 or 3.0, got {'.'.join(map(str, version))}")
    begin = 10 if version == (1, 0) else 12
    start = begin + int.from_bytes(head[8:begin], "little")
    if start > HEAD_LIMIT:
        raise LoadError(f"{where}: header: expected at most {HEAD_LIMIT - begin} bytes, got {start - begin}")
    if start > len(head) or len(head) < begin:
        raise LoadError(f"{where}: header: expected {start} bytes, got {len(head)}", "the file is cut off")
    try:
        text = head[begin:start].decode("utf-8" if version == (3, 0) else "latin-1")
    except UnicodeDecodeError as error:
        raise LoadError(f"{where}: header: expected UTF-8, got a wrong byte at {error.start}") from None
    descr, fortran, shape = _fields(text.strip(), f"{where}: header")
    return NpyHeader(descr, shape, fortran, start)


def tensor_info(header: NpyHeader, where: str) -> TensorInfo:
    """The array of `header` in the room's letters. LoadError if there is no such dtype or can be no such shape."""
    letters = LETTERS.get(header.descr[1:])
    orders = "|<>" if letters and DTYPES[letters].itemsize == 1 else "<>"  # writers other than NumPy put < before all
    if letters is None or header.descr[:1] not in tuple(orders):
        expected = ", ".join(np.dtype(key).name for key in LETTERS)
        hint = next((hint for kind, hint in _HINTS.items() if header.descr.lstrip("<>|=[('").startswith(kind)), "")
        raise LoadError(f"{where}: descr: expected one of {expected}, got {quote(header.descr)}", hint)
    return TensorInfo(letters, header.shape, checked_nbytes(letters, header.shape, where))


def npy_array(raw: memoryview, header: NpyHeader, info: TensorInfo, where: str) -> Array:
    """The array that `raw`, header and data, stands for; as `Weights.read` promises."""
    shape = info.shape[::-1] if header.fortran else info.shape
    array = decode(raw[header.start :], info.dtype, shape, where, big_endian=header.descr[0] == ">")
    if header.fortran:
        array = np.require(array.T, requirements="C")
        array.flags.writeable = False
    return array


def format_header(descr: str, shape: tuple[int, ...]) -> bytes:
    """The bytes that stand before C-ordered data."""
    text = f"{{'descr': {descr!r}, 'fortran_order': False, 'shape': {shape!r}, }}".encode()
    text += b" " * (-(10 + len(text) + 1) % 64) + b"\n"
    return MAGIC + b"\x01\x00" + len(text).to_bytes(2, "little") + text


def _fields(text: str, where: str) -> tuple[str, bool, tuple[int, ...]]:
    """descr, fortran_order and shape, each there once and nothing else."""
    if text[:1] + text[-1:] != "{}":
        raise LoadError(f"{where}: expected a dict, got {quote(text)}")
    inside, at, fields = text[1:-1].rstrip(), 0, {}
    while at < len(inside):
        match = _FIELD.match(inside, at)
        if not match or match["key"] in fields:
            problem = f"{match['key']} twice" if match else quote(inside[at:])
            raise LoadError(f"{where}: expected descr, fortran_order and shape, got {problem}")
        fields[match["key"]], at = match, match.end()
    if fields.keys() != {"descr", "fortran_order", "shape"}:
        raise LoadError(f"{where}: expected descr, fortran_order and shape, got {quote(sorted(fields))}")
    descr, fortran, shape = (fields[key] for key in ("descr", "fortran_order", "shape"))
    if descr["text"] is None:
        raise LoadError(f"{where}: descr: expected one dtype such as '<f4', got {quote(_value(descr))}")
    if fortran["flag"] is None:
        raise LoadError(f"{where}: fortran_order: expected True or False, got {quote(_value(fortran))}")
    if shape["shape"] is None or not _SIZES.fullmatch(shape["shape"]):
        raise LoadError(f"{where}: shape: expected a tuple of integers, got {quote(_value(shape))}")
    sizes = tuple(int(size) for size in re.findall(r"-?\d+", shape["shape"]))
    return descr["text"], fortran["flag"] == "True", sizes


def _value(field: re.Match[str]) -> str:
    """The text of a field's value, for messages."""
    return field[0].split(":", 1)[1].strip(" ,\n")
