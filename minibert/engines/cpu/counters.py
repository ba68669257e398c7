"""Numbers in memory that several threads read and change at the same time, without the interpreter's lock.

Two cores are seldom equally fast: one is shared with another program, or with another machine of the same host. If each
had half of an operator to do, the faster would wait. So who is done with a piece takes the next; a counter says which.

A thread that sleeps may take longer to wake than many an operator takes, above all in a virtual machine whose host has
given its core away. So whoever waits for a part of an operator looks for a while before it sleeps.
"""

from __future__ import annotations

import os
import platform
from collections.abc import Callable
from typing import Any

import numpy as np
from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic

from ...ops.xp import Array
from .compile import helper, kernel

_X86 = platform.machine().lower() in ("x86_64", "amd64")
_instruction: Any = intrinsic
_NUMBER = ir.IntType(64)
LINE = 8
"""Numbers in a cache line: two that are written to and share one disturb each other."""

LOOKS = 1000
"""Looks at a number between two calls that let other threads have the core."""


def counters(threads: int, rounds: int = 1) -> Array:
    """For work that so many threads share, all 0: for each round the pieces that are done, and then those that were
    taken from the part of each thread. Every number has a cache line of its own."""
    return np.zeros(LINE * (threads + 1) * rounds, np.int64)


def _number(arguments: int, write: Callable[..., Any]) -> Any:
    """What an intrinsic returns that takes so many integers and gives one."""
    return types.int64(*(types.int64,) * arguments), lambda _, b, __, given: write(b, *given)


def _at(b: ir.IRBuilder, address: Any) -> Any:
    return b.inttoptr(address, _NUMBER.as_pointer())


def _call(b: ir.IRBuilder, name: str, result: ir.Type) -> Any:
    return b.call(cgutils.get_or_insert_function(b.module, ir.FunctionType(result, []), name), [])  # type: ignore[no-untyped-call]


@_instruction
def add(typing, address, number):  # type: ignore[no-untyped-def]
    """Add to the number at an address; what it was. Whoever then reads it sees all that this thread wrote before."""
    return _number(2, lambda b, address, number: b.atomic_rmw("add", _at(b, address), number, "acq_rel"))


@_instruction
def read(typing, address):  # type: ignore[no-untyped-def]
    """What the number at an address is now: an ordinary read would be moved out of a loop."""
    return _number(1, lambda b, address: b.load_atomic(_at(b, address), ordering="acquire", align=8))


@_instruction
def _pause(typing):  # type: ignore[no-untyped-def]
    """Between two looks: the core's other thread runs meanwhile."""

    def write(b: ir.IRBuilder) -> Any:
        if _X86:
            _call(b, "llvm.x86.sse2.pause", ir.VoidType())
        return ir.Constant(_NUMBER, 0)

    return _number(0, write)


@_instruction
def _let_others_run(typing):  # type: ignore[no-untyped-def]
    """Who is waited for may need this core."""

    def write(b: ir.IRBuilder) -> Any:
        if os.name == "posix":
            _call(b, "sched_yield", ir.IntType(32))
        return ir.Constant(_NUMBER, 0)

    return _number(0, write)


@helper
def take(counts: Any, own: Any, size: Any) -> Any:
    """The next piece of range(size) that nobody has taken, or -1: each thread goes through its own part of the range,
    in order, and then helps those who are not done with theirs.    own: its number"""
    parts = counts.size // LINE - 1
    for turn in range(parts):
        part = (own + turn) % parts
        first, end = size * part // parts, size * (part + 1) // parts
        address = np.int64(counts.ctypes.data) + 8 * LINE * (part + 1)
        if first + read(address) < end:
            piece = first + add(address, 1)
            if piece < end:
                return piece
    return -1


@helper
def finish(counts: Any, pieces: Any) -> None:
    """Say that one is done with so many: whoever waits for them then sees what was written."""
    add(np.int64(counts.ctypes.data), pieces)


@helper
def wait(counts: Any, size: Any) -> None:
    """Until all pieces of range(size) are done."""
    looks = 0
    while read(np.int64(counts.ctypes.data)) < size:
        _pause()
        looks += 1
        if looks == LOOKS:
            _let_others_run()
            looks = 0


@kernel
def changed(counter: Any, old: Any) -> bool:
    """Has counter[0] become another number than `old` within LOOKS looks?"""
    address = np.int64(counter.ctypes.data)
    for _ in range(LOOKS):
        if read(address) != old:
            return True
        _pause()
    return False
