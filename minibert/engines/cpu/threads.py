"""Who computes what: one pool of threads, each of which runs NumPy's products and the kernels on its own part.

Two pools on the same cores are poison: OpenBLAS' idle workers spin for a tenth of a second after every product, on the
cores that the kernels need. So while the pool works BLAS is held to one thread, and every core has one thread that does
everything. There are as many as BLAS has outside, which honours OMP_NUM_THREADS, OPENBLAS_NUM_THREADS and
`threadpoolctl.threadpool_limits`, and is the number of cores otherwise. A BLAS that cannot be held (Apple's) keeps its
threads, and the pool has one.
"""

from __future__ import annotations

import functools
import itertools
import os
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import threadpoolctl

Task = Callable[[], object]


class _Blas:
    """NumPy's BLAS and its number of threads, which is one for the whole process."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._users = 0
        self._outside = 1
        self._libraries: list[Any] | None = None

    def threads(self) -> int:
        """How many it has, or had before the pool held it."""
        with self._lock:
            return self._outside if self._users else self._count()

    @contextmanager
    def held(self) -> Iterator[None]:
        """One thread inside; several callers may be inside at once."""
        with self._lock:
            if self._users == 0:
                self._outside = self._count()
                self._set(1)
            self._users += 1
        try:
            yield
        finally:
            with self._lock:
                self._users -= 1
                if self._users == 0:
                    self._set(self._outside)

    def _count(self) -> int:
        if self._libraries is None:
            self._libraries = threadpoolctl.ThreadpoolController().select(user_api="blas").lib_controllers
        return max((library.get_num_threads() or 1 for library in self._libraries), default=1)

    def _set(self, number: int) -> None:
        for library in self._libraries or ():
            library.set_num_threads(number)


class _Region:
    """The tasks of one call, on whichever threads they run."""

    def __init__(self, tasks: Iterable[Task]) -> None:
        self.waiting = deque(tasks)
        self.failed = False

    def work(self) -> None:
        """Take tasks until there are none."""
        _inside.region = self
        try:
            while not self.failed:
                try:
                    task = self.waiting.popleft()
                except IndexError:
                    return
                task()
        except BaseException:
            self.failed = True
            raise
        finally:
            _inside.region = None


class _Stopped(BaseException):
    """Another part of the same call has failed; what this one would compute is wanted no more."""


_blas = _Blas()
_pool: ThreadPoolExecutor | None = None
_lock = threading.Lock()
_inside = threading.local()  # .region in a thread that works on one


def _reset() -> None:
    """A child of fork has none of its parent's threads."""
    global _blas, _pool, _lock
    _blas, _pool, _lock = _Blas(), None, threading.Lock()
    _inside.region = None


os.register_at_fork(after_in_child=_reset)


def count() -> int:
    """Threads that a call from here may use: 1 inside the pool, where every thread has its own part already."""
    region = getattr(_inside, "region", None)
    if region is None:
        return _blas.threads()
    if region.failed:
        raise _Stopped
    return 1


def run(tasks: Iterable[Task]) -> None:
    """Run the tasks on the pool, the caller's thread among them; back when all are done.

    Tasks are taken one by one by whoever is free. When one raises, the others stop at their next operator, and the
    exception comes out here.
    """
    region = _Region(tasks)
    threads = min(count(), len(region.waiting))
    if threads <= 1:
        while region.waiting:
            region.waiting.popleft()()
        return
    with _blas.held():
        helpers = [_executor().submit(region.work) for _ in range(threads - 1)]
        try:
            region.work()
        except _Stopped:
            pass  # the reason is with one of the helpers
        finally:
            begun = [helper for helper in helpers if not helper.cancel()]
            errors = [error for helper in begun if (error := helper.exception())]
        for error in errors:
            if not isinstance(error, _Stopped):
                raise error


def split(size: int, least: int, part: Callable[[int, int], object]) -> None:
    """part(start, stop) over ranges that cover range(size), one for each thread, but none shorter than `least`."""
    number = max(1, min(count(), size // max(least, 1)))
    if number == 1:
        part(0, size)
    else:
        run(functools.partial(part, piece.start, piece.stop) for piece in ranges(size, number))


def ranges(size: int, number: int) -> Iterator[slice]:
    """range(size) in `number` pieces of about equal length, none of them empty."""
    borders = [size * i // number for i in range(number + 1)]
    return (slice(start, stop) for start, stop in itertools.pairwise(borders) if stop > start)


def _executor() -> ThreadPoolExecutor:
    global _pool
    with _lock:
        if _pool is None:
            _pool = ThreadPoolExecutor(os.cpu_count() or 1, "minibert")
        return _pool
