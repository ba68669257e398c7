"""Products on AMX, the matrix unit of newer Intel processors: float32 in and out, and as exact as float32 gets.

The unit multiplies bfloat16, sixteen times as fast as the vector units multiply float32. A float32 is the sum of three
of these, and six of their products make one of ours: `tiles` has the arithmetic. Sums are of 32 products each, added up
at the end, and lose less to rounding than one long sum.

The left factor is split first, ROWS × STEPS·32 of it, then the right one, 32 columns at a time. A number of the result
is computed in the same way wherever it lies and whichever thread does it.
"""

from __future__ import annotations

import ctypes
import functools
import sys

import numpy as np
from numba.core.registry import cpu_target

from ...ops.xp import Array
from . import counters, memory, threads
from .compile import helper, kernel
from .tiles import (
    BLOCK,
    DEPTH,
    PACKED,
    TILE,
    add_numbers,
    add_vectors,
    clear_block,
    configure,
    copy_number,
    multiply_block,
    release,
    split,
    store_block,
    transpose,
)

ROWS, STEPS = 256, 12
"""Of the left factor, and of either by DEPTH: what is split at a time, and stays in the second cache."""

MOST_DEPTH = STEPS * DEPTH
"""What is added up before it is added to the result."""

EARLY = 1
"""The step after which a finished block is added: the matrix unit then has work, and what it stored is in the cache."""

LEAST_ROWS = 56
"""Rows beyond which this beats kernels of vectors: tools/bench_products.py prints 149 GFLOP/s a thread against 106 at
96 rows, and 78 against 97 at 56: with few, splitting the other factor takes most of the time."""

Matrix = tuple[int, int, int]
"""Address, and the distances in bytes from row to row and from column to column, one of which is 4."""

_SMALL = BLOCK * BLOCK * 4
"""Bytes of a block of float32."""


@functools.cache
def available() -> bool:
    """Whether the processor has it, Numba compiles for it, and the system lets this process use it."""
    features = cpu_target.target_context.codegen()._tm_features.split(",")
    if sys.platform != "linux" or not {"+amx-tile", "+amx-bf16", "+avx512f", "+avx512bw"} <= set(features):
        return False
    arch_prctl, request_permission, tile_data = 158, 0x1023, 18
    return bool(ctypes.CDLL(None).syscall(arch_prctl, request_permission, tile_data) == 0)


def _constants() -> Array:
    """What LDTILECFG reads: all eight tiles have 16 rows of 64 bytes. And a zero behind it."""
    constants = np.zeros(128, np.uint8)
    constants[0] = 1
    constants[16:32].view(np.uint16)[:] = 64
    constants[48:56] = TILE
    return constants


CONSTANTS, _ZERO = _constants(), 64


@helper
def _by_rows(
    matrix: Matrix, exist: tuple[int, int], height: int, width: int, zero: int, scratch: int
) -> tuple[int, int]:
    """(address, distance of rows) of height × width numbers, zero where they do not exist: where they lie, if they lie
    by rows, and otherwise in scratch."""
    source, row, column = matrix
    if exist[0] < height or exist[1] < width:
        for i in range(height):
            for j in range(width):
                there = i < exist[0] and j < exist[1]
                copy_number(source + i * row + j * column if there else zero, scratch + 4 * (i * width + j))
    elif column == 4:
        return source, row
    else:
        for i in range(0, height, TILE):
            for j in range(0, width, TILE):
                transpose(source + i * row + j * column, column, scratch + 4 * (i * width + j), 4 * width)
    return scratch, 4 * width


