"""Products of up to some hundred rows with weights that lie ready for it.

BLAS copies both operands of every product into the order in which it reads them. With few rows that costs more than the
product itself; but weights that cannot change, as those of a mapped file, can be copied once and for all: in panels of
WIDTH outputs, so that the numbers which meet one number of x lie side by side.

    y[n : n+12, panel] += x[n+i, k] · panel[k]        for all k, the sums of a tile of y in registers

That tile is written in LLVM's own language, because the vectors must stay in registers whatever a loop vectoriser
thinks of it; it is the same for every kind of vector that LLVM knows.
"""

from __future__ import annotations

import functools
import weakref
from typing import Any

import llvmlite.binding as llvm
import numpy as np
from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic

from ...ops.xp import Array
from . import amx, counters, memory, threads
from .compile import kernel

MOST = 128
"""Rows up to which this beats OpenBLAS. tools/bench_products.py prints, on a processor with AVX-512 and for one thread,
78 GFLOP/s against 34 at 16 rows and 125 against 109 at 128. Where there is AMX, that is for more than LEAST_ROWS."""

_FEATURES = llvm.get_host_cpu_features()
LANES = 16 if _FEATURES.get("avx512f") else 8
ROWS = 12 if LANES == 16 else 6  # of a tile: its sums fill the registers
VECTORS = 2
WIDTH = LANES * VECTORS
DEPTH = 256  # of a panel at a time: it stays in the innermost cache
AHEAD = 512  # steps of k: what the second cache is told to fetch while the first multiplies

_packed: dict[tuple[int, tuple[int, ...]], Array] = {}


def fits(x: Array, weight: Array) -> bool:
    """Few rows, and weights that nobody can write."""
    most = min(MOST, amx.LEAST_ROWS) if amx.available() else MOST
    return 0 < len(x) <= most and not weight.flags.writeable and not _owner(weight).flags.writeable


