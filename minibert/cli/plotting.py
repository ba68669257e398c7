"""What runs have measured, drawn over steps: in the terminal, or on paper with matplotlib (extra `plot`)."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ..errors import LoadError, NotFound
from ..formats.jsonfile import read_json
from ..gradcheck.drawing import COLOURS, grid
from ..ops.xp import Array
from ..training.runs import read_metrics

MARKS = "abcdefghijklmnopqrstuvwxyz"
WIDTH, LEFT = 79, 10
PALETTE = ["#0072B2", "#D55E00", "#009E73", "#CC79A7", *sorted({*COLOURS.values()} - {"#0072B2", "#D55E00", "#009E73"})]
"""Okabe & Ito's, which colour-blind readers can tell apart, the most different ones first."""

INK, FAINT = "#1e293b", "#64748b"


class Measured(NamedTuple):
    """A run's records."""

    name: str
    steps: int | None  # in all, where run.json says so
    records: list[dict[str, Any]]

    def line(self, key: str) -> tuple[Array, Array]:
        """Steps at which something was measured, and the numbers; what was not finite is left out."""
        found = [(r["step"], r[key]) for r in self.records if isinstance(r.get(key), (int, float))]
        points = np.array(found, float).reshape(-1, 2)
        points = points[np.isfinite(points).all(axis=1)]
        return points[:, 0], points[:, 1]

    def skipped(self) -> list[int]:
        return [r["step"] for r in self.records if "skipped" in r]


def read_runs(folders: Sequence[str | os.PathLike[str]]) -> list[Measured]:
    """The records of runs, which may still be going on: of a last line only half may be written.

    NotFound where there is no run, LoadError where it has measured nothing yet.
    """
    names = [Path(folder).resolve().name for folder in folders]
    return [
        _read(Path(folder), name if names.count(name) == 1 else str(folder))
        for folder, name in zip(folders, names, strict=True)
    ]


def _read(folder: Path, name: str) -> Measured:
    path, about = folder / "metrics.jsonl", folder / "run.json"
    if not path.is_file() and not about.is_file():
        raise NotFound(f"{folder}: expected the folder of a run, with metrics.jsonl in it")
    records = read_metrics(path, torn=True) if path.is_file() else []
    if not records:
        raise LoadError(f"{folder}: the run has measured nothing yet", "it writes a record every --log-every steps")
    settings = read_json(about).get("settings") if about.is_file() else None
    steps = settings.get("steps") if isinstance(settings, dict) else None
    return Measured(name, steps if isinstance(steps, int) else None, records)


class Panel(NamedTuple):
    """Quantities that share an axis: {key: what to call it}."""

    title: str
    keys: dict[str, str]
    rows: int  # in the terminal


def panels(runs: Sequence[Measured]) -> list[Panel]:
    """What there is to be drawn."""
    keys = dict.fromkeys(key for run in runs for record in run.records for key in record)
    scores = {k: k.removeprefix("dev_").replace("_", " ") for k in keys if k.startswith("dev_")}
    held_out = {"dev_loss": "evaluation"} if scores.pop("dev_loss", None) else {}
    scores.pop("dev_perplexity", None)  # the loss again
    together = [Panel(" and ".join(scores.values()), scores, 8)]
    apart = [Panel(name, {key: name}, 6) for key, name in scores.items()]
    all_of_them = [
        Panel("loss", {"loss": "training", **held_out}, 14),
        *(together if len(runs) == 1 and len(scores) == 2 else apart),
        Panel("norm of the gradient", {"norm": "norm"}, 6),
        Panel("learning rate", {"lr": "rate"}, 5),
    ]
    found = [p for p in all_of_them if any(run.line(key)[0].size for run in runs for key in p.keys)]
    if not found:
        raise LoadError(f"{runs[0].name}: nothing has been measured that could be drawn", "all steps were skipped")
    return found


