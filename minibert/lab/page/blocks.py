"""Numbers in the file: each array a block of base64, which the page decodes when it is first looked at.

What does not fit is left out in a fixed order, and the page says what was:

    0   every number in float32
    1   activations and gradients of the layers between the first and the last in float16
    2   weight matrices: those of the first layer, of the last, of heads, in this order, as long as each fits; no others
    3   of the layers in between only statistics and the 20 largest cells
"""

from __future__ import annotations

import base64
import math
import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from ...errors import InputError
from ...ops.xp import Array
from ..registry import Entry
from ..tensors import Tensors

WHOLE = 2**16  # a table or the logits of this many numbers are stored whole; larger ones where the text asks
TOP_LOGITS = 50
LARGEST = 20
STEPS = (
    "All numbers are stored in float32.",
    "All numbers are stored, in float32 at both ends of the model and in float16 between the first layer and the last.",
    "Activations and gradients are all stored, in float32 at both ends of the model and in float16 between the first "
    "layer and the last; weight matrices as far as they fit: the first layer's, the last one's, the heads'.",
    "Activations and gradients are stored in float32 at both ends of the model; of the layers in between there are "
    "statistics and the 20 largest cells. Weight matrices are stored as far as they fit: the first layer's, the last "
    "one's, the heads'.",
)


class PageTooLarge(InputError):
    """More than was allowed. shorter: a text that would fit, in words, or nothing; megabytes: what this one takes."""

    def __init__(self, message: str, shorter: str, megabytes: float) -> None:
        self.shorter, self.megabytes = shorter, megabytes
        super().__init__(message, f"{shorter}max_mb={megabytes:g}")


class Part(NamedTuple):
    """An array, or the rows or columns of it that are stored."""

    array: Array
    shape: tuple[int, ...]  # of the whole
    rows: list[int] | None = None
    columns: list[int] | None = None


class Plan(NamedTuple):
    """What is stored, and how."""

    step: int
    half: frozenset[str]  # names of tensors in float16
    absent: frozenset[str]  # names of tensors whose numbers are left out
    characters: int


class Blocks:
    """Base64 texts by number."""

    def __init__(self) -> None:
        self.texts: list[str] = []

    def add(self, part: Part, half: bool) -> dict[str, Any]:
        """Files the array -> where the page finds it. float16 is of the array over its largest number."""
        array = np.asarray(part.array, np.float64)
        scale = 1.0
        if half:
            scale = float(np.abs(array[np.isfinite(array)]).max(initial=0)) or 1.0
        kind = np.dtype("<f2" if half else "<f4")
        self.texts.append(base64.b64encode(np.ascontiguousarray(array / scale, kind).tobytes()).decode())
        result: dict[str, Any] = {"block": len(self.texts) - 1, "shape": part.shape}
        if half:
            result |= {"half": 1, "scale": scale}
        if part.rows is not None:
            result["rows"] = part.rows
        if part.columns is not None:
            result["columns"] = part.columns
        return result


def layer_of(name: str) -> int | None:
    """The number of the layer that a tensor belongs to."""
    found = re.search(r"(?:^|\.)encoder\.layer\.(\d+)\.", name)
    return int(found[1]) if found else None


def stored_parts(trace: Tensors, entry: Entry, seen: Mapping[str, list[int]]) -> list[Part]:
    """The values of a tensor as they would be stored."""
    return [_cut(x, entry, seen) for x in trace.parts(entry)]


def stored_gradients(trace: Tensors, entry: Entry, seen: Mapping[str, list[int]]) -> list[Part]:
    """The gradients; of a matrix that is learned none: the page computes them from two activations."""
    parts = [_cut(x, entry, seen) for x in trace.gradient_parts(entry)]
    return [] if entry.is_parameter and parts[0].array.ndim > 1 else parts


