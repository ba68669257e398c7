"""Writing a TensorFlow checkpoint, byte for byte as tf.train.Saver of TensorFlow 1 writes the same arrays."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np

from ...errors import InputError
from ..atomic import write_atomic
from ..files import quote
from ..weights import Array, little_endian
from .checksum import crc32c
from .entries import Entry, format_entry, format_header
from .table import format_table

__all__ = ["save_bundle"]


def save_bundle(prefix: str | os.PathLike[str], arrays: Mapping[str, Array]) -> None:
    """Writes `arrays` as PREFIX.index and PREFIX.data-00000-of-00001, and the file `checkpoint` that names PREFIX.

    Each is written atomically (see `write_atomic`), data first: if it ends in between, the old index meets new data,
    which its checksums tell. Byte order and strides of the arrays do not matter. Raises InputError for a name or dtype
    that the format cannot hold, OSError if the disk refuses.
    """
    prefix = Path(prefix)
    tensors = sorted(((_key(name), *little_endian(name, array)) for name, array in arrays.items()), key=lambda t: t[0])
    table = [(b"", format_header())]

    def data() -> Iterator[memoryview]:
        offset = 0
        for key, letters, array in tensors:
            raw = array.astype(array.dtype, order="C", copy=False).reshape(-1).view(np.uint8).data
            entry = Entry(letters, array.shape, 0, offset, len(raw), crc32c(raw))
            table.append((key, format_entry(entry)))
            offset += len(raw)
            yield raw

    write_atomic(prefix.with_name(f"{prefix.name}.data-00000-of-00001"), data())
    write_atomic(prefix.with_name(f"{prefix.name}.index"), format_table(table))
    name = _escape(os.fsencode(prefix.name))
    note = f'model_checkpoint_path: "{name}"\nall_model_checkpoint_paths: "{name}"\n'
    write_atomic(prefix.with_name("checkpoint"), note.encode())


def _key(name: str) -> bytes:
    try:
        key = name.encode()
    except (AttributeError, UnicodeEncodeError):
        raise InputError(f"tensor {quote(name)}: name: expected Unicode text") from None
    if key[:1] in (b"", b"\0"):
        raise InputError(f"tensor {quote(name)}: name: expected one that is not empty and does not begin with NUL")
    return key


def _escape(text: bytes) -> str:
    """`text` as protobuf's text format has it between quotes."""
    return "".join(chr(byte) if 32 <= byte < 127 and byte not in b'"\\' else f"\\{byte:03o}" for byte in text)
