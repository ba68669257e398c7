"""Heat maps of characters."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from rich.cells import cell_len, set_cell_size
from rich.text import Text

from ..ops.xp import Array

BLUE, WHITE, ORANGE = np.array([33, 102, 172]), np.array([247, 247, 247]), np.array([217, 95, 2])
"""Negative, zero, positive: told apart by people who do not tell red from green."""

SHADES = " .:-=+*#%@"
"""Where there are no colours: how large, whatever the sign."""

WIDEST, LABEL = 6, 12
"""Characters of a cell, and of a row's label, at most."""


def heat_map(
    array: Array,
    width: int = 76,
    height: int = 24,
    colour: bool = True,
    rows: Sequence[str] | None = None,
    columns: Sequence[str] | None = None,
) -> list[Text]:
    """Lines of a picture of a matrix; where it is larger than width × height, a cell is the mean of several.

    Orange is positive, blue negative, white 0; the deepest colour is the largest size of a cell. Without colours a
    character says how large. rows, columns: their labels, left out where several are one cell.
    """
    labels = list(rows) if rows and array.shape[0] <= height else [""] * min(array.shape[0], height)
    margin = min(max(map(cell_len, labels), default=0), LABEL)
    room = width - margin - 1
    cells = _reduced(array, height, room)
    wide = max(1, min(WIDEST, room // cells.shape[1]))
    cells = _scaled(cells)
    lines = []
    if columns and array.shape[1] == cells.shape[1] and wide > 2:
        lines.append(Text(" " * (margin + 1) + "".join(set_cell_size(c, wide - 1) + " " for c in columns), "dim"))
    for label, row in zip(labels, cells, strict=True):
        line = Text(set_cell_size(label, margin) + " ", "dim")
        for cell in row:
            if colour:
                line.append(" " * wide, f"on {_colour(float(cell))}")
            else:
                line.append(SHADES[round(abs(float(cell)) * (len(SHADES) - 1))] * max(1, wide - 1) + " " * (wide > 1))
        line.rstrip() if not colour else None
        lines.append(line)
    return lines


def coloured(array: Array, height: int, width: int) -> Array:
    """The same picture as red, green and blue, (height, width, 3) uint8, or less where the matrix is smaller."""
    return _rgb(_scaled(_reduced(array, height, width)))


def _colour(cell: float) -> str:
    return "#{:02x}{:02x}{:02x}".format(*_rgb(np.asarray(cell)))


def _rgb(cells: Array) -> Array:
    cells = cells[..., None]
    return (WHITE + np.abs(cells) * (np.where(cells > 0, ORANGE, BLUE) - WHITE)).astype(np.uint8)


def _scaled(cells: Array) -> Array:
    """Over the largest, from -1 to 1; 0 where they are not finite."""
    largest = float(np.abs(cells[np.isfinite(cells)]).max(initial=0.0))
    return np.nan_to_num(cells / largest if largest else cells, nan=0.0, neginf=0.0, posinf=0.0)


def _reduced(array: Array, height: int, width: int) -> Array:
    """Means over blocks of cells, as large as it takes."""
    for axis, most in ((0, height), (1, width)):
        size = array.shape[axis]
        if size > most:
            edges = np.linspace(0, size, most + 1).astype(int)
            sizes = np.expand_dims(np.diff(edges), 1 - axis)
            array = np.add.reduceat(array, edges[:-1], axis=axis) / sizes
    return array
