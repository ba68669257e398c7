"""Every tensor's gradient by every reference there is: five routes that share as little as they can.

complex      the complex step from the tensor to the loss                        exact to rounding
one step     the complex step through the operators that read it, no further     blames one tensor
richardson   differences of the loss, at the step that its noise calls for       real numbers only
identity     what must hold whatever the weights: the worst that names it        no differencing at all
engine       the same gradient by another engine, in float32                     another implementation
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from .. import engines, ops
from ..gradcheck import Reference, Report, Row, best_difference
from ..models.base import Prepared
from ..ops.xp import Array
from .check import directions
from .identities import check_identities
from .registry import Entry
from .residues import TOLERANCE, residue
from .trace import Trace
from .tracer import OUT, Tracer, forward, using

NAMES = "complex", "one step", "richardson", "identity", "engine"

ENGINE = 1e-5, 1e-6
"""Of another engine, relative to ‖g‖ and to ‖G‖: it computes in float32."""


def references(trace: Trace, *names: str, engine: str = "auto", seed: int = 0) -> Report:
    """A row a tensor, or for those that the names or patterns stand for; `Row.references` has the errors by each."""
    chosen = trace.chosen(names)
    whole, step = (dict(_by_name(trace.check(*chosen, whole=w, seed=seed))) for w in (True, False))
    identities = list(check_identities(trace.model, dict(trace.grads)).rows) if trace.dropout_seed is None else []
    other = _Other(trace, engine)
    rows = []
    for name in chosen:
        found = [
            Reference("complex", whole[name].error, whole[name].tolerance),
            Reference("one step", step[name].error, step[name].tolerance),
            _differences(trace, name, seed),
            *_identity(trace, name, identities),
            *other.compared(name),
        ]
        worst = max(found, key=lambda r: (not r.ok, r.margin))
        row = whole[name]
        rows.append(
            row._replace(error=worst.error, tolerance=worst.tolerance, references=tuple(found), verdict=_verdict(found))
        )
    return Report(tuple(rows))


class Line(NamedTuple):
    """The loss along a line through one tensor: what differences differentiate. Arrays are flat, (size,)."""

    loss: Callable[[Array], Array]  # of other values of the tensor
    x: Array  # its values
    v: Array  # a direction, N(0, I)


def line(trace: Trace, name: str, seed: int = 0) -> Line:
    """The loss along a random direction of a tensor."""
    parts, rng = trace.parts(trace.entries[name]), directions(seed)
    x, v = (
        np.concatenate([part.reshape(-1) for part in many])
        for many in (parts, [rng.standard_normal(part.shape) for part in parts])
    )
    return Line(lambda y: trace.loss_with(name, split(y, parts)), x, v)


def split(flat: Array, parts: Sequence[Array]) -> list[Array]:
    """One array cut and shaped like the parts."""
    ends = np.cumsum([part.size for part in parts])[:-1]
    return [piece.reshape(part.shape) for piece, part in zip(np.split(flat, ends), parts, strict=True)]


def _differences(trace: Trace, name: str, seed: int) -> Reference:
    loss, x, v = line(trace, name, seed)
    found, gradients = best_difference(loss, x, v), trace.gradient_parts(trace.entries[name])
    own = sum(float((g * part).sum()) for g, part in zip(gradients, split(v, gradients), strict=True))
    norm = float(np.sqrt(sum(np.vdot(g, g) for g in gradients)))
    # the estimates of both errors may be several times too small themselves; and <g, v> has rounding of its own
    allowed = 32 * found.noise + 8 * found.truncation + 1e-12 * norm
    return Reference("richardson", abs(own - found.value), allowed, f"step {found.step:.0e}")


def _identity(trace: Trace, name: str, rows: Sequence[Row]) -> Iterator[Reference]:
    """The worst of the identities that a tensor takes part in."""
    found = residue(trace, name)
    if found is not None:
        statement, left, size = found
        yield Reference("identity", left, TOLERANCE * size, statement)
    concerned = [row for row in rows if row.name.startswith((f"{name},", f"{name} ")) or _scales(row.name, name)]
    if concerned:
        worst = max(concerned, key=lambda row: (not row.ok, row.margin))
        yield Reference("identity", worst.error, worst.tolerance, worst.name.removeprefix(name).strip(" ,"))


def _scales(row: str, name: str) -> bool:
    """Does the row say that two tensors can be scaled against each other, and is this one of them?"""
    at, _, kind = row.rpartition("attention, ")
    inside = {"query-key scale": ("self.query.", "self.key."), "value-output scale": ("self.value.", "output.dense.")}
    return any(name.startswith(f"{at}attention.{part}") for part in inside.get(kind, ()))


class _Other:
    """The same gradients by another engine in float32: of parameters, and of what operators return."""

    def __init__(self, trace: Trace, engine: str) -> None:
        self._trace = trace
        self._engine = engines.get(engine)
        self._grads: Any = {}
        self._calls: dict[str, Any] = {}
        if self._engine is ops:
            return
        model = trace.model.astype(np.float32)
        batch, labels = trace.prepared
        small = {k: v.astype(np.float32) if v.dtype.kind == "f" else v for k, v in labels.items()}
        tracer = Tracer(engine=self._engine)
        prepared = Prepared(batch, small)
        _, caches = forward(model, tracer, model.parameters, prepared, trace.dropout_seed)
        self._grads, _ = using(model, tracer).grads_at(prepared, caches)
        self._calls = {call.name: call for call in tracer.calls}
        self._total = float(np.linalg.norm(trace.grads.flat))

    def compared(self, name: str) -> Iterator[Reference]:
        """Nothing for what is inside an operator, or where there is no other engine."""
        entry: Entry = self._trace.entries[name]
        if entry.is_parameter and self._grads:
            theirs = self._grads[name]
        elif entry.variable == OUT and entry.call in self._calls and self._calls[entry.call].dy is not None:
            theirs = self._calls[entry.call].dy
        else:
            return
        (ours,) = self._trace.gradient_parts(entry)
        relative, floor = ENGINE
        allowed = relative * float(np.linalg.norm(ours)) + floor * self._total
        yield Reference("engine", float(np.linalg.norm(ours - theirs)), allowed)


def _by_name(report: Report) -> Iterator[tuple[str, Row]]:
    return ((row.name, row) for row in report.rows)


def _verdict(found: Sequence[Reference]) -> str:
    """What the references say together."""
    ok = {reference.name: reference.ok for reference in found}
    if all(ok.values()):
        return "ok"
    if not ok["complex"] and ok["richardson"]:
        return "not analytic: differences confirm the gradient, the complex step does not"
    if ok["complex"] and not ok["richardson"]:
        return "not smooth: the complex step confirms the gradient, differences do not; is there a kink?"
    if not ok["complex"]:
        return "wrong: here" if not ok["one step"] else "wrong: behind it, its own step is right"
    failed = ", ".join(name for name, right in ok.items() if not right)
    return f"wrong: by {failed} alone"
