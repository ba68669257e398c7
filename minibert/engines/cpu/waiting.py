"""Waiting for a number in memory to change, without sleeping and without the interpreter's lock.

A thread that sleeps takes 50 µs to wake, and in a virtual machine, whose host has given its core away, milliseconds:
more than many an operator takes. So whoever waits for a part of an operator looks for a while before it sleeps.
"""

from __future__ import annotations

import platform
from typing import Any

from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic

from .compile import kernel

_X86 = platform.machine().lower() in ("x86_64", "amd64")


def _look_of(context: Any, array: Any) -> Any:
    """array[0], read from memory however often: an ordinary read would be moved out of the loop."""

    def code(target: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        (view,) = arguments
        data = target.make_array(signature.args[0])(target, builder, view).data
        if _X86:  # lets the core's other thread run meanwhile
            nothing = ir.FunctionType(ir.VoidType(), [])
            pause = cgutils.get_or_insert_function(builder.module, nothing, "llvm.x86.sse2.pause")  # type: ignore[no-untyped-call]
            builder.call(pause, [])
        return builder.load_atomic(data, ordering="acquire", align=8)

    return types.int64(array), code


_look: Any = intrinsic(_look_of)


@kernel
def changed(array: Any, old: Any, looks: Any) -> bool:
    """Has array[0] become another number than `old` within so many looks?"""
    for _ in range(looks):  # noqa: SIM110  # what Numba compiles
        if _look(array) != old:
            return True
    return False
