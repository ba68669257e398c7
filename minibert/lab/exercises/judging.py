"""A student's file, judged: every gradient on drawn inputs, and what an exercise asks besides."""

from __future__ import annotations

import math
import sys
import tracemalloc
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ...gradcheck import TOLERANCES, Row, check, judge, total_norm
from ...ops.xp import Array
from .catalogue import Exercise
from .operators import OPERATORS, SCALES, Operator
from .reading import borrowed, definitions, excesses, function_in, imported, modules, names_used, reached
from .sources import solved, started, step_form
from .telling import Trouble, called, likeness, returned

TOLERANCE = TOLERANCES["richardson", "operator"]
"""What is allowed against the complex step: a right formula may round, and cancel, otherwise than the reference's."""


class Line(NamedTuple):
    """One gradient in its worst case. ok: within the tolerance; verdict: "ok", or what is wrong."""

    name: str
    shape: tuple[int, ...]
    error: float
    tolerance: float
    verdict: str
    ok: bool


class Judged(NamedTuple):
    """One backward pass. inputs: how many were tried. notes: what to say about lines that failed. trouble: what stopped
    it; "" if nothing did."""

    function: str
    inputs: int
    lines: tuple[Line, ...] = ()
    notes: tuple[str, ...] = ()
    trouble: str = ""

    @property
    def right(self) -> int:
        return sum(line.ok for line in self.lines)

    @property
    def ok(self) -> bool:
        return not self.trouble and self.right == len(self.lines) > 0


class Outcome(NamedTuple):
    """Of a check. remarks: what was found besides the gradients; failures: what of that is not as it must be.
    trouble: why there is nothing to judge; "" if there is."""

    judged: tuple[Judged, ...] = ()
    remarks: tuple[str, ...] = ()
    failures: tuple[str, ...] = ()
    trouble: str = ""

    @property
    def solved(self) -> bool:
        return bool(self.judged) and not self.failures and all(one.ok for one in self.judged)


def judge_file(exercise: Exercise, path: Path) -> Outcome:
    """Run the file, which is the student's own code, and check what it defines."""
    try:
        functions = load(exercise, path)
    except Trouble as trouble:
        return Outcome(trouble=str(trouble))
    judged = tuple(judge_function(OPERATORS[name], function, path) for name, function in functions.items())
    try:
        remarks, failures = _besides(exercise, functions, path, all(one.ok for one in judged))
    except Trouble as trouble:
        remarks, failures = [], [str(trouble)]
    return Outcome(judged, tuple(remarks), tuple(failures))


def load(exercise: Exercise, path: Path) -> dict[str, Callable[..., Any]]:
    """{operator: the backward that the file defines}."""
    module = types.ModuleType(exercise.name)
    module.__file__ = str(path)
    sys.modules[exercise.name] = module  # typing and dataclasses look there
    folder = str(path.parent)
    if folder not in sys.path:
        sys.path.append(folder)  # last: a student's random.py is not Python's
    data = path.read_bytes()

    def execute() -> None:
        exec(compile(data, str(path), "exec"), vars(module))

    called(execute, path)
    result = {}
    for operator in exercise.operators:
        name = f"{operator}_backward"
        if not callable(function := vars(module).get(name)):
            raise Trouble(f"{path.name} defines no function {name}; that is what is to be written.")
        result[operator] = function
    return result


def judge_function(operator: Operator, function: Callable[..., Any], path: Path) -> Judged:
    """All gradients of one backward pass on all drawn inputs."""
    title, worst, notes = f"{operator.name}_backward", dict[str, Line](), dict[str, str]()
    try:
        for seed, args in enumerate(operator.cases()):
            case = Case(operator, function, path, args, seed)
            with np.errstate(all="ignore"):
                rows = case.rows()
                said = {row.name: case.note(row) for row in rows if not row.ok}
            notes = said | notes  # of the first input that shows it
            for row in rows:
                line = Line(row.name, row.shape, row.error, row.tolerance, row.verdict, row.ok)
                if row.name not in worst or _badness(line) > _badness(worst[row.name]):
                    worst[row.name] = line
    except Trouble as trouble:
        return Judged(title, len(SCALES), trouble=str(trouble))
    return Judged(title, len(SCALES), tuple(worst.values()), tuple(notes.values()))