def panels(weight: Array) -> Array:
    """weight (out, in) -> (out/WIDTH, in, WIDTH), filled up with zeros; made once, and kept as long as the weight."""
    key = weight.ctypes.data, weight.shape
    found = _packed.get(key)
    if found is None:
        outputs, inputs = weight.shape
        found = np.empty((-(-outputs // WIDTH), inputs, WIDTH), np.float32)
        threads.split(len(found), 1, lambda a, b: pack(weight[a * WIDTH : b * WIDTH], found[a:b]))
        weakref.finalize(_owner(weight), _packed.pop, key, None)
        _packed[key] = found
    return found


def _owner(array: Array) -> Array:
    while isinstance(array.base, np.ndarray):
        array = array.base
    return array


@kernel
def pack(weight: Any, out: Any) -> None:
    for p in range(out.shape[0]):
        start = p * WIDTH
        rows = min(WIDTH, weight.shape[0] - start)
        for k in range(out.shape[1]):
            for j in range(rows):
                out[p, k, j] = weight[start + j, k]
            for j in range(rows, WIDTH):
                out[p, k, j] = 0


def _tile(rows: int) -> Any:
    @intrinsic
    def tile(context: Any, x: Any, stride: Any, panel: Any, depth: Any, y: Any, y_stride: Any) -> Any:
        """y[i, :WIDTH] += Σₖ x[i, k]·panel[k] for so many rows; addresses, and strides in numbers."""

        def code(target: Any, b: ir.IRBuilder, signature: Any, arguments: Any) -> Any:
            x, stride, panel, depth, y, y_stride = arguments
            if LANES == 16:  # LLVM would split the vectors, for fear of the lower clock of processors of 2017
                set.add(b.function.attributes, '"prefer-vector-width"="512"')
                set.add(b.function.attributes, '"min-legal-vector-width"="512"')
            number, vector = ir.FloatType(), ir.VectorType(ir.FloatType(), LANES)
            i64, i32 = ir.IntType(64), ir.IntType(32)

            def at(address: Any, row: Any, column: Any) -> Any:
                return b.gep(b.inttoptr(address, number.as_pointer()), [b.add(row, column)])

            def vectors(pointer: Any) -> list[Any]:
                ends = (b.gep(pointer, [ir.Constant(i64, v * LANES)]) for v in range(VECTORS))
                return [b.bitcast(end, vector.as_pointer()) for end in ends]

            zero, nothing = ir.Constant(i64, 0), ir.Constant(vector, ir.Undefined)
            everywhere = ir.Constant(ir.VectorType(i32, LANES), [0] * LANES)
            fma_type = ir.FunctionType(vector, [vector] * 3)
            fma = cgutils.get_or_insert_function(b.module, fma_type, f"llvm.fma.v{LANES}f32")  # type: ignore[no-untyped-call]
            byte = ir.IntType(8)
            read_soon = [ir.Constant(i32, 0), ir.Constant(i32, 2), ir.Constant(i32, 1)]
            prefetch_type = ir.FunctionType(ir.VoidType(), [byte.as_pointer(), i32, i32, i32])
            prefetch = cgutils.get_or_insert_function(b.module, prefetch_type, "llvm.prefetch.p0")  # type: ignore[no-untyped-call]
            x_rows = [b.mul(stride, ir.Constant(i64, i)) for i in range(rows)]
            places = [vectors(at(y, b.mul(y_stride, ir.Constant(i64, i)), zero)) for i in range(rows)]
            starts = [[b.load(place, align=4) for place in row] for row in places]
            before, loop, after = b.block, b.append_basic_block("loop"), b.append_basic_block("after")
            b.branch(loop)
            b.position_at_end(loop)
            k = b.phi(i64)
            sums = [[b.phi(vector) for _ in row] for row in starts]
            weights = [b.load(v, align=4) for v in vectors(at(panel, b.mul(k, ir.Constant(i64, WIDTH)), zero))]
            for later in vectors(at(panel, b.mul(b.add(k, ir.Constant(i64, AHEAD)), ir.Constant(i64, WIDTH)), zero)):
                b.call(prefetch, [b.bitcast(later, byte.as_pointer()), *read_soon])
            totals = []
            for x_row, row in zip(x_rows, sums, strict=True):
                one = b.insert_element(nothing, b.load(at(x, x_row, k)), ir.Constant(i32, 0))
                all_lanes = b.shuffle_vector(one, nothing, everywhere)
                totals.append([b.call(fma, [all_lanes, w, s]) for w, s in zip(weights, row, strict=True)])
            following = b.add(k, ir.Constant(i64, 1))
            k.add_incoming(zero, before)
            k.add_incoming(following, loop)
            for phis, firsts, nexts in zip(sums, starts, totals, strict=True):
                for phi, first, following_sum in zip(phis, firsts, nexts, strict=True):
                    phi.add_incoming(first, before)
                    phi.add_incoming(following_sum, loop)
            b.cbranch(b.icmp_signed("<", following, depth), loop, after)
            b.position_at_end(after)
            for row_places, row_totals in zip(places, totals, strict=True):
                for place, total in zip(row_places, row_totals, strict=True):
                    b.store(total, place, align=4)
            return target.get_dummy_value()

        return types.void(*(types.int64,) * 6), code

    return tile


_tile_of_rows, _tile_of_4, _tile_of_2, _tile_of_1 = _tile(ROWS), _tile(4), _tile(2), _tile(1)


@kernel
def multiply(x: Any, weights: Any, bias: Any, y: Any, scratch: Any, counts: Any, own: Any) -> None:
    """y = x Wᵀ + b.    x (M, in), bias (out,), y (M, out), scratch (M, WIDTH)

    Several threads may call this for the same y, each with scratch and a number `own` of its own, and share the panels
    as they find time; back when all is done. counts: `counters`.
    """
    rows, inputs = x.shape
    outputs = y.shape[1]
    # unsigned addresses plus signed offsets would be doubles
    x_at, y_at, weights_at = np.int64(x.ctypes.data), np.int64(y.ctypes.data), np.int64(weights.ctypes.data)
    scratch_at = np.int64(scratch.ctypes.data)
    p = counters.take(counts, own, weights.shape[0])
    while p >= 0:
        start = p * WIDTH
        width = min(WIDTH, outputs - start)
        target, stride = (y_at + 4 * start, outputs) if width == WIDTH else (scratch_at, WIDTH)
        for n in range(rows):
            if width == WIDTH:
                for j in range(WIDTH):
                    y[n, start + j] = bias[start + j]
            else:
                for j in range(WIDTH):
                    scratch[n, j] = bias[start + j] if j < width else np.float32(0)
        for k in range(0, inputs, DEPTH):
            depth = min(DEPTH, inputs - k)
            panel = weights_at + 4 * WIDTH * (p * inputs + k)
            source = x_at + 4 * k
            n = 0
            while n + ROWS <= rows:
                _tile_of_rows(source + 4 * n * inputs, inputs, panel, depth, target + 4 * n * stride, stride)
                n += ROWS
            while n + 4 <= rows:
                _tile_of_4(source + 4 * n * inputs, inputs, panel, depth, target + 4 * n * stride, stride)
                n += 4
            while n + 2 <= rows:
                _tile_of_2(source + 4 * n * inputs, inputs, panel, depth, target + 4 * n * stride, stride)
                n += 2
            if n < rows:
                _tile_of_1(source + 4 * n * inputs, inputs, panel, depth, target + 4 * n * stride, stride)
        if width != WIDTH:
            for n in range(rows):
                for j in range(width):
                    y[n, start + j] = scratch[n, j]
        counters.finish(counts, 1)
        p = counters.take(counts, own, weights.shape[0])
    counters.wait(counts, weights.shape[0])


def tasks(x: Array, weight: Array, bias: Array, y: Array, number: int) -> list[threads.Task]:
    """So many calls that together compute y = x Wᵀ + b; each returns when all of it is computed."""
    x, bias, scratch = np.ascontiguousarray(x), np.ascontiguousarray(bias), memory.empty((number, len(x), WIDTH))
    ready, counts = panels(weight), counters.counters(number)
    return [functools.partial(multiply, x, ready, bias, y, scratch[own], counts, own) for own in range(number)]
