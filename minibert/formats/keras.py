"""Keras weights in HDF5 (`tf_model.h5`, and `model.save("....h5")`): arrays in a tree of named groups.

    /                                 attributes layer_names, backend, keras_version
    /bert                             attribute weight_names, paths from here
    /bert/tf_bert.../kernel:0         a dataset: dtype, shape, and numbers in one contiguous run of bytes

The name of an array here is its path. The order in `layer_names` and `weight_names` means nothing (files with wrong
order have been published), but what they list must be there, and what they leave out is read, too.

HDF5 is a file system in a file, with B-trees, heaps and many versions of each, and libhdf5, under `h5py`, trusts them:
of 20 000 small files with a few changed bytes 145 kept version 2.0 in an endless loop, 3 crashed it, and some made it
allocate 2 GB. A file can also name others: by links, virtual datasets, external storage. So the library runs in a
short-lived process of its own (see `hdf5`), with limits of time and memory, and only says where each dataset lies;
whatever is not one plain run of numbers is refused. That answer is compared here with the mapped file, and the numbers
never pass through the library. This is protection from damage, not a sandbox: the other process may do what this may.
"""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, BinaryIO

from ..errors import LoadError
from .files import open_regular, quote
from .jsonfile import parse_json_object
from .mapped import MappedFile
from .weights import Array, TensorInfo, Weights, checked_nbytes, decode

__all__ = ["KerasFile", "open_h5"]

SECONDS = 20.0  # for the other process; starting it takes 0.2, and where limits work it ends itself soon after
MAGIC = b"\x89HDF\r\n\x1a\n"

_PROGRAM = Path(__file__).with_name("hdf5.py")
_DAMAGED = "the file is cut off, damaged or made to deceive: download or copy it again"
_NOT_AS_KERAS = "load the model with Keras and save its weights again, or fetch its safetensors or PyTorch weights"


def open_h5(path: str | os.PathLike[str]) -> KerasFile:
    """Opens the HDF5 file `path`, reading everything but the numbers.

    Raises NotFound if nothing is there, and LoadError naming the file and the dataset if it is malformed, refers to
    other files, holds other things than plain arrays of numbers, or if h5py is not installed.
    """
    return KerasFile(Path(path))


class KerasFile(Weights):
    """An open HDF5 file. Its arrays are windows on the mapped file, copied only where not aligned or big-endian."""

    format = "Keras HDF5"

    def __init__(self, path: Path) -> None:
        with open_regular(path) as file:
            self._file = MappedFile(path)
            if not _is_at(path, file):
                raise LoadError(f"{path}: was replaced while it was opened", "open it again once it is complete")
            if bytes(self._file.window(0, min(len(MAGIC), self._file.size))) != MAGIC:
                raise LoadError(f"{path}: expected HDF5, which begins with {MAGIC!r}")
            answer = parse_json_object(list_datasets(path, file), f"{path}: listing of its datasets")
        for kind, hint in (("error", _DAMAGED), ("refused", _NOT_AS_KERAS)):
            if kind in answer:
                raise LoadError(f"{path}: {answer[kind]}", hint)
        self.paths, self.metadata, self.ties, self.notes = (path,), answer["metadata"], {}, []
        self.tensors, self._places = {}, {}
        end = 0
        for line in sorted(answer["datasets"], key=lambda line: line[4] or 0):
            name, where = line[0], f"{path}: dataset {quote(line[0])}"
            info, offset, big_endian = _place(line, where, self._file.size)
            if info.nbytes and offset < end:
                raise LoadError(f"{where}: its bytes from {offset} on overlap those of another", _DAMAGED)
            end = max(end, offset + info.nbytes)
            self.tensors[name], self._places[name] = info, (offset, big_endian)

    def read(self, name: str) -> Array:
        """The tensor `name`; see `Weights.read`."""
        info = self._info(name)
        offset, big_endian = self._places[name]
        where = f"{self.paths[0]}: dataset {quote(name)}"
        return decode(self._file.window(offset, info.nbytes), info.dtype, info.shape, where, big_endian)


def list_datasets(path: Path, file: BinaryIO) -> bytes:
    """What the program `hdf5` answers for `file`, open at `path`: JSON. LoadError if it cannot run, dies or stalls."""
    if importlib.util.find_spec("h5py") is None:
        raise LoadError(
            f"{path}: reading HDF5 files needs the h5py library", "install it: pip install 'minibert-numpy[convert]'"
        )
    # HDF5's own variables could name plug-ins and drivers to load; "::" forbids plug-ins.
    environment = {key: value for key, value in os.environ.items() if not key.startswith("HDF5_")}
    environment |= {"HDF5_PLUGIN_PRELOAD": "::", "OPENBLAS_NUM_THREADS": "1"}
    command = [sys.executable or "", "-I", str(_PROGRAM), *sys.path]
    try:
        done = subprocess.run(command, stdin=file, capture_output=True, env=environment, timeout=SECONDS, check=False)
    except subprocess.TimeoutExpired:
        raise LoadError(f"{path}: listing its datasets did not end within {SECONDS:g} s", _DAMAGED) from None
    except OSError as error:
        raise LoadError(f"{path}: {sys.executable or 'Python'} cannot be run to list the datasets: {error}") from error
    if done.returncode:
        raise LoadError(f"{path}: listing its datasets crashed or did not end (status {done.returncode})", _DAMAGED)
    return done.stdout


def _is_at(path: Path, file: BinaryIO) -> bool:
    """Whether the open `file` is still what `path` leads to."""
    try:
        return os.path.samestat(os.fstat(file.fileno()), os.stat(path))
    except OSError:
        return False


def _place(line: list[Any], where: str, file_size: int) -> tuple[TensorInfo, int, bool]:
    """One line of the listing, compared with itself and with the size of the file: what, where, and byte order."""
    _, dtype, big_endian, shape, offset, nbytes = line
    expected = checked_nbytes(dtype, shape, where)
    if not expected:
        return TensorInfo(dtype, tuple(shape), 0), 0, big_endian
    if offset is None:
        raise LoadError(f"{where}: its numbers were never written")
    if nbytes != expected:
        raise LoadError(f"{where}: {dtype} of shape {quote(shape)} takes {expected} bytes, got {nbytes}", _DAMAGED)
    if not 0 <= offset <= file_size - nbytes:
        raise LoadError(f"{where}: {nbytes} bytes at {offset}, but the file has {file_size}", _DAMAGED)
    return TensorInfo(dtype, tuple(shape), nbytes), offset, big_endian