def _badness(line: Line) -> tuple[bool, float]:
    margin = line.error / line.tolerance if line.tolerance else line.error
    return not line.ok, margin if math.isfinite(margin) else math.inf


class Case:
    """One backward pass on one set of arguments."""

    def __init__(
        self, operator: Operator, function: Callable[..., Any], path: Path, args: tuple[Any, ...], seed: int
    ) -> None:
        self.operator, self.function, self.path, self.seed = operator, function, path, seed
        self.title = f"{operator.name}_backward"
        named = zip(operator.forward.__code__.co_varnames, args, strict=False)
        self.returned = [f"d{name}" for name, a in named if isinstance(a, np.ndarray) and a.dtype.kind == "f"]
        self.whole = args[0].shape
        self.warned = np.geterr()  # the student's code warns as ever; what we do with what it returned does not
        number = len(operator.parts)
        self.args = (*np.split(args[0], number, axis=1), *args[1:]) if number else args
        self.names = [f"d{part}" for part in operator.parts] or self.returned

    def forward(self, *args: Any) -> Any:
        number = len(self.operator.parts)
        return self.operator.forward(*((np.concatenate(args[:number], axis=1), *args[number:]) if number else args))

    def backward(self, dy: Any, cache: Any) -> tuple[Array, ...]:
        """By the student's function."""
        with np.errstate(**self.warned):
            found = called(self.function, self.path, _lent(dy), _lent(cache))
        return self._parts(returned(found, self.title, self.returned))

    def _parts(self, grads: tuple[Array, ...]) -> tuple[Array, ...]:
        if not self.operator.parts:
            return grads
        (whole,) = grads
        if whole.shape != self.whole:
            name = self.returned[0]
            raise Trouble(f"{self.title} returned {name} of the shape {whole.shape}; expected {self.whole}.")
        return tuple(np.split(whole, len(self.operator.parts), axis=1))

    def rows(self) -> list[Row]:
        """A row a gradient; and if all are right, one for each that is to be added to totals."""
        report = check(self.forward, self.backward, self.args, names=self.names, tolerance=TOLERANCE, seed=self.seed)
        return [*report.rows, *(self._added() if report.ok and self.operator.adds_to else [])]

    def _run(self) -> tuple[Any, Any]:
        """A cotangent, and the cache of the forward pass."""
        y, cache = self.forward(*self.args)
        return np.random.default_rng(self.seed).standard_normal(np.shape(y))[()], cache

    def note(self, row: Row) -> str:
        """What a row that failed looks like."""
        if row.name not in self.names or row.verdict.startswith(("impure", "not repeatable")):
            return f"{row.name}: {row.verdict.partition(': ')[2]}."
        dy, cache = self._run()
        got = dict(zip(self.names, self.backward(dy, cache), strict=True))[row.name]
        truth = self.operator.backward(dy, cache)
        truth = self._parts(truth if isinstance(truth, tuple) else (truth,))
        if row.verdict.startswith("dtype"):
            return f"{row.name} holds {got.dtype} numbers, its argument {truth[0].dtype}."
        said = likeness(row.name, got, dict(zip(self.names, truth, strict=True)))
        return said if self.seed == 0 else f"{said} (On input {self.seed + 1}, of size {SCALES[self.seed]:g}.)"

    def _added(self) -> list[Row]:
        """Are the parameters' gradients added to totals, in place?"""
        dy, cache = self._run()
        single = self.operator.adds_to == "total"
        names, plain = self.names, self.backward(dy, cache)
        if not single:  # x is no parameter
            names, plain = names[1:], plain[1:]
        before = [np.random.default_rng([self.seed, i]).standard_normal(g.shape) for i, g in enumerate(plain)]
        totals = [b.copy() for b in before]
        called(self.function, self.path, _lent(dy), _lent(cache), totals[0] if single else totals)
        rows = []
        for name, g, b, total in zip(names, plain, before, totals, strict=True):
            errors = np.abs(total - (b + g)).ravel().tolist()
            row = judge(f"{name}, added", g, errors, TOLERANCE, total_norm([b]))
            verdict = f"wrong: {self.operator.adds_to}, after the call, is not what it was plus the gradient"
            rows.append(row if row.ok else row._replace(verdict=verdict))
        return rows