def smooth(y: Array) -> Array:
    """The mean of each number and its neighbours, a twentieth of them all. At the beginning, where curves fall, as few
    before as after; at the end those before."""
    total = np.concatenate([[0.0], np.cumsum(y)])
    i = np.arange(len(y))
    before = np.minimum(len(y) // 40, i)
    after = np.minimum(before, len(y) - 1 - i)
    result: Array = (total[i + after + 1] - total[i - before]) / (before + after + 1)
    return result


def _calm(key: str, y: Array) -> Array:
    """Smoothed, but for the learning rate, which has no noise, and a peak."""
    return y if key == "lr" else smooth(y)


def _wide(panel: Panel, values: Array) -> bool:
    """Does it take logarithms to see all of it? Rates begin and end at 0, and are straight lines."""
    return "lr" not in panel.keys and bool(values.min() > 0 and values.max() > 20 * values.min())


# ---- in the terminal -------------------------------------------------------------------------------------------------


def terminal(runs: Sequence[Measured]) -> str:
    """80 columns: a panel a quantity. One run's curve is drawn with •, those of several with letters, evaluations with
    ◆ or capitals."""
    last = max(1, *(record["step"] for run in runs for record in run.records))
    text = [_heading(run, MARKS[i % 26] if len(runs) > 1 else "") for i, run in enumerate(runs)]
    for panel in panels(runs):
        text += ["", *_drawn(panel, runs, last)]
    return "\n".join(text)


def _heading(run: Measured, mark: str) -> str:
    step = max(record["step"] for record in run.records)
    parts = [f"{run.name}: step {step:,}" + (f" of {run.steps:,}" if run.steps else "")]
    for key, name in {"loss": "loss", "dev_loss": "evaluated"}.items():
        y = run.line(key)[1]
        parts += [f"{name} {y[-1]:.3f}"] if y.size else []
    if skipped := len(run.skipped()):
        parts.append(f"{skipped} skipped")
    return f"{mark}  " * bool(mark) + ", ".join(parts)


def _drawn(panel: Panel, runs: Sequence[Measured], last: int) -> list[str]:
    names: list[str] = []
    curves: list[tuple[str, Array, Array]] = []
    for i, run in enumerate(runs):
        for key, name in panel.keys.items():
            x, y = run.line(key)
            evaluated = key.startswith("dev_")
            mark = "◇" if evaluated and panel.keys.keys() - {key, "loss"} and curves else "◆" if evaluated else "•"
            if len(runs) > 1:
                mark = MARKS[i % 26].upper() if evaluated else MARKS[i % 26]
            names.append(f"{mark} {name}")
            # Evaluations are seen where they meet the other curve.
            curves.insert(
                0 if evaluated else len(curves), (mark, *((x, y) if evaluated else _filled(x, _calm(key, y), last)))
            )
    values = np.concatenate([y for _, _, y in curves])
    log = _wide(panel, values)
    values = np.log10(values) if log else values
    low, high = 0.0 if "lr" in panel.keys else float(values.min()), float(values.max())
    if low == high:
        low, high = low - (abs(low) or 1.0), high + (abs(high) or 1.0)
    span = high - low
    ticks = _decades(low, high) if log else _ticks(low, high, panel.rows // 2)
    points = [(mark, x / last, ((np.log10(y) if log else y) - low) / span) for mark, x, y in curves]
    labels = {round((high - tick) / span * (panel.rows - 1)): tick for tick in ticks}
    several = len(runs) == 1 and len(panel.keys) > 1
    text = [f"{'loss' if 'loss' in panel.keys else 'evaluations'}   {'   '.join(names)}" if several else panel.title]
    for row, line in enumerate(grid(points, WIDTH - LEFT, panel.rows)):
        label = (f"{10 ** labels[row]:.3g}" if log else f"{labels[row]:.6g}") if row in labels else ""
        text.append(f"{label:>{LEFT - 2}} │{line}".rstrip())
    text.append(" " * (LEFT - 2) + " └" + "─" * (WIDTH - LEFT))
    end, middle = f"{last:,}", f"{last / 2:,.0f}"
    return [*text, f"{'':{LEFT}}0{middle:^{WIDTH - LEFT - 1}}"[: WIDTH - len(end)] + end]


def _ticks(low: float, high: float, most: int) -> list[float]:
    """Round numbers between the two."""
    rough = (high - low) / most
    scale = 10.0 ** math.floor(math.log10(rough))
    gap = next(scale * number for number in (1, 2, 2.5, 5, 10) if scale * number >= 0.999 * rough)
    return [gap * i for i in range(math.ceil(low / gap - 1e-9), math.floor(high / gap + 1e-9) + 1)]


def _decades(low: float, high: float) -> list[float]:
    """The logarithms of 1, 10, 100 and so on between the two, and of 2 and 5 if these are few."""
    numbers = (1, 2, 5) if high - low < 3 else (1,)
    found = (math.log10(n) + e for e in range(math.floor(low), math.ceil(high) + 1) for n in numbers)
    return [tick for tick in found if low - 1e-9 <= tick <= high + 1e-9]


def _filled(x: Array, y: Array, last: int) -> tuple[Array, Array]:
    """Points in every column: the line between those that were measured."""
    if x.size < 2:
        return x, y
    at = np.linspace(x[0], x[-1], max(2, round((x[-1] - x[0]) / max(last, 1) * 2 * WIDTH)))
    return at, np.interp(at, x, y)


# ---- on paper --------------------------------------------------------------------------------------------------------


def save(runs: Sequence[Measured], path: str | os.PathLike[str]) -> None:
    """The same as a picture: the curve smoothed, and faintly as it was measured; evaluations as points."""
    picture(runs).savefig(path, format="png")


def picture(runs: Sequence[Measured]) -> Any:
    """-> matplotlib's Figure. ImportError without matplotlib."""
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
        from matplotlib.lines import Line2D
    except ImportError:
        raise ImportError("a picture needs matplotlib: pip install 'minibert-numpy[plot]'") from None

    drawn = panels(runs)
    heights = [panel.rows for panel in drawn]
    figure = Figure(figsize=(9, 0.9 + sum(heights) * 0.235), dpi=160, facecolor="white", layout="constrained")
    FigureCanvasAgg(figure)
    all_axes = figure.subplots(len(drawn), sharex=True, squeeze=False, height_ratios=heights)[:, 0]
    for panel, axes in zip(drawn, all_axes, strict=True):
        _paint(axes, panel, runs)
    all_axes[-1].set_xlabel("step", color=FAINT)
    all_axes[-1].xaxis.set_major_formatter(lambda step, _: f"{step:,.0f}")
    all_axes[0].set_xlim(0, None)
    if len(runs) == 1:
        figure.suptitle(_heading(runs[0], ""), x=0.01, ha="left", fontsize=9.5, color=FAINT)
    else:
        lines = [Line2D([], [], lw=1.7, marker="o", ms=4.5, mec="white", mew=0.8, **_look(i)) for i in range(len(runs))]
        figure.legend(lines, [_heading(run, "") for run in runs], loc="outside upper left", frameon=False,
                      fontsize=9.5, labelcolor=FAINT, ncols=1 if len(runs) < 6 else 2)  # fmt: skip
    return figure


def _look(i: int) -> dict[str, Any]:
    """How the i-th of several runs is drawn: those of one colour differ in their dashes."""
    return {"color": PALETTE[i % len(PALETTE)], "ls": ("-", (0, (4, 1.5)), (0, (1, 1)))[i // len(PALETTE) % 3]}


def _paint(axes: Any, panel: Panel, runs: Sequence[Measured]) -> None:
    values = []
    for i, run in enumerate(runs):
        for n, (key, name) in enumerate(panel.keys.items()):
            x, y = run.line(key)
            if not x.size:
                continue
            values.append(y)
            look = {"label": name, **_look(i if len(runs) > 1 else n)}
            if key.startswith("dev_"):
                marker = "o" if len(runs) > 1 else "osD^v"[n % 5]
                axes.plot(x, y, lw=1.2, zorder=4, marker=marker, ms=4.5, mec="white", mew=0.8, **look)
                continue
            calm = _calm(key, y)
            if not np.array_equal(calm, y):
                axes.plot(x, y, color=look["color"], lw=0.8, alpha=0.28)
            axes.plot(x, calm, lw=1.7, zorder=3, marker="o" if x.size == 1 else None, **look)
        if panel.keys.keys() == {"norm"} and (skipped := run.skipped()):
            axes.plot(skipped, [0.06] * len(skipped), "x", ms=6, mew=1.6, color=INK, zorder=5, clip_on=False,
                      label="skipped", transform=axes.get_xaxis_transform())  # fmt: skip
    if _wide(panel, np.concatenate(values)):
        axes.set_yscale("log")
        axes.yaxis.set_major_formatter(lambda y, _: f"{y:g}")
        axes.minorticks_off()
    if "lr" in panel.keys:
        axes.set_ylim(0, None)
        axes.yaxis.set_major_formatter(lambda y, _: f"{y:g}")
    evaluated = " (points: evaluations)" * (len(runs) > 1 and "dev_loss" in panel.keys)
    axes.set_title(panel.title + evaluated, loc="left", fontsize=10.5, color=INK, fontweight="bold")
    if len(runs) == 1 and len(axes.get_legend_handles_labels()[0]) > 1:
        axes.legend(frameon=False, fontsize=8.5, labelcolor=INK, ncols=3 if panel.rows < 10 else 1)
    axes.grid(True, which="major", color="#e4e4e4", lw=0.7)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color("#b8c0cc")
    axes.tick_params(which="both", length=0, labelcolor=FAINT, labelsize=8.5)
