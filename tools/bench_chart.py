"""Draw what `bench.py cpu --json` wrote: a group of bars a row, minibert against the best way of each peer.

    python tools/bench_chart.py bench.json bench.png

Needs matplotlib (extra `plot`). Every row has a scale of its own: its slowest contender fills the width.
A star marks what other processes disturbed.
"""

import argparse
import json
import sys
from pathlib import Path

from bench_report import best_of, disturbed, duration
from bench_rows import OURS

COLOURS = {
    OURS: "#c2410c",
    "onnxruntime": "#64748b",
    "torch": "#94a3b8",
    "sentence-transformers": "#94a3b8",
}
NAMES = {"onnxruntime": "ONNX Runtime", "torch": "PyTorch"}
INK, FAINT = "#1e293b", "#64748b"


def bars_of(row):
    """[(library, what of it, numbers)], minibert first."""
    found = [(OURS, "", row["sides"][OURS])] if OURS in row["sides"] else []
    for library in COLOURS:
        best = best_of(row, library) if library != OURS else None
        if best:
            found.append((library, best[0].removeprefix(library).strip(", "), best[1]))
    return found


def draw(content, path):
    try:
        from matplotlib.figure import Figure
    except ModuleNotFoundError:
        sys.exit("the chart needs matplotlib: pip install 'minibert-numpy[plot]'")
    rows = [(row["title"], bars_of(row)) for row in content["rows"].values() if row["sides"]]
    height = 0.95 + sum(0.5 + 0.27 * len(bars) for _, bars in rows)
    figure = Figure(figsize=(10, height), dpi=100, facecolor="white")
    axes = figure.add_axes((0.2, 0.3 / height, 0.5, 1 - 1.0 / height))
    y = 0.0
    for title, bars in rows:
        slowest = max(one["median"] for *_, one in bars)
        axes.text(-0.376, y, title, fontsize=11, color=INK, weight="bold", va="center")
        y -= 0.33
        for library, way, one in bars:
            ours = library == OURS
            width = one["median"] / slowest
            axes.barh(y, width, height=0.2, color=COLOURS[library])
            name = NAMES.get(library, library) + " *" * disturbed(one)
            style = {"fontsize": 10, "va": "center", "color": INK if ours else FAINT}
            axes.text(-0.012, y, name, ha="right", weight="bold" if ours else "normal", **style)
            ratio = "" if ours or "ratio" not in one else f"   {one['ratio']:.2f} ×"
            label = duration(one["median"]) + ratio + (f"   ({way})" if way else "")
            axes.text(width + 0.01, y, label, weight="bold" if ours else "normal", **style)
            y -= 0.27
        y -= 0.17
    axes.set(xlim=(0, 1), ylim=(y + 0.25, 0.25))
    axes.axis("off")
    about = content["machine"]
    said = f"float32, {about['cores']} cores of {about['processor']}; medians; × is peer / minibert, best way of each"
    versions = ", ".join(f"{name} {number}" for name, number in about["versions"].items() if number)
    left = 0.012
    figure.text(left, 1 - 0.26 / height, "Time on a CPU: shorter is better", fontsize=14, weight="bold", color=INK)
    figure.text(left, 1 - 0.5 / height, said, fontsize=9, color=FAINT)
    figure.text(left, 0.12 / height, f"{versions}; {about['date']}", fontsize=8, color=FAINT)
    figure.savefig(path)


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("json", type=Path)
    parser.add_argument("png", type=Path)
    args = parser.parse_args()
    draw(json.loads(args.json.read_text(encoding="utf-8")), args.png)


if __name__ == "__main__":
    main()
