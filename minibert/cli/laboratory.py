"""What `minibert gradcheck` does beyond its two tables: other references, a planted bug, pictures, second order."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Callable
from typing import Any

import numpy as np

from .. import gradcheck, ops
from ..lab.check import directions
from ..lab.locate import locate
from ..lab.mutants import MUTANTS, SETTINGS, Bench, plant
from ..lab.references import NAMES, line, references
from ..lab.trace import Trace
from .inputs import UsageError


def run(args: Any, prepared_model: Callable[[Any], Any]) -> int:
    """One of --references, --plant, --curve, --second-order; 1 if it finds a gradient wrong."""
    asked = [name for name in ("references", "plant", "curve", "second_order") if getattr(args, name)]
    if len(asked) > 1:
        raise UsageError(f"expected one of {' and '.join('--' + name.replace('_', '-') for name in asked)}")
    if args.plant:
        return _plant(args)
    model, prepared = prepared_model(args)
    if args.second_order:
        return _second_order(model, prepared, args)
    trace = Trace(model, prepared, args.dropout_seed)
    return _curve(trace, args) if args.curve else _references(trace, args)


def _references(trace: Trace, args: Any) -> int:
    """A row a tensor, error / tolerance by each reference."""
    print(f"{trace!r}; five references each, which takes a while", file=sys.stderr)
    report = references(trace, seed=args.seed)
    if args.json:
        rows = [{**row._asdict(), "references": [r._asdict() for r in row.references]} for row in report.rows]
        print(json.dumps({"ok": report.ok, "tensors": rows}))
        return 0 if report.ok else 1
    print(f"error / tolerance\n{'':35}" + "".join(f"{name.replace('richardson', 'differ.'):>9}" for name in NAMES))
    module = ""
    for row in report.rows:
        head, name = _module(row.name)
        if head != module:
            print(head)
            module = head
        margins = {r.name: f"{r.margin:.0e}" for r in row.references}
        line = f"  {name:33}" + "".join(f"{margins.get(r, '-'):>9}" for r in NAMES)
        print(line if row.ok else f"{line}  {row.verdict}")
    wrong = sum(not row.ok for row in report.rows)
    worst = report.closest
    print(f"\n{len(report.rows)} gradients, {wrong} wrong; closest to a tolerance, at {worst.margin:.0e}: {worst.name}")
    return 0 if report.ok else 1


def _module(name: str) -> tuple[str, str]:
    """A tensor's module, and its name there, which has room in a line."""
    parts = name.split(".")
    at = next((i for i, part in enumerate(parts) if part.isdigit()), min(len(parts) - 2, 1))
    return ".".join(parts[: at + 1]), ".".join(parts[at + 1 :])


def _plant(args: Any) -> int:
    """One bug of the catalogue, in the setting where it shows: what it is, where it is found, and why."""
    if args.plant == "list":
        width = max(len(m.slug) for m in MUTANTS)
        print("\n".join(f"{m.slug:{width}}  {m.name}" for m in MUTANTS))
        return 0
    mutant = next((m for m in MUTANTS if m.slug == args.plant), None)
    if mutant is None:
        near = [m.slug for m in MUTANTS if args.plant in m.slug] or [m.slug for m in MUTANTS]
        raise UsageError(
            f"--plant: no bug is called {args.plant!r}", f"there is {', '.join(near[:8])}, ...; --plant list has all"
        )
    bench = Bench(SETTINGS[mutant.needs], args.std, args.seed)
    trace = Trace(bench.model, bench.prepared, bench.setting.dropout_seed, engine=plant(mutant, ops))
    found = locate(trace, args.seed)
    if args.json:
        print(json.dumps({"bug": mutant._asdict(), "found": found and {"name": found.name, "in": found.operator}}))
        return 1 if found else 0
    print(f"{mutant.name}, planted in {mutant.operator}\n  - {mutant.before}\n  + {mutant.after}\n{mutant.why}\n")
    print(found or "Nothing is wrong in a trace, which computes all tokens in every layer: this operator is not in it.")
    return 1 if found else 0


def _curve(trace: Trace, args: Any) -> int:
    """Error against step, of every way to differentiate the loss along a direction of one tensor."""
    name = trace.resolve(args.curve)
    found = gradcheck.curve(*line(trace, name, args.seed))
    print(f"{name}, along a direction drawn from N(0, I)\n\n{found}")
    if args.png:
        found.save(args.png)
        print(f"wrote {args.png}", file=sys.stderr)
    return 0


def _second_order(model: Any, prepared: Any, args: Any) -> int:
    """Taylor's remainders along a direction of all parameters, and whether the Hessian is symmetric."""
    x, rng = model.parameters.flat, directions(args.seed)
    u, v = (rng.standard_normal(x.shape) / math.sqrt(x.size) for _ in range(2))
    block = model.parameters

    def at(flat: Any) -> Any:
        return type(block)(block.spec, flat.dtype, flat)

    def loss(flat: Any) -> Any:
        return model.loss_at(at(flat), prepared, {}, args.dropout_seed)[0]

    def gradient(flat: Any) -> Any:
        caches: dict[str, Any] = {}
        model.loss_at(at(flat), prepared, caches, args.dropout_seed)
        return model.grads_at(prepared, caches)[0].flat

    taylor = gradcheck.taylor(loss, gradient, x, v)
    hu, hv = (gradcheck.hessian_vector(gradient, x, w) for w in (u, v))
    one, other = float(hu @ v), float(u @ hv)
    size = float(np.linalg.norm(hu) * np.linalg.norm(v))
    asymmetry = abs(one - other) / size
    ok = all(abs(rate - expected) < 0.1 for rate, expected in zip(taylor.rates, (1, 2, 3), strict=True))
    ok = ok and asymmetry < SYMMETRY
    if args.json:
        print(json.dumps({"ok": ok, "rates": taylor.rates, "asymmetry": asymmetry}))
        return 0 if ok else 1
    print(f"Taylor's remainders along a direction of all {x.size} parameters; expected rates 1, 2, 3\n\n{taylor}\n")
    print(f"Hessian, by the complex step of the hand-written gradient: <Hu, v> = {one:.15g}, <u, Hv> = {other:.15g}")
    print(f"apart by {asymmetry:.1e} of ‖Hu‖·‖v‖, allowed {SYMMETRY:.0e}")
    return 0 if ok else 1


SYMMETRY = 1e-13
"""Of the Hessian, relative to the vectors that are multiplied."""
