"""NumPy's own matrix product, called from inside kernels.

A kernel multiplies many small matrices; returning to Python for each would cost more than the product. So it is given
the address of `cblas_sgemm` in the library that NumPy itself has loaded. The address is an argument and not a constant
of the kernel, hence a kernel in the disk cache works in the next process, where the library lies elsewhere.

Whoever calls such a kernel holds BLAS at one thread, as `threads.run` does where it has several: beyond 64³
multiplications OpenBLAS wakes its own, for every product anew.
"""

from __future__ import annotations

import ctypes
import functools
import itertools
import platform
import sys
from pathlib import Path
from typing import Any

import numpy as np
import threadpoolctl
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from .compile import helper

_ROW_MAJOR, _PLAIN, _TRANSPOSED = 101, 111, 112
_NARROW_WORKS = not (sys.platform == "darwin" and platform.machine() == "arm64")


@functools.cache
def address() -> int:
    """Of NumPy's cblas_sgemm; 0 where there is none that can be called, and `sgemm` then does without.

    The names that end in 64 take 64-bit integers; the bare one takes either, which its library alone knows. It is given
    64 bits all the same: an argument has a register or eight bytes of the stack to itself, and who wants 32 bits reads
    the lower half. Apple's processors are the exception, where arguments on the stack are packed.
    """
    libraries = threadpoolctl.ThreadpoolController().select(user_api="blas").lib_controllers  # SciPy's may be there
    own = str(Path(np.__file__).resolve().parent)  # of wheels: the library lies in numpy.libs beside it, or inside
    libraries.sort(key=lambda library: (not library.filepath.startswith(own), library.filepath))
    wide = ("scipy_cblas_sgemm64_", "cblas_sgemm64_", "cblas_sgemm_64")  # NumPy's wheels, OpenBLAS elsewhere, MKL
    narrow = ("scipy_cblas_sgemm", "cblas_sgemm") if _NARROW_WORKS else ()
    for library, name in itertools.product(libraries, wide + narrow):
        function = getattr(library.dynlib, name, None)
        if function is not None:
            return ctypes.cast(function, ctypes.c_void_p).value or 0
    return 0


def _call_of(typing_context, blas, flags, sizes, alpha, a, lda, b, ldb, beta, c, ldc):  # type: ignore[no-untyped-def]
    """The C call itself: flags (order, transposition of a, of b), sizes (m, n, k), addresses as integers."""
    flag, size, number, pointer = ir.IntType(32), ir.IntType(64), ir.FloatType(), ir.IntType(8).as_pointer()
    function = ir.FunctionType(
        ir.VoidType(),
        [flag] * 3 + [size] * 3 + [number, pointer, size, pointer, size, number, pointer, size],
    )

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        blas, flags, sizes, alpha, a, lda, b, ldb, beta, c, ldc = arguments
        a, b, c = (builder.inttoptr(x, pointer) for x in (a, b, c))
        callee = builder.inttoptr(blas, function.as_pointer())
        flags = [builder.trunc(builder.extract_value(flags, i), flag) for i in range(3)]
        sizes = [builder.extract_value(sizes, i) for i in range(3)]
        builder.call(callee, [*flags, *sizes, alpha, a, lda, b, ldb, beta, c, ldc])
        return context.get_dummy_value()

    i8, f4 = types.int64, types.float32
    triple = types.UniTuple(i8, 3)  # type: ignore[no-untyped-call]
    return types.void(i8, triple, triple, f4, i8, i8, i8, i8, f4, i8, i8), generate


_call: Any = intrinsic(_call_of)


@helper
def _layout(a: Any) -> tuple[int, int]:
    """(transposed or not, leading dimension) of a matrix that has unit stride along one axis."""
    item = 4  # bytes of a float32
    if a.strides[1] == item and a.strides[0] >= item * a.shape[1]:
        return _PLAIN, a.strides[0] // item
    return _TRANSPOSED, a.strides[1] // item


@helper
def sgemm(blas: int, alpha: np.float32, a: Any, b: Any, beta: np.float32, c: Any) -> None:
    """c = alpha·a b + beta·c.    a (m, k), b (k, n) -> c (m, n), in place; with beta 0, c is not read.

    a and b may be views with rows or columns apart, as `qkv[start:stop, :D]` or its transpose; c may have rows apart.
    blas: `address()`, or 0 for a loop that needs no library and is slow.
    """
    m, n = c.shape
    k = a.shape[1]
    if m == 0 or n == 0:
        return
    if blas != 0:
        trans_a, lda = _layout(a)
        trans_b, ldb = _layout(b)
        ldc = max(c.strides[0] // 4, n)
        flags, sizes = (_ROW_MAJOR, trans_a, trans_b), (m, n, k)
        _call(blas, flags, sizes, alpha, a.ctypes.data, lda, b.ctypes.data, ldb, beta, c.ctypes.data, ldc)
        return
    for i in range(m):
        for j in range(n):
            total = np.float32(0)
            for p in range(k):
                total += a[i, p] * b[p, j]
            c[i, j] = alpha * total if beta == 0 else alpha * total + beta * c[i, j]