def _cut(x: Array, entry: Entry, seen: Mapping[str, list[int]]) -> Part:
    x = np.asarray(x)
    if x.size > WHOLE and x.ndim == 2:
        first, last = entry.axes
        if entry.is_parameter and first in seen:
            return Part(x[seen[first]], x.shape, rows=seen[first])
        if not entry.is_parameter and last == "V":
            return Part(x[:, seen["V"]], x.shape, columns=seen["V"])
    return Part(x, x.shape)


def occurring(trace: Any) -> dict[str, list[int]]:
    """Of vocabulary, positions and segments, which rows the text asks for; with labels and the likeliest words."""
    batch = trace.prepared.batch
    words = set() if batch.input_ids is None else set(batch.input_ids.tolist())
    for entry in trace.entries.values():
        if entry.axes == ("M", "V"):
            for logits in trace.parts(entry):
                count = min(TOP_LOGITS, logits.shape[1])
                words |= set(np.argpartition(-logits, count - 1, axis=1)[:, :count].reshape(-1).tolist())
    for name, label in trace.prepared.labels.items():
        if name == "labels":
            words |= {int(word) for word in np.asarray(label).reshape(-1) if word >= 0}
    segments, positions = set(batch.token_type_ids.tolist()), set(batch.position_ids.tolist())
    return {"V": sorted(words), "P": sorted(positions), "S": sorted(segments)}


def plan(trace: Any, seen: Mapping[str, list[int]], limit: float, frame: int = 0) -> Plan:
    """The first step of the order above whose numbers fit into limit - frame characters. PageTooLarge if none does."""
    available = limit - frame
    entries: Sequence[Entry] = list(trace.entries.values())
    last = trace.model.config.num_hidden_layers - 1
    between = {e.name for e in entries if (i := layer_of(e.name)) is not None and 0 < i < last}
    sizes = {e.name: numbers(trace, e, seen) for e in entries}
    middle = frozenset(e.name for e in entries if e.name in between and not e.is_parameter)
    matrices = [e.name for e in entries if e.is_parameter and len(trace.parts(e)[0].shape) == 2 and sizes[e.name]
                and e.axes[0] not in seen]  # fmt: skip

    def characters(half: frozenset[str], absent: frozenset[str]) -> int:
        return sum(
            60 + math.ceil(n * (2 if name in half else 4) / 3) * 4 for name, n in sizes.items() if name not in absent
        )

    nothing: frozenset[str] = frozenset()
    for step, half in (0, nothing), (1, middle):
        if (total := characters(half, nothing)) <= available:
            return Plan(step, half, nothing, total)
    for step, left_out in (2, nothing), (3, middle):
        absent = left_out | frozenset(matrices)
        for name in sorted(matrices, key=lambda name: _rank(name, last)):
            if _rank(name, last) < 3 and characters(middle, absent - {name}) <= available:
                absent -= {name}
        if (total := characters(middle, absent)) <= available:
            return Plan(step, middle - absent, absent, total)
    raise too_large(len(trace.prepared.batch.rows), total, frame, limit, frame)


def _rank(name: str, last: int) -> int:
    layer = layer_of(name)
    return 2 if layer is None else 0 if layer == 0 else 1 if layer == last else 3


def numbers(trace: Any, entry: Entry, seen: Mapping[str, list[int]]) -> int:
    stored = [*stored_parts(trace, entry, seen), *stored_gradients(trace, entry, seen)]
    return sum(int(part.array.size) for part in stored)


def too_large(tokens: int, numbers: int, text: int, limit: float, most_text: int) -> PageTooLarge:
    """What is said of a page of so many characters of numbers and of text."""
    fits = int(tokens * (limit - text) / numbers)
    return PageTooLarge(
        f"page: {tokens} tokens take {numbers / 1e6:.2f} MB with all left out that can be, the rest of the page "
        f"{text / 1e6:.2f} MB; {limit / 1e6:g} MB were allowed",
        f"a text of about {fits} tokens, or " if fits > 0 else "",
        math.ceil((numbers + most_text) / 1e5) / 10,
    )
