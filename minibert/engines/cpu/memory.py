"""Memory for activations that is used again.

A fresh array of some megabytes costs page faults and the zeroing of its pages, often more time than filling it. Here a
buffer goes back to the arena when the last array that looks at it is gone, and serves the next request of its size. So
reuse is safe whatever becomes of an array: a result that somebody keeps is a buffer that is not given out.

What the arena holds, in use and waiting, is never more than was once in use at the same time.
"""

from __future__ import annotations

import math
import os
import threading
from collections import OrderedDict, deque
from typing import Any

import numpy as np

from ...ops.xp import Array

_SMALL = 1 << 15
"""Bytes below which NumPy's own allocator is as fast."""

_ALIGNMENT = 64
"""Bytes: a cache line, and the widest vector."""


class Arena:
    """Hands out uninitialised arrays. Any thread may ask."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._returned: deque[Array] = deque()  # appended to from __del__, which may run anywhere: no lock there
        self._free: OrderedDict[int, list[Array]] = OrderedDict()  # by size, the longest unused size first
        self._in_use = self._held = self._peak = 0

    def empty(self, shape: tuple[int, ...], dtype: Any = np.float32) -> Array:
        """As np.empty; C-contiguous."""
        dtype = np.dtype(dtype)
        size = math.prod(shape) * dtype.itemsize
        if size < _SMALL:
            return np.empty(shape, dtype)
        return np.asarray(_Lease(self, self._take(_rounded(size)), shape, dtype))

    def _take(self, size: int) -> Array:
        with self._lock:
            self._collect()
            before = self._peak
            self._in_use += size
            self._peak = max(self._peak, self._in_use)
            waiting = self._free.get(size)
            if waiting:
                return waiting.pop()
            while self._held + size > self._peak and self._free:
                longest_unused, buffers = next(iter(self._free.items()))
                if buffers:
                    buffers.pop()
                    self._held -= longest_unused
                else:
                    del self._free[longest_unused]
            try:
                buffer = np.empty(size + _ALIGNMENT, np.uint8)
            except MemoryError:
                self._in_use -= size
                self._peak = before
                self._free.clear()  # for whoever asks next, for less
                self._held = self._in_use
                raise
            self._held += size
            return buffer

    def _collect(self) -> None:
        while self._returned:
            buffer = self._returned.popleft()
            size = buffer.size - _ALIGNMENT
            self._in_use -= size
            self._free.setdefault(size, []).append(buffer)
            self._free.move_to_end(size)


class _Lease:
    """Owns a buffer for as long as an array looks at it."""

    def __init__(self, arena: Arena, buffer: Array, shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
        self._arena = arena
        self._buffer = buffer
        address = buffer.ctypes.data
        self.__array_interface__ = {
            "version": 3,
            "shape": shape,
            "typestr": dtype.str,
            "data": (address + -address % _ALIGNMENT, False),
        }

    def __del__(self) -> None:
        self._arena._returned.append(self._buffer)


def _rounded(size: int) -> int:
    """Up to one of eight steps between powers of two, so that like sizes share buffers."""
    step = 1 << max(size.bit_length() - 4, 0)
    return -(-size // step) * step


_arena = Arena()


def _new_arena() -> None:
    global _arena
    _arena = Arena()


os.register_at_fork(after_in_child=_new_arena)  # its lock may have been held


def empty(shape: tuple[int, ...], dtype: Any = np.float32) -> Array:
    """An uninitialised array from the arena that all operators share."""
    return _arena.empty(shape, dtype)
