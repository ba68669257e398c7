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
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import threadpoolctl

from . import counters

Task = Callable[[], object]


class _Blas:
    """NumPy's BLAS and its number of threads, which is one for the whole process."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._holders: set[object] = set()
        self._outside = 1
        self._libraries: list[Any] | None = None

    def threads(self) -> int:
        """How many it has, or had before the pool held it."""
        if self._holders:  # no lock, and no question to BLAS, which costs microseconds: operators ask often
            return self._outside
        with self._lock:
            return self._outside if self._holders else self._count()

    @contextmanager
    def held(self) -> Iterator[None]:
        """One thread inside; several callers may be inside at once.

        Ctrl-C may come between any two of these lines, and in the last ones, too.
        """
        holder = object()
        try:
            with self._lock:
                first = not self._holders
                if first:
                    self._outside = self._count()
                self._holders.add(holder)
                if first:
                    self._set(1)
            yield
        finally:
            try:
                self._release(holder)
            except KeyboardInterrupt:
                self._release(holder)
                raise

    def _release(self, holder: object) -> None:
        with self._lock:
            if self._holders == {holder}:
                self._set(self._outside)
            self._holders.discard(holder)

    def is_held(self) -> bool:
        """By another caller, most likely. Each then holds it for all of its work: many who turn BLAS's threads on and
        off while others multiply are ten times slower than one after the other."""
        return bool(self._holders)

    def let_go(self) -> None:
        """In a child of fork: whoever held it is not here."""
        if self._holders:
            self._set(self._outside)

    def _count(self) -> int:
        if self._libraries is None:
            self._libraries = _numpys_blas()
        return max((library.get_num_threads() or 1 for library in self._libraries), default=1)

    def _set(self, number: int) -> None:
        for library in self._libraries or ():
            library.set_num_threads(number)


def _numpys_blas() -> list[Any]:
    """The library that NumPy calls, or none; SciPy brings one of its own, with its own number of threads."""
    libraries = threadpoolctl.ThreadpoolController().select(user_api="blas").lib_controllers
    beside = str(Path(np.__file__).resolve().parent)  # of wheels: the library lies in numpy.libs there, or inside
    libraries.sort(key=lambda library: (not library.filepath.startswith(beside), library.filepath))
    return list(libraries[:1])


class _Region:
    """The tasks of one call, on whichever threads they run."""

    def __init__(self, tasks: deque[Task]) -> None:
        self.waiting = tasks
        self.error: BaseException | None = None
        self._helpers: list[None] = []  # an entry for each at work; appending and popping need no lock
        self._left = counters.counters(1)  # changes when a helper leaves; who waits looks at it

    def work(self) -> None:
        """Take tasks until there are none, or one has failed."""
        _inside.region = self
        try:
            while self.error is None:
                try:
                    task = self.waiting.popleft()
                except IndexError:
                    return
                task()
        except _Stopped:
            pass
        except BaseException as error:
            self.error = error
        finally:
            _inside.region = None

    def help(self) -> None:
        """As `work`, in one of the pool's threads."""
        self._helpers.append(None)
        self.work()
        self._helpers.pop()
        self._left[0] += 1

    def join(self) -> None:
        """Wait for the helpers, after Ctrl-C too. One that has not begun will find no task."""
        try:
            self._wait()
        except BaseException as error:
            self.error = error  # the helpers stop at their next operator
            while self._helpers:
                time.sleep(1e-3)

    def check(self) -> None:
        """Raise what a task has raised."""
        if self.error is None:
            return
        try:
            raise self.error
        finally:  # or its traceback would hold the region, and the region it, and both the tasks' arrays
            self.waiting.clear()
            self.error = None

    def _wait(self) -> None:
        patience = time.perf_counter() + PATIENCE
        while (left := int(self._left[0])) >= 0 and self._helpers:
            if time.perf_counter() < patience:
                counters.changed(self._left, left)
            else:
                time.sleep(NAP)


class _Stopped(BaseException):
    """Another part of the same call has failed; what this one would compute is wanted no more."""