@helper
def _split_left(a: Matrix, rows: int, depth: int, zero: int, scratch: int, packed: int) -> None:
    """Block after block of rows, each for all of the depth; read in the order in which they lie in memory."""
    address, row, column = a
    blocks, steps = (rows + BLOCK - 1) // BLOCK, (depth + DEPTH - 1) // DEPTH
    for number in range(blocks * steps):
        block, step = (number // steps, number % steps) if column == 4 else (number % blocks, number // blocks)
        target = packed + (block * steps + step) * PACKED
        i, k = block * BLOCK, step * DEPTH
        for n in range(0, BLOCK, TILE):
            matrix = address + (i + n) * row + k * column, row, column
            source, apart = _by_rows(matrix, (rows - i - n, depth - k), TILE, DEPTH, zero, scratch)
            for r in range(TILE):
                split(source + r * apart, source + r * apart + 64, target + 64 * (n + r))


@helper
def _split_right(b: Matrix, depth: int, columns: int, tile: int, zero: int, scratch: int, packed: int) -> None:
    """One of the tiles of a block of columns; two for each step of the depth."""
    address, row, column = b
    n, k = tile % 2 * TILE, tile // 2 * DEPTH
    matrix = address + k * row + n * column, row, column
    source, step = _by_rows(matrix, (depth - k, columns - n), DEPTH, TILE, zero, scratch)
    target = packed + tile // 2 * PACKED + n * 64
    for r in range(TILE):
        split(source + r * step, source + (r + TILE) * step, target + 64 * r)


@helper
def _add_block(block: int, source: int, step: int, target: int, target_step: int, rows: int, columns: int) -> None:
    """target = source + block; rows of the source are `step` bytes apart."""
    if rows == BLOCK and columns == BLOCK:
        for r in range(BLOCK):
            for half in range(0, 4 * BLOCK, 4 * TILE):
                offset = r * 4 * BLOCK + half
                add_vectors(block + offset, source + r * step + half, target + r * target_step + half)
    else:
        for r in range(rows):
            for n in range(0, 4 * columns, 4):
                add_numbers(block + r * 4 * BLOCK + n, source + r * step + n, target + r * target_step + n)


@kernel
def multiply(
    a: Matrix, b: Matrix, c: Matrix, shape: tuple[int, int, int], bias: int, scratch: int, constants: int,
    counts: Array, own: int, parts: int,
) -> None:  # fmt: skip
    """c = a b + bias, or c += a b with bias 0; c by rows. shape: rows and columns of c, depth. scratch: `workspace`.

    The matrix unit works on its own. While it does, the vector units split what it multiplies next, and add to c what
    it computed last.

    Several threads may call this for the same product, each with scratch and a number `own` of its own, and share the
    columns as they find time; back when all is done. counts: `counters`, a round for each part of the depth of each
    block of rows.
    """
    rows, columns, depth = shape
    zero, spare, block, other = constants + _ZERO, scratch, scratch + _SMALL, scratch + 2 * _SMALL
    right, next_right = scratch + 3 * _SMALL, scratch + 3 * _SMALL + STEPS * PACKED
    left = next_right + STEPS * PACKED
    source = step = target = high = width = 0  # what `other` is to be added to, and where
    blocks, round_size = (columns + BLOCK - 1) // BLOCK, counters.LINE * (parts + 1)
    everything, here = counts, counts[:0]  # here: those of this round
    configure(constants)
    for top in range(0, rows, ROWS):
        height = min(ROWS, rows - top)
        for first in range(0, depth, MOST_DEPTH):
            before, here, counts = here, counts[:round_size], counts[round_size:]
            number, finished = counters.take(here, own, blocks), 0
            if number < 0:
                continue
            deep = min(MOST_DEPTH, depth - first)
            steps = (deep + DEPTH - 1) // DEPTH
            _split_left((a[0] + top * a[1] + first * a[2], a[1], a[2]), height, deep, zero, spare, left)
            n = BLOCK * number
            for tile in range(2 * steps):
                _split_right((b[0] + first * b[1] + n * b[2], b[1], b[2]), deep, columns - n, tile, zero, spare, right)
            if first > 0:
                counters.wait(before, blocks)
            while number >= 0:
                number = counters.take(here, own, blocks)
                n_ahead = BLOCK * number
                b_ahead = b[0] + first * b[1] + n_ahead * b[2], b[1], b[2]
                tile, tiles = 0, 2 * steps if number >= 0 else 0
                made, all = 0, (height + BLOCK - 1) // BLOCK * steps
                for i in range(0, height, BLOCK):
                    clear_block()
                    for k in range(steps):
                        multiply_block(left + (i // BLOCK * steps + k) * PACKED, right + k * PACKED)
                        if k == min(EARLY, steps - 1):
                            _add_block(other, source, step, target, c[1], high, width)
                        made += 1
                        while tile * all < made * tiles:
                            _split_right(b_ahead, deep, columns - n_ahead, tile, zero, spare, next_right)
                            tile += 1
                    store_block(block)
                    block, other = other, block
                    high, width = min(BLOCK, height - i), min(BLOCK, columns - n)
                    target = c[0] + (top + i) * c[1] + 4 * n
                    source, step = (bias + 4 * n, 0) if first == 0 and bias != 0 else (target, c[1])
                right, next_right = next_right, right
                n, finished = n_ahead, finished + 1
            _add_block(other, source, step, target, c[1], high, width)
            high = width = 0
            counters.finish(here, finished)
    release()
    for first in range(0, everything.size, round_size):
        counters.wait(everything[first : first + round_size], blocks)


def pays(rows: int, columns: int, depth: int) -> bool:
    """Whether a product is better done here than by BLAS."""
    return rows > LEAST_ROWS and columns >= BLOCK and depth >= 2 * DEPTH and available()


def tasks(
    a: Array, b: Array, out: Array, bias: Array | None = None, add: bool = False, number: int = 1
) -> list[threads.Task]:
    """So many calls that together compute out = a b + bias, or out += a b; each returns when all of it is computed.

    a (M, K), b (K, N), views by rows or by columns; out (M, N) by rows
    """
    a, b = (x if x.itemsize in x.strides else np.ascontiguousarray(x) for x in (a, b))
    rows, depth = a.shape
    columns = b.shape[1]
    start = np.zeros(columns, np.float32) if bias is None else np.ascontiguousarray(bias)
    size = workspace(rows, depth)
    scratch = memory.empty((number, size), np.uint8)
    rounds = -(-rows // ROWS) * -(-depth // MOST_DEPTH)
    rest = CONSTANTS.ctypes.data, counters.counters(number, rounds)
    arguments = matrix(a), matrix(b), matrix(out), (rows, columns, depth), 0 if add else start.ctypes.data

    def part(own: int, *_: Array) -> None:
        multiply(*arguments, scratch.ctypes.data + own * size, *rest, own, number)

    return [functools.partial(part, own, a, b, out, start) for own in range(number)]  # addresses keep nothing alive


def product(a: Array, b: Array, out: Array, bias: Array | None = None, add: bool = False) -> None:
    """As `tasks`, all of it in the calling thread."""
    tasks(a, b, out, bias, add)[0]()


def matrix(x: Array) -> Matrix:
    """As `multiply` takes it; keeps nothing alive."""
    return x.ctypes.data, x.strides[0], x.strides[1]


def workspace(rows: int, depth: int) -> int:
    """Bytes: a block of the result, one of a factor, and what is split."""
    steps = min(STEPS, -(-depth // DEPTH))
    return 3 * _SMALL + PACKED * (2 * STEPS + steps * -(-min(rows, ROWS) // BLOCK))
