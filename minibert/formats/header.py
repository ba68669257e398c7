"""The header of a safetensors file: which tensors there are and where their bytes lie.

    u64 length N, little-endian | N bytes of JSON | the buffer
    JSON = {name: {"dtype": "F32", "shape": [...], "data_offsets": [begin, end]}, ..., "__metadata__": {text: text}}

Offsets count from the start of the buffer. Tensors are little-endian, in C order, and tile the buffer exactly: a hole,
an overlap or bytes left over could hide another file. All sizes are Python integers, compared with the bytes that the
file has before anything is allocated. Format: https://huggingface.co/docs/safetensors; this reader also refuses what
the reference reader lets pass and the format forbids (duplicate keys) or leaves open (fields it does not know).
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from ..errors import LoadError
from .files import quote
from .jsonfile import parse_json_object
from .weights import DTYPES, SIZE_LIMIT, TensorInfo, checked_nbytes

__all__ = ["HEADER_LIMIT", "format_header", "parse_header"]

HEADER_LIMIT = 100_000_000  # bytes, the format's own limit
VALUE_LIMIT = 2**20  # JSON values, about 100 000 tensors: Python objects take far more memory than their text


def parse_header(
    header: bytes, data_start: int, file_size: int, where: str
) -> tuple[dict[str, tuple[TensorInfo, int]], dict[str, str]]:
    """Reads the JSON `header` of a file of `file_size` bytes whose buffer begins at `data_start`.

    Returns the tensors and where in the file they begin, in the order of their bytes, and the metadata. Raises
    LoadError that begins with `where`.
    """
    values = sum(map(header.count, (b"{", b"[", b",")))
    if values > VALUE_LIMIT:
        raise LoadError(f"{where}: header: expected at most {VALUE_LIMIT} values, got about {values}")
    fields = parse_json_object(header, f"{where}: header")
    if not header.startswith(b"{"):
        warnings.warn(f"{where}: the header begins with white space, not with '{{' as the format asks", stacklevel=3)
    metadata = _metadata(fields.pop("__metadata__", {}), where)
    tensors = [
        (name, _tensor_info(entry, data_start, f"{where}: tensor {quote(name)}")) for name, entry in fields.items()
    ]
    tensors.sort(key=lambda item: (item[1][1], item[1][0].nbytes))  # a tensor of no bytes goes before its neighbour
    _check_tiling(tensors, data_start, file_size, where)
    return dict(tensors), metadata


def format_header(arrays: Iterable[tuple[str, str, np.ndarray[Any, Any]]], metadata: Mapping[str, str]) -> bytes:
    """The length and JSON for `arrays`, (name, dtype, array) in the order of their bytes; padded to 8 bytes."""
    fields: dict[str, Any] = {"__metadata__": dict(metadata)} if metadata else {}
    end = 0
    for name, dtype, array in arrays:
        begin, end = end, end + array.nbytes
        fields[name] = {"dtype": dtype, "shape": array.shape, "data_offsets": [begin, end]}
    text = json.dumps(fields, ensure_ascii=False, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text


def _metadata(value: object, where: str) -> dict[str, str]:
    if not isinstance(value, dict):
        raise LoadError(f"{where}: __metadata__: expected an object of texts, got {quote(value)}")
    for key, text in value.items():
        if not isinstance(text, str):
            raise LoadError(f"{where}: __metadata__: {quote(key)}: expected a text, got {quote(text)}")
    return value


def _tensor_info(entry: object, data_start: int, where: str) -> tuple[TensorInfo, int]:
    if not isinstance(entry, dict) or entry.keys() != {"dtype", "shape", "data_offsets"}:
        raise LoadError(f"{where}: expected an object of dtype, shape and data_offsets, got {quote(entry)}")
    dtype, shape, offsets = entry["dtype"], entry["shape"], entry["data_offsets"]
    if not isinstance(dtype, str) or dtype not in DTYPES:
        raise LoadError(
            f"{where}: dtype: expected one of {', '.join(DTYPES)}, got {quote(dtype)}",
            "float8, smaller and other packed types are not read: save the model as F32, F16 or BF16",
        )
    nbytes = checked_nbytes(dtype, shape, where)
    if not _is_sizes(offsets) or len(offsets) != 2 or offsets[0] > offsets[1]:
        raise LoadError(f"{where}: data_offsets: expected [begin, end] with 0 <= begin <= end, got {quote(offsets)}")
    begin, end = offsets
    if end - begin != nbytes:
        raise LoadError(
            f"{where}: data_offsets: {dtype} of shape {quote(shape)} takes {nbytes} bytes, got {end - begin}"
        )
    return TensorInfo(dtype, tuple(shape), nbytes), data_start + begin


def _is_sizes(value: object) -> bool:
    """Whether `value` is a list of integers in [0, 2^63); True and 2.0 are no integers here."""
    return isinstance(value, list) and all(type(size) is int and 0 <= size < SIZE_LIMIT for size in value)


def _check_tiling(
    tensors: list[tuple[str, tuple[TensorInfo, int]]], data_start: int, file_size: int, where: str
) -> None:
    position = data_start
    for name, (info, offset) in tensors:
        if offset != position:
            what = "overlaps the tensor before it" if offset < position else "leaves a hole before it"
            raise LoadError(
                f"{where}: tensor {quote(name)}: data_offsets: expected to begin at {position - data_start}, "
                f"got {offset - data_start}, which {what}"
            )
        position += info.nbytes
    if position > file_size:
        raise LoadError(
            f"{where}: expected {position} bytes, got {file_size}: {position - file_size} bytes are missing",
            "the file is cut off: download or copy it again",
        )
    if position < file_size:
        raise LoadError(
            f"{where}: expected {position} bytes, got {file_size}: {file_size - position} bytes follow the last tensor",
            "something was appended to the file: do not trust it, download it again",
        )