class _Pool:
    """Threads that look for regions to help with, and sleep when there have been none for a while."""

    def __init__(self) -> None:
        self._calls: deque[_Region] = deque()  # a region as often as it wants a helper
        self._posted = counters.counters(1)
        self._asleep: list[threading.Lock] = []
        self._threads = 0
        self._lock = threading.Lock()

    def call(self, region: _Region, helpers: int) -> None:
        with self._lock:
            while self._threads < min(helpers, _CORES):
                try:
                    threading.Thread(target=self._live, name=f"minibert-{self._threads + 1}", daemon=True).start()
                except RuntimeError:  # the system gives no more, or Python is about to end
                    break
                self._threads += 1
            helpers = min(helpers, self._threads)  # of what nobody takes, nobody would let go
            self._calls.extend([region] * helpers)
            self._posted[0] += 1
            for _ in range(min(helpers, len(self._asleep))):
                self._asleep.pop().release()

    def _live(self) -> None:
        while True:
            posted = int(self._posted[0])
            try:
                region = self._calls.popleft()
            except IndexError:
                self._rest(posted)
            else:
                region.help()
                del region  # and with it what its tasks hold

    def _rest(self, posted: int) -> None:
        patience = time.perf_counter() + PATIENCE
        while time.perf_counter() < patience:
            if counters.changed(self._posted, posted):
                return
        bell = threading.Lock()
        bell.acquire()
        with self._lock:
            if self._posted[0] != posted:
                return
            self._asleep.append(bell)
        bell.acquire()


PATIENCE = 5e-3
"""Seconds to look before sleeping: longer than the pauses between the operators of a model."""

NAP = 2e-4
"""Seconds between two looks of who waits longer than that."""

_CORES = os.cpu_count() or 1
_blas, _pool = _Blas(), _Pool()
_inside = threading.local()  # .region in a thread that works on one


def _reset() -> None:
    """A child of fork has none of its parent's threads."""
    global _blas, _pool
    _blas.let_go()
    _blas, _pool = _Blas(), _Pool()
    _inside.region = None


os.register_at_fork(after_in_child=_reset)


def count() -> int:
    """Threads that a call from here may use: 1 inside the pool, where every thread has its own part already."""
    region = getattr(_inside, "region", None)
    if region is None:
        return _blas.threads()
    if region.error is not None:
        raise _Stopped
    return 1


def run(tasks: Iterable[Task]) -> None:
    """Run the tasks on the pool, the caller's thread among them; back when all are done.

    Tasks are taken one by one by whoever is free. When one raises, the others stop at their next operator, and the
    exception comes out here.
    """
    waiting = deque(tasks)
    threads = min(count(), len(waiting))
    if threads <= 1:
        alone = getattr(_inside, "region", None) is not None or not _blas.is_held()
        with nullcontext() if alone else _blas.held():
            while waiting:
                waiting.popleft()()
        return
    region = _Region(waiting)
    with _blas.held():
        try:
            _pool.call(region, threads - 1)
            region.work()
        except BaseException as error:
            region.error = error
        region.join()
    region.check()


def share(tasks: Sequence[Task]) -> None:
    """Run tasks that share one piece of work, each of which returns when all of it is done, whoever did it: the first
    here, others on the pool. Nobody waits for those of the pool that come late and find nothing to do.
    """
    if len(tasks) == 1:
        run(tasks)
        return
    region = _Region(deque(tasks[1:]))
    with _blas.held():
        _pool.call(region, len(tasks) - 1)
        tasks[0]()
    region.waiting.clear()
    region.check()


def number(work: float, least: float) -> int:
    """Of threads for so much work, of which `least` pays for a thread. At least 1."""
    return max(1, min(count(), int(work // least)))


def split(size: int, least: int, part: Callable[[int, int], object]) -> None:
    """part(start, stop) over ranges that cover range(size), one for each thread, but none shorter than `least`."""
    pieces = number(size, max(least, 1))
    if pieces == 1:
        part(0, size)
    else:
        run(functools.partial(part, piece.start, piece.stop) for piece in ranges(size, pieces))


def ranges(size: int, number: int, multiple: int = 1) -> Iterator[slice]:
    """range(size) in `number` pieces of about equal length, none of them empty, cut at multiples."""
    borders = [size * i // number // multiple * multiple for i in range(number)]
    return (slice(start, stop) for start, stop in itertools.pairwise([*borders, size]) if stop > start)


@contextmanager
def held() -> Iterator[None]:
    """BLAS on one thread, for a call to it from a kernel outside of the pool."""
    with _blas.held():
        yield
