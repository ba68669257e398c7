"""CRC32C, the checksum over every block and every tensor of a TensorFlow checkpoint.

The bits of a message are the coefficients of a polynomial over {0, 1}; the checksum is its remainder on division by
Castagnoli's polynomial. Bits go in reversed order, lowest first, so that the divisor reads 0x82f63b78, and the register
starts as ones and is inverted at the end, so that leading zeros count. One table look-up takes in a byte:

    crc = TABLE[(crc ^ byte) & 255] ^ (crc >> 8)        TABLE[b] = what remains of b alone

Files hold checksums masked (rotated, and a constant added), because the checksum of bytes that contain their own
checksum would say nothing.
"""

from __future__ import annotations

from collections.abc import Callable

__all__ = ["TABLE", "crc32c", "mask", "unmask"]

POLYNOMIAL = 0x82F63B78
MASK_DELTA = 0xA282EAD8
SMALL = 2**16  # bytes that plain Python takes in about 5 ms, far less than the import of Numba


def _remainder(byte: int) -> int:
    for _ in range(8):
        byte = (byte >> 1) ^ (POLYNOMIAL if byte & 1 else 0)
    return byte


TABLE = tuple(map(_remainder, range(256)))
_kernel: Callable[[int, memoryview], int] | None = None  # the compiled loop, once something large has come


def crc32c(data: bytes | memoryview, crc: int = 0) -> int:
    """The checksum of `data`; or, given the checksum `crc` of what came before, of both together.

    Other threads may run meanwhile. The first large `data` loads the compiled loop, which takes about a second.
    """
    global _kernel
    data = memoryview(data).cast("B")
    if _kernel is None and len(data) > SMALL:
        from .crc32c_kernel import update as _kernel
    if _kernel:
        return _kernel(crc ^ 0xFFFFFFFF, data) ^ 0xFFFFFFFF
    crc ^= 0xFFFFFFFF
    for byte in data:
        crc = TABLE[(crc ^ byte) & 255] ^ (crc >> 8)
    return crc ^ 0xFFFFFFFF


def mask(crc: int) -> int:
    """The checksum as files hold it."""
    return ((crc >> 15 | crc << 17) + MASK_DELTA) & 0xFFFFFFFF


def unmask(masked: int) -> int:
    """The checksum that files hold as `masked`."""
    rotated = (masked - MASK_DELTA) & 0xFFFFFFFF
    return (rotated >> 17 | rotated << 15) & 0xFFFFFFFF