def _lent(value: Any) -> Any:
    """The same with arrays that cannot be written to: who writes is told the line where."""
    if isinstance(value, np.ndarray):
        view = value.view()
        view.flags.writeable = False
        return view
    if isinstance(value, tuple):
        parts = [_lent(part) for part in value]
        return type(value)(*parts) if hasattr(value, "_fields") else tuple(parts)
    return [_lent(part) for part in value] if isinstance(value, list) else value


# ---- besides the gradients -----------------------------------------------------------------------------------------


def _besides(
    exercise: Exercise, functions: dict[str, Callable[..., Any]], path: Path, right: bool
) -> tuple[list[str], list[str]]:
    failures = _borrowed(exercise, functions, path)
    if exercise.level == "derive" and not failures:
        return _within_limits(exercise, functions[exercise.operators[0]], path, right)
    if exercise.level == "model" and right and not failures:
        from .training import judge_model

        return judge_model(functions, path)
    return [], failures


def _borrowed(exercise: Exercise, functions: dict[str, Callable[..., Any]], path: Path) -> list[str]:
    """The package's own backward passes in place of the student's. What the reference uses is given."""
    found = borrowed(path.read_bytes(), imported(solved(exercise)))
    if not found:  # by another way
        homes = {name: str(getattr(function, "__module__", "")) for name, function in functions.items()}
        found = {f"{name}_backward": 0 for name, home in homes.items() if home.startswith("minibert.")}
    if not found:
        return []
    line = f", line {min(found.values())}" if min(found.values()) else ""
    said = "is minibert's own. It is" if len(found) == 1 else "are minibert's own. They are"
    return [
        f"{path.name}{line}: {', '.join(found)} {said} right, and nothing of yours would be checked: write your own."
    ]


def _within_limits(
    exercise: Exercise, function: Callable[..., Any], path: Path, right: bool
) -> tuple[list[str], list[str]]:
    limits, (operator,), source = exercise.limits, exercise.operators, path.read_bytes()
    assert limits
    name = f"{operator}_backward"
    code = getattr(function, "__code__", None)
    body = function_in(source, name, code.co_firstlineno) if code else None
    if code is None or body is None or code.co_filename != str(path):
        return [], [f"{name} must be a function that the file defines with `def`."]
    defined = definitions(source, started(exercise))
    statements, loops = excesses(body, defined)
    remarks, failures = [f"{statements} statement{'s' * (statements != 1)}, at most {limits.statements}"], list[str]()
    if statements > limits.statements:
        failures.append(f"{name}: {remarks.pop()}")
    if loops > limits.loops:
        failures.append(f"{name}: loops {loops} deep, at most {limits.loops}")
    used = names_used(reached(body, defined))
    failures += [
        f"{name} uses {one}, which it is to replace" for one in sorted(used & {step_form(exercise).__name__, name})
    ]
    for module in sorted(modules(source)):
        file = getattr(sys.modules.get(module), "__file__", None)
        if file and Path(file).parent == path.parent:
            failures.append(f"{path.name} imports {module}: what is counted is one file, so write it here")
    if limits.memory and right and not failures:
        arrays = peak(OPERATORS[operator], function, path)
        text = f"memory for {arrays:.1f} arrays like the input, at most {limits.memory}"
        if arrays <= limits.memory:
            remarks.append(text)
        else:
            failures.append(f"{name}: {text}")
    return remarks, failures


def peak(operator: Operator, function: Callable[..., Any], path: Path) -> float:
    """The most memory that a backward of one matrix holds at a time, in units of that matrix of 4 rows of 1024."""
    x = np.random.default_rng(0).standard_normal((4, 1024))
    dy, cache = x[::-1].copy(), operator.forward(x)[1]
    tracemalloc.start()
    try:
        called(function, path, dy, cache)
        return tracemalloc.get_traced_memory()[1] / x.nbytes
    finally:
        tracemalloc.stop()
