"""The instructions of AMX, Intel's matrix unit, and what they need around them, for use inside kernels.

A tile is a register of 16 rows of 64 bytes; there are eight. One instruction multiplies 16 × 32 numbers of bfloat16 by
32 × 16 and adds the products to a tile of 16 × 16 float32. The left factor lies by rows. Of the right one two rows are
interleaved: the two numbers that meet a pair of the left one lie side by side.

A float32 has 24 significant bits; a bfloat16 has 8, and the same exponents. So a float32 is exactly the sum of three,
x = x₁ + x₂ + x₃ with |x₂| < 2⁻⁷|x| and |x₃| <= 2⁻¹⁶|x|, and

    x·y = x₁y₁ + x₁y₂ + x₂y₁ + x₁y₃ + x₂y₂ + x₃y₁ + (x₂y₃ + x₃y₂ + x₃y₃)

What is in brackets is left out. It is 2⁻²² of x·y at most, of either sign; one rounding of float32 is up to 2⁻²⁴.

Arguments are addresses, and distances in bytes: views need no copy, and there is one type of everything to compile.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic

TILE = 16  # rows, and float32 in a row
DEPTH = 32  # bfloat16 in a row
BYTES = 1024
BLOCK = 2 * TILE
"""Rows and columns of a block of the result, four tiles; two more are for either factor."""
PACKED = 3 * 2 * BYTES
"""Bytes of BLOCK × DEPTH numbers in parts: the first parts of both tiles, then the second, then the third."""

_I8, _I32, _I64, _F32 = ir.IntType(8), ir.IntType(32), ir.IntType(64), ir.FloatType()
_BYTES = _I8.as_pointer()
_NUMBERS, _BITS = ir.VectorType(_F32, TILE), ir.VectorType(_I32, TILE)


_instruction: Any = intrinsic


def _void(number: int, write: Callable[..., object]) -> Any:
    """What an intrinsic returns that takes so many integers and gives nothing."""

    def generate(context: Any, b: ir.IRBuilder, signature: Any, arguments: Any) -> Any:
        # LLVM would split the vectors, for fear of the lower clock of processors of 2017
        set.add(b.function.attributes, '"prefer-vector-width"="512"')
        set.add(b.function.attributes, '"min-legal-vector-width"="512"')
        write(b, *arguments)
        return context.get_dummy_value()

    return types.void(*(types.int64,) * number), generate


def _call(b: ir.IRBuilder, name: str, *arguments: Any) -> None:
    function = ir.FunctionType(ir.VoidType(), [argument.type for argument in arguments])
    b.call(cgutils.get_or_insert_function(b.module, function, name), arguments)  # type: ignore[no-untyped-call]


def _at(b: ir.IRBuilder, address: Any, step: Any = None, times: int = 0, more: int = 0) -> Any:
    """address + step·times + more"""
    if times:
        address = b.add(address, b.mul(step, ir.Constant(_I64, times)))
    return b.add(address, ir.Constant(_I64, more))


def _load(b: ir.IRBuilder, address: Any, vector: Any = _NUMBERS) -> Any:
    return b.load(b.inttoptr(address, vector.as_pointer()), align=4)


def _store(b: ir.IRBuilder, value: Any, address: Any) -> None:
    b.store(value, b.inttoptr(address, value.type.as_pointer()), align=4)


@_instruction
def configure(typing, description):  # type: ignore[no-untyped-def]
    """Before the first tile is used, in every thread. description: see `DESCRIPTION`."""
    return _void(1, lambda b, description: _call(b, "llvm.x86.ldtilecfg", b.inttoptr(description, _BYTES)))


@_instruction
def release(typing):  # type: ignore[no-untyped-def]
    """After the last: the system need not keep the tiles when it switches threads."""
    return _void(0, lambda b: _call(b, "llvm.x86.tilerelease"))


@_instruction
def clear_block(typing):  # type: ignore[no-untyped-def]
    """The tiles of the sums are zero."""

    def write(b: ir.IRBuilder) -> None:
        for tile in range(4):
            _call(b, "llvm.x86.tilezero", ir.Constant(_I8, tile))

    return _void(0, write)


@_instruction
def store_block(typing, target):  # type: ignore[no-untyped-def]
    """The sums as BLOCK × BLOCK float32."""

    def write(b: ir.IRBuilder, target: Any) -> None:
        for i in range(2):
            for j in range(2):
                address = b.inttoptr(_at(b, target, more=4 * TILE * (BLOCK * i + j)), _BYTES)
                _call(b, "llvm.x86.tilestored64", ir.Constant(_I8, 2 * i + j), address, ir.Constant(_I64, 4 * BLOCK))

    return _void(1, write)


@_instruction
def multiply_block(typing, left, right):  # type: ignore[no-untyped-def]
    """sums += left·right, DEPTH products a sum, from PACKED bytes of each."""
    first_left, first_right = 4, 6  # tiles

    def write(b: ir.IRBuilder, left: Any, right: Any) -> None:
        def fetch(tile: int, packed: Any, part: int) -> None:
            for i in range(2):
                address = b.inttoptr(_at(b, packed, more=(2 * part + i) * BYTES), _BYTES)
                _call(b, "llvm.x86.tileloadd64", ir.Constant(_I8, tile + i), address, ir.Constant(_I64, 64))

        old = -1, -1
        for parts in ((0, 2), (0, 1), (0, 0), (2, 0), (1, 0), (1, 1)):  # from one to the next one factor changes
            if parts[0] != old[0]:
                fetch(first_left, left, parts[0])
            if parts[1] != old[1]:
                fetch(first_right, right, parts[1])
            old = parts
            for i in range(2):
                for j in range(2):
                    tiles = (2 * i + j, first_left + i, first_right + j)
                    _call(b, "llvm.x86.tdpbf16ps", *(ir.Constant(_I8, tile) for tile in tiles))

    return _void(2, write)


def _parts(b: ir.IRBuilder, x: Any) -> list[Any]:
    """Three vectors of bits, each in the upper half: x₁ cut off, so that NaN remains, x₂ rounded, x₃ what is left."""
    upper = ir.Constant(_BITS, [-65536] * TILE)
    first = b.and_(b.bitcast(x, _BITS), upper)
    rest = b.fsub(x, b.bitcast(first, _NUMBERS))
    second = b.and_(b.add(b.bitcast(rest, _BITS), ir.Constant(_BITS, [0x8000] * TILE)), upper)
    third = b.fsub(rest, b.bitcast(second, _NUMBERS))  # its lower half is not zero where it is subnormal
    return [first, second, b.and_(b.bitcast(third, _BITS), upper)]


@_instruction
def split(typing, first, second, target):  # type: ignore[no-untyped-def]
    """TILE numbers at each of two places, interleaved, to one row of three tiles."""

    def write(b: ir.IRBuilder, first: Any, second: Any, target: Any) -> None:
        parts = zip(_parts(b, _load(b, first)), _parts(b, _load(b, second)), strict=True)
        for part, (low, high) in enumerate(parts):
            both = b.or_(b.lshr(low, ir.Constant(_BITS, [16] * TILE)), high)
            _store(b, both, _at(b, target, more=2 * BYTES * part))

    return _void(3, write)


@_instruction
def transpose(typing, source, step, target, target_step):  # type: ignore[no-untyped-def]
    """TILE × TILE numbers; each of the four rounds exchanges halves, quarters, ... of pairs of rows."""

    def write(b: ir.IRBuilder, source: Any, step: Any, target: Any, target_step: Any) -> None:
        rows = [_load(b, _at(b, source, step, i)) for i in range(TILE)]
        for half in (8, 4, 2, 1):
            kept = [i if not i & half else TILE + i - half for i in range(TILE)]
            other = [i + half if not i & half else TILE + i for i in range(TILE)]
            masks = [ir.Constant(_BITS, lanes) for lanes in (kept, other)]
            for i in range(TILE):
                if not i & half:
                    pair = rows[i], rows[i + half]
                    rows[i], rows[i + half] = (b.shuffle_vector(*pair, mask) for mask in masks)
        for i, row in enumerate(rows):
            _store(b, row, _at(b, target, target_step, i))

    return _void(4, write)


@_instruction
def add_vectors(typing, first, second, target):  # type: ignore[no-untyped-def]
    """TILE numbers."""
    return _void(3, lambda b, x, y, target: _store(b, b.fadd(_load(b, x), _load(b, y)), target))


@_instruction
def add_numbers(typing, first, second, target):  # type: ignore[no-untyped-def]
    return _void(3, lambda b, x, y, target: _store(b, b.fadd(_load(b, x, _F32), _load(b, y, _F32)), target))


@_instruction
def copy_number(typing, source, target):  # type: ignore[no-untyped-def]
    return _void(2, lambda b, source, target: _store(b, _load(b, source, _F32), target))
