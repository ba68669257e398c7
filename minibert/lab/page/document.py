"""What the page's script reads: tensors, equations, symbols, statistics, checks, where the numbers are."""

from __future__ import annotations

import functools
import importlib
import inspect
import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from ...gradcheck import Report, Row
from ...ops.xp import Array
from ..equations import Equation
from ..registry import AXES, Entry
from ..symbols import Symbols
from ..taps import Line
from .blocks import LARGEST, Blocks, Part, Plan, stored_gradients, stored_parts
from .mathml import mathml, symbol

AROUND = 3  # lines of source shown above and below the one that computes a tensor


class Summaries:
    """Statistics and largest cells of each tensor, [of the value, of the gradient or None], computed once."""

    def __init__(self, trace: Any) -> None:
        def both(function: Callable[[list[Array]], Any], name: str) -> list[Any]:
            entry = trace.entries[name]
            gradient = function(trace.gradient_parts(entry)) if trace.has_gradient(entry) else None
            return [function(trace.parts(entry)), gradient]

        self.statistics = functools.cache(functools.partial(both, statistics))
        self.largest = functools.cache(functools.partial(both, largest_cells))


class Document:
    """Collects what the tensors share, so that each is written once."""

    def __init__(
        self, trace: Any, plan: Plan, seen: Mapping[str, list[int]], blocks: Blocks, summaries: Summaries
    ) -> None:
        self.trace, self.plan, self.seen, self.blocks, self.summaries = trace, plan, seen, blocks, summaries
        self.equations: dict[str, int] = {}
        self.equation_list: list[dict[str, Any]] = []
        self.rooms: dict[int, int] = {}
        self.room_list: list[dict[str, str]] = []
        self.given: dict[str, Any] = {}
        self.sources: dict[str, dict[int, str]] = {}

    def equation(self, text: str) -> int | None:
        """The number of an equation."""
        if not text:
            return None
        if text not in self.equations:
            equation = Equation(text)
            self.equations[text] = len(self.equation_list)
            self.equation_list.append(
                {"text": text, "name": equation.name, "indices": equation.indices, "right": equation.right,
                 "mathml": mathml(equation)}
            )  # fmt: skip
        return self.equations[text]

    def tensor(self, entry: Entry, block: str, step: Row | None, whole: Row | None) -> dict[str, Any]:
        """All that the card of a tensor shows, its numbers apart."""
        trace = self.trace
        values = trace.parts(entry)
        present, half = entry.name not in self.plan.absent, entry.name in self.plan.half
        result = {
            "name": entry.name, "symbol": entry.symbol, "mathml": symbol(entry.symbol), "meaning": entry.meaning,
            "axes": entry.axes, "parameter": entry.is_parameter, "room": self.room(entry), "block": block,
            "shapes": [x.shape for x in values], "aliases": entry.aliases,
            "forward": self.equation(entry.equation), "backward": self.equation(entry.gradient),
            "code": self.line(entry.line), "backcode": self.line(entry.gradient_line),
            "stats": self.summaries.statistics(entry.name),
            "check": [row and [row.norm, row.error, row.tolerance, row.verdict] for row in (step, whole)],
        }  # fmt: skip
        if present:
            stored = stored_parts(trace, entry, self.seen), stored_gradients(trace, entry, self.seen)
            for key, parts in zip(("value", "grad"), stored, strict=True):
                if parts:
                    result[key] = [self.blocks.add(part, half) for part in parts]
        if "value" not in result or "grad" not in result:
            largest = self.summaries.largest(entry.name)
            result["largest"] = [None if kind in result else largest[k] for k, kind in enumerate(("value", "grad"))]
        return result

    def room(self, entry: Entry) -> int:
        """The number of the symbols that an entry's equations share; what is no tensor among them is filed."""
        symbols = entry.symbols
        if id(symbols) not in self.rooms:
            self.rooms[id(symbols)] = len(self.room_list)
            self.room_list.append(dict(symbols))
        for equation in (entry.forward, entry.backward):
            for name in equation.names() if equation else ():
                where = symbols.get(name)
                if where and where not in self.trace.entries and where not in self.given:
                    self.given[where] = self._given(entry, name)
        return self.rooms[id(symbols)]

    def _given(self, entry: Entry, name: str) -> Any:
        """An input or a constant: a number, or arrays, one a sequence where the tensor is of one."""
        sequences = len(self.trace.parts(entry)) if "T" in entry.axes else 1
        found = [Symbols(self.trace, entry, k)[name] for k in range(sequences)]
        if np.ndim(found[0]) == 0:
            return float(found[0])
        arrays = [np.asarray(x) for x in found]
        if all(x.dtype.kind in "iu" or x.size <= 64 for x in arrays) and all(np.isfinite(x).all() for x in arrays):
            return [{"numbers": x.reshape(-1).tolist(), "shape": x.shape} for x in arrays]
        return [self.blocks.add(Part(x, x.shape), half=False) for x in arrays]

    def line(self, line: Line | None) -> list[Any] | None:
        """File and number; the lines around it are filed."""
        if line is None:
            return None
        lines = _source(line.file)
        shown = self.sources.setdefault(line.file, {})
        for number in range(max(1, line.number - AROUND), min(len(lines), line.number + AROUND) + 1):
            shown[number] = lines[number - 1]
        return [line.file, line.number]


@functools.cache
def _source(file: str) -> list[str]:
    module = importlib.import_module(file.removesuffix(".py").replace("/", "."))
    return inspect.getsource(module).splitlines()


def statistics(parts: list[Array]) -> dict[str, float]:
    """Of all parts together, over finite numbers."""
    flat = np.concatenate([np.asarray(x).reshape(-1) for x in parts]) if len(parts) > 1 else np.reshape(parts[0], -1)
    size = flat.size
    if not np.isfinite(flat.sum()):
        flat = flat[np.isfinite(flat)]
    if not flat.size:
        flat = np.zeros(1)
    square = float(np.vdot(flat, flat))
    return {
        "min": float(flat.min()), "max": float(flat.max()), "mean": float(flat.mean()),
        "rms": math.sqrt(square / flat.size), "norm": math.sqrt(square), "size": size,
        "zeros": flat.size - int(np.count_nonzero(flat)),
    }  # fmt: skip


def largest_cells(parts: list[Array]) -> list[list[Any]]:
    """[part, index, number] of the largest by amount: what is left where the numbers themselves are not stored."""
    found = []
    for k, x in enumerate(parts):
        flat = np.abs(x).reshape(-1)
        top = np.argpartition(-flat, min(LARGEST, flat.size) - 1)[:LARGEST]
        found += [(float(flat[at]), k, [int(i) for i in np.unravel_index(at, np.shape(x))]) for at in top.tolist()]
    found = sorted(found, key=lambda cell: -cell[0])[:LARGEST]
    return [[k, index, float(np.asarray(parts[k])[tuple(index)])] for _, k, index in found]


def rows_by_name(report: Report | None) -> dict[str, Row]:
    """The rows of a report, if there is one."""
    return {row.name: row for row in report.rows} if report else {}


def axis_words(entry: Entry) -> list[str]:
    """The axes in words."""
    return [AXES[axis.removesuffix("′")] + (" attended to" if axis.endswith("′") else "") for axis in entry.axes]
