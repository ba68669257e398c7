"""CRC32C, the checksum over every block and every tensor of a TensorFlow checkpoint, and how files hold it.

The bits of a message are the coefficients of a polynomial over {0, 1}; the checksum is its remainder on division by
Castagnoli's polynomial. Processors have an instruction for it, which the library crc32c uses; other threads may run
meanwhile. `crc32c(data, crc)` continues the checksum of what came before.

Files hold checksums masked (rotated, and a constant added), because the checksum of bytes that contain their own
checksum would say nothing.
"""

from __future__ import annotations

from crc32c import crc32c

__all__ = ["crc32c", "mask", "unmask"]

MASK_DELTA = 0xA282EAD8


def mask(crc: int) -> int:
    """The checksum as files hold it."""
    return ((crc >> 15 | crc << 17) + MASK_DELTA) & 0xFFFFFFFF


def unmask(masked: int) -> int:
    """The checksum that files hold as `masked`."""
    rotated = (masked - MASK_DELTA) & 0xFFFFFFFF
    return (rotated >> 17 | rotated << 15) & 0xFFFFFFFF
