"""What `minibert look` prints: the map of a trace, a tensor's card, the arithmetic of a cell."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from rich.cells import set_cell_size
from rich.text import Text

from ..errors import InputError
from ..gradcheck import Report, Row
from ..ops.xp import Array
from .heat import heat_map
from .registry import AXES, Entry
from .tensors import Tensor, Tensors
from .trace import Trace
from .unfold import Sum, Unfolded

_SECTION = re.compile(r"((?:bert\.)?(?:encoder\.layer\.\d+|embeddings|pooler)|cls\.\w+|loss|[^.]+)")
_HEAD = f"{'':38} {'shape':>12} {'rms':>7} {'‖grad‖':>7} {'check':>9}"


def sections(trace: Tensors) -> dict[str, list[Entry]]:
    """Entries by the part of the model they belong to, in order: activations, then parameters."""
    result: dict[str, list[Entry]] = {}
    for name in trace:
        found = _SECTION.match(name)
        assert found
        result.setdefault(found[1], []).append(trace.entries[name])
    return result


def map_lines(trace: Trace, report: Report, unfolded: Sequence[str]) -> Iterator[Text]:
    """The model as a tree, a line a tensor in the sections that are unfolded, a line for each of the others."""
    rows = {row.name: row for row in report.rows}
    parts = sections(trace)
    yield Text(_HEAD, "dim")
    for number, (name, entries) in enumerate(parts.items()):
        last = number == len(parts) - 1
        yield _section_line(trace, name, entries, rows, "└─ " if last else "├─ ")
        if name in unfolded:
            guide = "   " if last else "│  "
            for k, entry in enumerate(entries):
                branch = "└─ " if k == len(entries) - 1 else "├─ "
                yield _tensor_line(trace, entry, entry.name.removeprefix(f"{name}."), rows[entry.name], guide + branch)


def _section_line(trace: Trace, name: str, entries: list[Entry], rows: Mapping[str, Row], guide: str) -> Text:
    learned = sum(entry.is_parameter for entry in entries)
    counts = [f"{len(entries) - learned} activations"] + [f"{learned} parameters"] * bool(learned)
    line = Text(guide, "dim")
    line.append(name, "bold")
    line.append(f"  {', '.join(counts)}", "dim")
    worst = max((rows[entry.name] for entry in entries), key=lambda row: (not row.ok, row.margin))
    line.append(" " * max(1, len(_HEAD) - 9 - len(line)))
    line.append(*_verdict(worst))
    return line


def _tensor_line(trace: Trace, entry: Entry, name: str, row: Row, guide: str) -> Text:
    values = np.concatenate([part.reshape(-1) for part in trace.parts(entry)])
    finite = values[np.isfinite(values)]  # causal scores are −∞
    rms = math.sqrt(float(np.mean(finite**2))) if finite.size else 0.0
    line = Text(guide, "dim")
    line.append(name, "cyan" if entry.is_parameter else "")
    shape = "×".join(map(str, row.shape if len(trace.parts(entry)) > 1 else trace.parts(entry)[0].shape)) or "scalar"
    line.append(" " * max(1, 51 - len(line) - len(shape)) + shape)
    line.append(f" {rms:7.1e} {row.norm:7.1e} ")
    line.append(*_verdict(row))
    return line


def _verdict(row: Row) -> tuple[str, str]:
    """Error over tolerance, and the style of it."""
    return (f"ok {row.margin:6.0e}", "green") if row.ok else (f"{'WRONG':>9}", "bold red")


def card_lines(
    tensor: Tensor, tokens: list[str] | None, checks: Mapping[str, Row], part: int, width: int, colour: bool
) -> Iterator[Text]:
    """One tensor: what it is, equations, code, numbers, pictures, checks. part: which head of a tensor of all heads."""
    entry = tensor.entry
    yield Text(entry.name, "bold")
    yield Text(f"{entry.meaning}: {_axes(tensor)}")
    for alias in entry.aliases:
        yield Text(f"also {alias}", "dim")
    yield Text()
    for equation, code in (entry.equation, tensor.code), (entry.gradient, tensor.backward_code):
        if equation:
            yield Text(f"  {equation}")
        if code:
            yield Text(f"      {code}   {code.text}", "dim")
    yield from (Text(f"  {line}", "dim") for line in _legend(entry))
    yield Text()
    value, grad = _matrix(tensor.value, part), _matrix(tensor.grad, part)
    which = f", {AXES[entry.axes[0]]} {part}" if len(entry.axes) == 3 else ""
    for what, array in (f"value{which}", value), (f"gradient{which}", grad):
        yield Text(f"{what}: {_numbers(array)}")
        rows, columns = (tokens if axis in ("N", "T", "T′") else None for axis in ("", "", *entry.axes)[-2:])
        yield from heat_map(array, width, colour=colour, rows=rows, columns=columns)
        yield Text()
    for method, row in checks.items():
        line = Text(f"{method:9} error {row.error:.1e}, allowed {row.tolerance:.1e}, ‖gradient‖ {row.norm:.1e}  ")
        line.append(*_verdict(row) if row.ok else (row.verdict, "bold red"))
        yield line


def _legend(entry: Entry) -> Iterator[str]:
    """What the symbols of the equations are, a line each; of the same part of the model without its name."""
    section = _SECTION.match(entry.name)
    prefix = f"{section[1]}." if section else ""
    names = [equation.names() for equation in (entry.forward, entry.backward) if equation]
    for symbol in sorted(set().union(*names) - {entry.symbol, f"d{entry.symbol}"}):
        of = "" if symbol in entry.symbols else "gradient of "
        name = entry.symbols[symbol if symbol in entry.symbols else symbol[1:]]
        if name != symbol:
            yield f"{set_cell_size(symbol, 6)}{of}{name.removeprefix(prefix)}"


def _axes(tensor: Tensor) -> str:
    shape = tensor.shape[0] if isinstance(tensor.shape, list) else tensor.shape
    named = [f"{axis} {size} ({AXES[axis.removesuffix('′')]})" for axis, size in zip(tensor.axes, shape, strict=True)]
    return " × ".join(named) or "a number"


def _matrix(array: Array | list[Array], part: int) -> Array:
    first = array[0] if isinstance(array, list) else array
    if first.ndim == 3 and part >= len(first):
        raise InputError(f"there are {len(first)} of them, 0 to {len(first) - 1}; got {part}")
    return np.atleast_2d(first[part] if first.ndim == 3 else first)


def _numbers(array: Array) -> str:
    finite = array[np.isfinite(array)]
    zeros = f", {np.mean(array == 0):.0%} zeros" if (array == 0).any() else ""
    spread = f"{finite.min():.3g} to {finite.max():.3g}"
    return f"{spread}, mean {finite.mean():.3g}, rms {np.sqrt(np.mean(finite**2)):.3g}{zeros}"


def unfolded_lines(cell: Unfolded, most: int = 12) -> Iterator[Text]:
    """The equation with its numbers, and each sum term by term."""
    what = "gradient of " if cell.gradient else ""
    yield Text(f"{what}{cell.name}[{','.join(map(str, cell.cell))}] = {cell.stored!r}", "bold")
    yield Text(f"  {cell.text}")
    for text, number in cell.parts:
        yield Text(f"    {text} = {number!r}", "dim")
    for one in cell.sums:
        yield from _sum_lines(one, most)
    yield Text(f"  computed {cell.value!r}, stored {cell.stored!r}, difference {cell.value - cell.stored:.1e}")


def _sum_lines(one: Sum, most: int) -> Iterator[Text]:
    yield Text()
    yield Text(f"  {one.text}: {len(one.terms)} terms")
    for term in one.terms[:most]:
        at = ", ".join(f"{letter}={i}" for letter, i in zip(one.letters, term.at, strict=True))
        factors = " · ".join(f"{text} {number:.5g}" for text, number in term.factors)
        yield Text(f"    {at:10} {factors}  = {term.value:.6g}")
    rest = one.terms[most:]
    if rest:
        yield Text(f"    {len(rest)} more, together {sum(term.value for term in rest):.6g}", "dim")
    yield Text(f"    {'=':10} {one.value!r}")
