"""A file as one range of bytes, mapped: opening costs no memory, and pages come in as they are touched."""

from __future__ import annotations

import mmap
import os
import weakref
from pathlib import Path
from typing import NamedTuple

from ..errors import LoadError
from .files import open_regular

__all__ = ["MappedFile"]

GIVE_BACK = 64 * 2**20
"""After so many bytes the pages seen so far are given back, which the system keeps in its cache anyway: reading a file
window by window never holds the whole of it. What is looked at again comes back by itself."""


class MappedFile:
    """The regular file `path`, read-only: `path`, `size`, and `window(offset, nbytes)`.

    Replacing the file, as `write_atomic` does, is safe: this object and its windows keep the old one. Writing into it
    or cutting it in place is not: `window` refuses from then on, but a window taken before shows the new bytes, and
    touching pages that are gone ends the process (SIGBUS), which Python cannot prevent. Where other programs write
    into weight files, take copies.
    """

    def __init__(self, path: Path) -> None:
        """Raises NotFound if nothing is there, LoadError if it is no regular file or cannot be mapped."""
        self.path = path
        with open_regular(path) as file:
            self._descriptor = os.dup(file.fileno())
            weakref.finalize(self, os.close, self._descriptor)
            self._stamp = _stamp(self._descriptor)
            self.size = self._stamp.size
            try:
                self._map = mmap.mmap(file.fileno(), self.size, access=mmap.ACCESS_READ) if self.size else None
            except (OSError, ValueError) as error:  # ValueError: it has become shorter by now
                raise LoadError(f"{path}: cannot be mapped: {error}") from error
        self._bytes = memoryview(b"" if self._map is None else self._map)
        self._seen = 0

    def window(self, offset: int, nbytes: int) -> memoryview:
        """The bytes from `offset` on, no copy. LoadError if they are not all there, or the file was written into."""
        if _stamp(self._descriptor) != self._stamp:
            raise LoadError(f"{self.path}: changed in place since it was opened", "open it again once it is complete")
        if offset < 0 or nbytes < 0 or offset + nbytes > self.size:
            raise LoadError(
                f"{self.path}: bytes {offset} to {offset + nbytes} were asked for, the file has {self.size}",
                "the file is cut off or damaged: download or copy it again",
            )
        self._seen += nbytes
        if self._seen > GIVE_BACK and self._map is not None and hasattr(mmap, "MADV_DONTNEED"):
            self._seen = 0
            self._map.madvise(mmap.MADV_DONTNEED)
        return self._bytes[offset : offset + nbytes]


class _Stamp(NamedTuple):
    """What changes when an open file is written in place; renaming or replacing it changes nothing here."""

    device: int
    inode: int
    size: int
    mtime_ns: int


def _stamp(descriptor: int) -> _Stamp:
    status = os.fstat(descriptor)
    return _Stamp(status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns)
