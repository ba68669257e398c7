"""What each planted bug does to every gradient of a trace."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from ... import ops
from ...ops.xp import Array
from ..mutants import MUTANTS, Mutant, plant
from ..trace import Trace
from ..tracer import Tracer, forward, using

FLOOR = 1e-3
"""Of the median norm of all gradients: added below, so that gradients that are 0 but for rounding stay out of it."""

WRONG = 1e-6
"""Relative change from which a gradient counts as wrong. The script has the same number."""

WORK = 1e10
"""Numbers times passes that bugs of a large model may take: about a second, but the same bugs on every machine."""

COMPARED = 100
"""As many tokens as the time of a backward pass that goes into its gradients, however short the text is."""

FEWEST = 4
"""Bugs that are tried on any model."""


class Effects(NamedTuple):
    """shown: of each bug that makes a gradient wrong the relative change of every tensor's, in the order of entries.

    silent, untried: how many bugs change nothing in this run, and how many were left out.
    """

    shown: list[tuple[Mutant, list[float]]]
    silent: int
    untried: int


def planted_at(trace: Trace, mutant: Mutant) -> int | None:
    """Which call in the backward pass is wrong, from 0; None for all. Of a model with few layers at most the last."""
    times = sum(f"{call.operator}_backward" == mutant.operator for call in trace.calls)
    return None if mutant.call is None else min(mutant.call, max(times - 1, 0))


def wrong_trace(trace: Trace, mutant: Mutant) -> Trace:
    """The same run with the gradients that the bug makes; the forward pass is not computed again."""
    engine = plant(mutant._replace(call=planted_at(trace, mutant)), ops)
    tracer = Tracer({len(trace.calls): {}}, trace.calls, engine)
    twin = Trace.__new__(Trace)
    twin.__dict__.update(trace.__dict__)
    _, caches = forward(trace.model, tracer, trace.model.parameters, trace.prepared, trace.dropout_seed)
    twin.grads, _ = using(trace.model, tracer).grads_at(trace.prepared, caches)
    twin.calls = tracer.calls
    return twin


def worthwhile(trace: Trace) -> int:
    """How many bugs are tried: by the sizes of model and text, not by the clock, so that a page is made alike twice."""
    numbers = sum(x.size for x in trace.model.parameters.values())
    return max(FEWEST, int(WORK / (numbers * (len(trace.prepared.batch.rows) + COMPARED))))


def effects(trace: Trace, most: int | None = None, mutants: Sequence[Mutant] = MUTANTS) -> Effects:
    """‖wrong - right‖/(‖right‖ + 1e-3·median) of every tensor, for the first `most` bugs that are reached, or as many
    as are worthwhile."""
    right = {name: trace.gradient_parts(entry) for name, entry in trace.entries.items()}
    norms = {name: _norm(parts) for name, parts in right.items()}
    floor = FLOOR * float(np.median([*norms.values()]))
    shown: list[tuple[Mutant, list[float]]] = []
    candidates = [mutant for mutant in _spread(mutants) if reached(trace, mutant)]
    tried = candidates[: worthwhile(trace) if most is None else most]
    for mutant in tried:
        try:
            changes = list(_changes(wrong_trace(trace, mutant), right, norms, floor))
        except (AttributeError, IndexError, ValueError):  # a wrong line may be one of another activation only
            continue
        if max(changes) > WRONG:
            shown.append((mutant, changes))
    untried = len(candidates) - len(tried)
    silent = len(mutants) - untried - len(shown)
    return Effects(sorted(shown, key=lambda one: mutants.index(one[0])), silent, untried)


def _changes(wrong: Trace, right: dict[str, list[Array]], norms: dict[str, float], floor: float) -> Iterator[float]:
    for name, entry in wrong.entries.items():
        parts = wrong.gradient_parts(entry)
        if len(parts) < len(right[name]):  # a sequence was left out
            parts = [*parts, *(np.zeros_like(part) for part in right[name][len(parts) :])]
        change = [a - b for a, b in zip(parts, right[name], strict=True)]
        yield _norm(change) / (norms[name] + floor)


def reached(trace: Trace, mutant: Mutant) -> bool:
    """Whether the backward pass of the trace calls the wrong operator."""
    operator = mutant.operator.removesuffix("_backward")
    if operator == "linear_cross_entropy":
        return "cls.predictions.decoder" in trace.number
    return any(call.operator == operator for call in trace.calls)


def _spread(mutants: Sequence[Mutant]) -> list[Mutant]:
    """The first bug of every operator, then the second of each: where only some are tried, many kinds."""
    seen: dict[str, int] = {}
    turns = []
    for mutant in mutants:
        turns.append(seen.setdefault(mutant.operator, 0))
        seen[mutant.operator] += 1
    return [mutant for _, mutant in sorted(zip(turns, mutants, strict=True), key=lambda pair: pair[0])]


def _norm(parts: Sequence[Array]) -> float:
    return float(np.sqrt(sum(float(np.vdot(x, x)) for x in parts)))
