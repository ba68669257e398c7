"""A PyTorch file as named arrays: from the value of its pickle to checked windows on its storages.

What was saved is a state_dict, {name: tensor}, or a training checkpoint with one inside: {"state_dict": {...}, "epoch":
3, ...}. A tensor may be any view on its storage: transposed, a part, or the same numbers as another one (tied weights).
NumPy would follow strides out of the storage into foreign memory, so that the last element which a tensor reaches is
computed in Python integers and compared with the storage before there is an array. Views that repeat elements, such as
those of stride 0, can ask for terabytes in a few bytes; together they may exceed their storages by EXPANSION_LIMIT.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np

from ...errors import LoadError
from ..files import quote
from ..weights import DTYPES, Array, TensorInfo, Weights, checked_nbytes, decode
from .symbols import Tensor
from .values import Dict, describe

__all__ = ["TorchFile"]

WRAPPERS = ("state_dict", "model_state_dict", "model", "module")  # where training programs keep the weights
WRAPPER_DEPTH = 4
EXPANSION_LIMIT = 2**24  # bytes


class TorchFile(Weights):
    """An open PyTorch file. Its arrays are windows on the mapped file where order, alignment and dtype allow.

    value: what its pickle holds. storage: the bytes of the storage of that key.
    """

    def __init__(
        self,
        path: Path,
        file_format: str,
        value: object,
        storage: Callable[[str], memoryview],
        big_endian: bool = False,
    ) -> None:
        self.format, self.paths = file_format, (path,)
        self.metadata = {}
        self._storage, self._big_endian = storage, big_endian
        records, self.notes = _state_dict(value, str(path))
        self.tensors, self.ties = {}, {}
        self._records: dict[str, Tensor] = {}
        first: dict[object, str] = {}
        expansion = 0
        for name, record in records.items():
            where = f"{path}: tensor {quote(name)}"
            info, tensor = _checked(record, where)
            self.tensors[name], self._records[name] = info, tensor
            expansion += max(0, info.nbytes - tensor.storage.nbytes)
            if expansion > EXPANSION_LIMIT:
                raise LoadError(
                    f"{where}: size: {quote(info.shape)} of {info.dtype} repeats the {tensor.storage.nbytes} bytes of "
                    f"its storage; such tensors take over {EXPANSION_LIMIT} bytes more than there are"
                )
            begin = tensor.storage.begin + tensor.offset * DTYPES[tensor.dtype].itemsize
            place = tensor.storage.key, begin, tensor.dtype, tensor.size, tensor.stride
            if first.setdefault(place, name) != name:
                self.ties[name] = first[place]

    def read(self, name: str) -> Array:
        """The tensor `name`; see `Weights.read`."""
        info, tensor = self._info(name), self._records[name]
        raw, itemsize = self._storage(tensor.storage.key), DTYPES[tensor.dtype].itemsize
        begin = tensor.storage.begin + tensor.offset * itemsize
        if _is_contiguous(tensor):
            part = raw[begin : begin + info.nbytes]
        else:
            strides = [step * itemsize for step in tensor.stride]
            view: Array = np.ndarray(tensor.size, f"u{itemsize}", raw, begin, strides)  # only bytes are copied here
            part = np.ascontiguousarray(view).data
        return decode(part, info.dtype, info.shape, f"{self.paths[0]}: tensor {quote(name)}", self._big_endian)


def _state_dict(value: object, where: str) -> tuple[dict[str, Tensor], list[str]]:
    """The tensors of the state_dict that `value` is or has inside, and notes on what was left out."""
    notes = []
    for _ in range(WRAPPER_DEPTH):
        entries = _entries(value, where)
        wrapper = next((name for name in WRAPPERS if isinstance(entries.get(name), Dict)), None)
        if wrapper is None:
            break
        value = entries.pop(wrapper)
        beside = f"; beside it, not read: {_listed(entries)}" if entries else ""
        notes.append(f"The weights are those under {quote(wrapper)}{beside}.")
    else:
        raise LoadError(f"{where}: more than {WRAPPER_DEPTH - 1} checkpoints inside one another")
    tensors = {name: entry for name, entry in entries.items() if isinstance(entry, Tensor)}
    others = [name for name in entries if name not in tensors]
    if not tensors:
        raise LoadError(
            f"{where}: expected tensors by name, got {_listed(others) or 'an empty dict'}",
            f"weights are looked for at the top and under {', '.join(WRAPPERS)}",
        )
    if others:
        notes.append(f"Entries that are no tensors, not read: {_listed(others)}.")
    return tensors, notes


def _entries(value: object, where: str) -> dict[str, object]:
    """The dict `value`, whose keys must be different texts."""
    if not isinstance(value, Dict):
        raise LoadError(f"{where}: expected a dict of tensors, got {describe(value)}", "save model.state_dict()")
    entries: dict[str, object] = {}
    for name, entry in value:
        if not isinstance(name, str):
            raise LoadError(f"{where}: expected names of tensors, got the key {describe(name)}")
        if name in entries:
            raise LoadError(f"{where}: {quote(name)}: there twice")
        entries[name] = entry
    return entries


def _listed(names: list[str] | dict[str, object]) -> str:
    shown = ", ".join(map(quote, list(names)[:8]))
    return f"{shown} and {len(names) - 8} more" if len(names) > 8 else shown


def _checked(tensor: Tensor, where: str) -> tuple[TensorInfo, Tensor]:
    """What `tensor` is, and itself with strides of 0 where they mean nothing; LoadError if it leaves its storage."""
    storage, dtype, offset, size, stride = tensor
    nbytes = checked_nbytes(dtype, size, where)
    if len(stride) != len(size) or min(stride, default=0) < 0 or offset < 0:
        raise LoadError(
            f"{where}: expected an offset and {len(size)} strides of 0 or more, got {quote(offset)} and {quote(stride)}"
        )
    reach = offset + sum((n - 1) * step for n, step in zip(size, stride, strict=True)) + 1 if nbytes else offset
    numel = storage.nbytes // DTYPES[dtype].itemsize
    if reach > numel:
        raise LoadError(
            f"{where}: offset {quote(offset)}, size {quote(size)} and stride {quote(stride)} reach element "
            f"{quote(reach)} of a storage of {numel}"
        )
    stride = tuple(step if nbytes and n > 1 else 0 for n, step in zip(size, stride, strict=True))
    return TensorInfo(dtype, size, nbytes), tensor._replace(stride=stride)


def _is_contiguous(tensor: Tensor) -> bool:
    """Whether the elements lie one after another, in C order."""
    following = [math.prod(tensor.size[i + 1 :]) for i in range(len(tensor.size))]
    steps = zip(tensor.size, tensor.stride, following, strict=True)
    return 0 in tensor.size or all(n == 1 or step == expected for n, step, expected in steps)
