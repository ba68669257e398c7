"""CRC32C of many bytes, compiled: sixteen bytes a step.

A remainder is linear: that of sixteen bytes is the exclusive or of what each leaves on its own, and a byte followed by
k zero bytes leaves TABLES[k][byte]. The register so far goes in with the first four bytes. Sixteen look-ups then do
not wait for one another, as they would byte by byte.

A module of its own, so that Numba is imported with it, on first use, by one thread while others wait.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numba
import numpy as np
from numba import types
from numpy import uint8, uint32

from .crc32c import TABLE

__all__ = ["update"]

_tables = [np.array(TABLE, np.uint32)]
for _ in range(15):
    _tables.append(_tables[0][_tables[-1] & 255] ^ (_tables[-1] >> 8))
TABLES = np.stack(_tables)

# Given in advance, so that one version is compiled, here, and kept on disk.
_SIGNATURE = types.uint32(types.uint32, types.Array(types.uint8, 1, "C", readonly=True))


def _compiled(function: Callable[..., Any]) -> Any:
    try:
        return numba.njit(_SIGNATURE, nogil=True, cache=True)(function)
    except Exception:  # no folder to keep it in, a full disk, a damaged file: compile it for this process only
        return numba.njit(_SIGNATURE, nogil=True)(function)


@_compiled
def _update(crc, data):  # type: ignore[no-untyped-def]
    whole = data.size - data.size % 16
    for i in range(0, whole, 16):
        remainder = uint32(0)
        for j in range(16):
            byte = data[i + j]
            if j < 4:
                byte = byte ^ uint8(crc >> uint32(8 * j))
            remainder ^= TABLES[15 - j, byte]
        crc = remainder
    for i in range(whole, data.size):
        crc = TABLES[0, data[i] ^ uint8(crc)] ^ (crc >> uint32(8))
    return crc


def update(crc: int, data: memoryview) -> int:
    """The register after `data`, a memoryview of bytes, if it was `crc` before."""
    return int(_update(uint32(crc), np.asarray(data)))
