"""How kernels are compiled: Numba's flags in one place, and a disk cache whose failures cost time and nothing else.

The flags, and what each is for:
- nogil: the threads of `threads.py` run kernels side by side.
- error_model "numpy": with Python's a division is checked for zero, and the loop around it stays scalar.
- fastmath contract, reassoc, nsz: fused multiply-adds and vectorised sums. Not the rest of it: NaN and infinity keep
  their meaning, and a division stays a division.
- never `parallel`: Numba's own threads and those of BLAS would spin on the same cores.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numba
from numba.core.caching import FunctionCache

log = logging.getLogger("minibert")

FLAGS: dict[str, Any] = {"nogil": True, "error_model": "numpy", "fastmath": {"contract", "reassoc", "nsz"}}


def kernel(function: Callable[..., Any]) -> Any:
    """Compile on the first call for the types of its arguments, or load what an earlier process compiled.

    The compiled code is kept beside the source or, where that is read-only, in the user's cache folder; where neither
    can be written, in memory.
    """
    compiled = numba.njit(**FLAGS)(function)
    try:
        compiled._cache = _Cache(function)
    except (RuntimeError, OSError):  # no folder that can be written
        log.debug("no cache for %s", function.__name__)
    return compiled


def helper(function: Callable[..., Any]) -> Any:
    """A function that kernels call, and that is compiled into them."""
    return numba.njit(**FLAGS)(function)


def _stamp() -> tuple[float, int]:
    """Of all kernels' sources together. Numba looks at a kernel's own file, and would miss a change in a helper's."""
    stats = [path.stat() for path in Path(__file__).parent.glob("*.py")]
    return max(s.st_mtime for s in stats), sum(s.st_size for s in stats)


class _Cache(FunctionCache):
    """Numba's cache; but what is damaged is compiled again, and what cannot be written is not."""

    announced = False

    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__(function)  # type: ignore[no-untyped-call]
        self._cache_file._source_stamp = _stamp()

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        try:
            found = super().load_overload(sig, target_context)  # type: ignore[no-untyped-call]
        except Exception as error:  # whatever unpickling a damaged file may raise
            log.debug("damaged cache of %s: %r", self._name, error)
            found = None
        if found is None and not _Cache.announced:
            _Cache.announced = True
            log.info("compiling for this processor; once, some seconds")
        return found

    def save_overload(self, sig: Any, data: Any) -> None:
        for attempt in (super().save_overload, self._save_anew):
            try:
                attempt(sig, data)
                return
            except Exception as error:
                log.debug("cannot save %s: %r", self._name, error)

    def _save_anew(self, sig: Any, data: Any) -> None:
        self.flush()  # type: ignore[no-untyped-call]
        super().save_overload(sig, data)  # type: ignore[no-untyped-call]
