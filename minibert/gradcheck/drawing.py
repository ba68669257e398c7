"""A curve of errors against steps, drawn: in the terminal with letters, on paper with matplotlib (extra `plot`)."""

from __future__ import annotations

import math
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from .curve import Curve, Line

Array = Any

LETTERS = {"forward": "f", "central": "c", "Richardson 4": "4", "Richardson 6": "6", "complex step": "i"}
LOWEST = -17  # the exponent of what is drawn as no error at all: it is below the last place of 1

# Okabe & Ito's palette, which colour-blind readers can tell apart; the darker ones.
COLOURS = {
    "forward": "#D55E00",
    "central": "#E69F00",
    "Richardson 4": "#009E73",
    "Richardson 6": "#0072B2",
    "complex step": "#000000",
}


def terminal(curve: Curve) -> str:
    """Log-log, a letter a method, 80 columns; the table below it holds what was predicted and what was found."""
    left, width = 7, 72
    x_high, x_low = (math.log10(float(h)) for h in (curve.steps[0], curve.steps[-1]))
    shown = [_shown(line) for line in curve.lines]
    top = max(1, math.ceil(max(float(e.max()) for e in shown)))
    x = (x_high - np.log10(np.asarray(curve.steps, float))) / max(x_high - x_low, 1e-9)
    points = [
        (LETTERS[line.name], x, (y - LOWEST) / (top - LOWEST)) for line, y in zip(curve.lines, shown, strict=True)
    ]
    lines = ["relative error of the derivative"]
    for row, cells in enumerate(grid(points, width, top - LOWEST + 1)):
        exponent = top - row
        label = ("0" if exponent == LOWEST else f"1e{exponent}") if exponent % 2 == 0 or exponent == LOWEST else ""
        lines.append(f"{label:>{left - 2}} |{cells}".rstrip())
    lines.append(" " * (left - 2) + " +" + "-" * width)
    ticks = [" "] * (width + 8)
    for exponent in range(math.floor(x_high), math.ceil(x_low) - 1, -2):
        column = round((x_high - exponent) / max(x_high - x_low, 1e-9) * (width - 1))
        ticks[column : column + 5] = f"1e{exponent}".ljust(5)
    lines.append((" " * left + "".join(ticks)).rstrip()[:79] + "\n" + " " * left + "step h")
    lines.append("")
    lines.append(f"  {'':14} {'slope':>6} {'best step':>10} {'error there':>12} {'smallest found':>15}")
    for line in curve.lines:
        name = f"{LETTERS[line.name]} {line.name}"
        smallest = float(np.nanmin(line.errors))
        step = "any tiny" if line.best_step == 0 else _or_dash(line.best_step)
        slope = "-" if math.isnan(line.slope) else f"{line.slope:.2f}"
        lines.append(f"  {name:14} {slope:>6} {step:>10} {_or_dash(line.best_error):>12} {smallest:15.1e}")
    lines.append(f"  noise of f: {curve.noise:.1e}; best step and the error there are predicted from it")
    lines.append(f"  truth: {'complex step' if curve.analytic else 'Richardson at its best step: f is not analytic'}")
    return "\n".join(lines)


def grid(curves: Iterable[tuple[str, Array, Array]], columns: int, rows: int) -> list[str]:
    """Lines of characters: each curve's own at its points, x from 0, left, to 1, y from 0, at the bottom, to 1. Where
    two curves meet, the first is seen."""
    cells = [[" "] * columns for _ in range(rows)]
    for mark, x, y in curves:
        for right, up in zip(np.rint(x * (columns - 1)), np.rint(y * (rows - 1)), strict=True):
            row, column = rows - 1 - int(up), int(right)
            cells[row][column] = mark if cells[row][column] == " " else cells[row][column]
    return ["".join(line) for line in cells]


def save(curve: Curve, path: str | Path) -> None:
    """The same as a picture: a line a method, named at the line, its predicted best step as a ring."""
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError:
        raise ImportError(
            "Curve.save needs matplotlib: pip install 'minibert-numpy[plot]'; print(curve) does not"
        ) from None

    figure = Figure(figsize=(8, 5), dpi=160, facecolor="white")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    for line in sorted(curve.lines, key=lambda line: line.best_step > 0):  # the complex step lies below the central one
        colour, y = COLOURS[line.name], 10.0 ** _shown(line)
        axes.plot(curve.steps, y, "o-", color=colour, lw=1.4, ms=3.2, markeredgewidth=0)
        if line.best_step > 0:
            axes.plot(line.best_step, line.best_error, "o", ms=11, mfc="none", mec=colour, mew=1.6)
        _label(axes, curve, line)
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlim(float(curve.steps[0]) * 2, float(curve.steps[-1]) / 2)  # small steps to the right, as time goes
    axes.set_ylim(10.0 ** (LOWEST - 0.5), None)
    axes.axhspan(10.0 ** (LOWEST - 0.5), 10.0**-15.95, color="#f0f0f0", zorder=0, lw=0)
    axes.text(float(curve.steps[0]), 10.0**-16.85, "below the last place of the result", fontsize=8, color="#666666")
    axes.set_xlabel("step h")
    axes.set_title("Relative error of the derivative", loc="left", fontsize=12)
    axes.text(1, 1.025, f"noise of f: {curve.noise:.1e}    ○ predicted best step", transform=axes.transAxes, ha="right",
              fontsize=8.5, color="#444444")  # fmt: skip
    axes.grid(True, which="major", color="#e4e4e4", lw=0.7)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(which="both", length=0)
    axes.minorticks_off()
    figure.tight_layout()
    figure.savefig(path)


def _label(axes: Any, curve: Curve, line: Line) -> None:
    """Its name where the line is likely to be alone: falling, below its best step, or above its flat end."""
    exponents = _shown(line)
    low = int(np.argmin(exponents))
    middle = int(np.argmin(np.abs(exponents[: low + 1] - (float(exponents[0]) + float(exponents[low])) / 2)))
    at, offset, side = (float(curve.steps[middle]), 10.0 ** float(exponents[middle])), (6, 4), "left"
    if line.name == "complex step":
        at, offset, side = (float(curve.steps[-1]), 10.0 ** float(exponents[-8:].max())), (0, 8), "right"
    elif line.order > 2 and line.best_step > 0:
        at, offset, side = (line.best_step, line.best_error), (0, -20), "center" if line.order == 6 else "left"
    text = {"color": COLOURS[line.name], "fontsize": 9.5, "fontweight": "bold", "ha": side}
    axes.annotate(line.name, at, xytext=offset, textcoords="offset points", **text)


def _shown(line: Line) -> Array:
    """log10 of the errors: 0 and less than can be seen at LOWEST, what is not finite at the top of the rest."""
    with np.errstate(divide="ignore", invalid="ignore"):
        exponents = np.log10(line.errors)
    finite = exponents[np.isfinite(exponents)]
    top = float(finite.max()) if finite.size else 0.0
    return np.clip(np.nan_to_num(exponents, nan=top, posinf=top, neginf=LOWEST), LOWEST, None)


def _or_dash(value: float) -> str:
    return "-" if math.isnan(value) else f"{value:.1e}"
