"""minibert exercise: exercises in backpropagation, a file each, with progress kept beside the files.

check is the one action that runs a student's file. 0 if it solves the exercise, 1 if not yet.
"""

from __future__ import annotations

import difflib
import itertools
import json
import math
import os
import sys
import textwrap
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import InputError, NotFound
from ..formats.atomic import write_atomic
from ..lab.exercises import EXERCISES, LEVELS, Exercise, hints, solution, started
from ..lab.exercises.progress import Entry, Progress
from .inputs import UsageError, printable

if TYPE_CHECKING:
    from ..lab.exercises.judging import Judged, Line, Outcome

WIDTH = 80
MARKS = {"not started": "○", "in work": "…", "solved": "✓"}
STYLES = {"✓": "\x1b[32m", "✗": "\x1b[31m", "…": "\x1b[33m"}
SHOWN, LONG = 20, 200
"""Lines of what a file prints that are shown, and characters of a line."""


def run(args: Any) -> int:
    """One of the actions."""
    progress = Progress(Path(args.folder))
    if args.action in (None, "list"):
        return _list(progress, bool(args.action) and args.json)
    exercise = _named(args.name or progress.current)
    return int(globals()[f"_{args.action}"](exercise, progress, args))


def _named(name: str) -> Exercise:
    """The exercise of that name, or of that file's."""
    if not name:
        raise UsageError("which exercise? None was begun in this folder", "minibert exercise list shows them")
    wanted = name.removesuffix(".py")
    for exercise in EXERCISES:
        if exercise.name == wanted:
            return exercise
    near = difflib.get_close_matches(wanted.lower(), [exercise.name for exercise in EXERCISES])
    hint = f"did you mean {' or '.join(near)}?" if near else "minibert exercise list shows them"
    raise NotFound(f"no exercise is called {name!r}", hint)


# ---- list --------------------------------------------------------------------------------------------------------


def _list(progress: Progress, as_json: bool) -> int:
    entries = {exercise.name: progress[exercise.name] for exercise in EXERCISES}
    statuses = [entry.status for entry in entries.values()]
    counts = {status: statuses.count(status) for status in reversed(MARKS)}
    if as_json:
        plain = [
            {"name": e.name, "level": e.level, "title": e.title, "status": entry.status, **entry._asdict()}
            for e, entry in zip(EXERCISES, entries.values(), strict=True)
        ]
        print(json.dumps({"exercises": plain, "total": len(plain), **counts}, ensure_ascii=False))
        return 0
    for level, says in LEVELS.items():
        print(_bold(f"{level}: {says}"))
        for exercise in EXERCISES:
            if exercise.level == level:
                print(_row(exercise, entries[exercise.name]))
        print()
    print(f"{counts['solved']} of {len(EXERCISES)} solved, {counts['in work']} in work")
    after = _next(progress)
    if after:
        action = "check" if entries[after.name].status == "in work" else "start"
        _talk(f"minibert exercise {action} {after.name}")
    return 0


def _row(exercise: Exercise, entry: Entry) -> str:
    taken = f"{entry.hints} hint{'s' * (entry.hints != 1)}" if entry.hints else ""
    remark = "revealed" if entry.revealed else taken
    return f"  {_mark(MARKS[entry.status])} {exercise.name:21} {exercise.title:45} {remark:>8}".rstrip()


def _next(progress: Progress) -> Exercise | None:
    """What is in work, or else the first that is not solved."""
    open_ones = [exercise for exercise in EXERCISES if not progress[exercise.name].solved]
    current = [exercise for exercise in open_ones if exercise.name == progress.current]
    return next(iter(current + open_ones), None)


# ---- start -------------------------------------------------------------------------------------------------------


def _start(exercise: Exercise, progress: Progress, args: Any) -> int:
    path = _file(exercise, progress)
    if os.path.lexists(path):
        if not args.again:
            raise InputError(
                f"{path} is there already",
                f"minibert exercise start {exercise.name} --again begins anew and keeps it as {_backup(path).name}",
            )
        if not path.is_file():
            raise InputError(f"{path}: expected a file")
        kept = _backup(path)
        path.rename(kept)
        _talk(f"kept what was there as {kept}")
    write_atomic(path, started(exercise).encode())
    progress.record(exercise.name, started=True)
    print(path)
    _talk(f"Open it in an editor: its first lines say what to do. Then\n  minibert exercise check {exercise.name}")
    return 0


def _file(exercise: Exercise, progress: Progress) -> Path:
    return progress.path.with_name(f"{exercise.name}.py")


def _backup(path: Path) -> Path:
    """NAME.bak.py, or NAME.bak2.py, ...: the first that is not there."""
    names = (path.with_name(f"{path.stem}.bak{number if number > 1 else ''}.py") for number in itertools.count(1))
    return next(kept for kept in names if not os.path.lexists(kept))


# ---- check -------------------------------------------------------------------------------------------------------


def _check(exercise: Exercise, progress: Progress, args: Any) -> int:
    from ..lab.exercises.running import run as run_file

    path = _file(exercise, progress)
    if not os.path.lexists(path):
        raise NotFound(f"{path}: no such file", f"minibert exercise start {exercise.name}")
    if not path.is_file():
        raise InputError(f"{path}: expected a file")
    with path.open("rb"):  # not readable: said here, and no mistake of the student's
        pass
    if not 0 < args.limit < math.inf:
        raise UsageError(f"--limit: expected a positive number of seconds, got {args.limit:g}")
    outcome, printed, lines = run_file(exercise, path, args.limit)
    if printed:
        _talk("\n".join(_shown(printed, lines)))
    failed: OSError | None = None
    entry = progress[exercise.name]
    try:  # a folder that cannot be written to hides no result
        solved = {"solved": True} if outcome.solved and not entry.solved else {}
        progress.record(exercise.name, checks=entry.checks + 1, checked=True, **solved)
    except OSError as error:
        failed = error
    print("\n".join(_report(exercise, outcome)))
    if failed:
        raise failed
    after = _next(progress)
    if outcome.solved:
        _talk(f"next: minibert exercise start {after.name}" if after else "All exercises are solved. Well done!")
    else:
        left = len(hints(exercise)) - progress[exercise.name].hints
        hint = f"minibert exercise hint gives one, of {left} that are left"
        _talk(hint if left > 0 else "minibert exercise reveal shows the solution")
    return 0 if outcome.solved else 1


def _report(exercise: Exercise, outcome: Outcome) -> Iterator[str]:
    """The gradients, what the failures look like, and the verdict."""
    if outcome.trouble:
        yield from _filled(outcome.trouble)
        yield f"\n{_mark('✗')} not yet: the file cannot be checked"
        return
    if len(outcome.judged) == 1:
        yield from _judged(outcome.judged[0])
        yield from [""] * bool(outcome.remarks or outcome.failures)
    else:
        for one in outcome.judged:
            yield from _summary(one)
    for remark in outcome.remarks:
        yield f"{_mark('✓')} {remark}"
    for failure in outcome.failures:
        first, *rest = _filled(failure, WIDTH - 2)
        yield from (f"{_mark('✗')} {first}", *(f"  {line}" for line in rest))
    yield ""
    right, asked = (sum(counts) for counts in zip(*((j.right, len(j.lines)) for j in outcome.judged), strict=True))
    if outcome.solved:
        yield f"{_mark('✓')} solved: {'all ' * (asked > 1)}{_gradients(asked)} right"
    elif any(one.trouble for one in outcome.judged):
        yield f"{_mark('✗')} not yet"
    elif right < asked:
        still = "; the bug is still there, or another one" if exercise.level == "find" else ""
        yield f"{_mark('✗')} not yet: {right} of {_gradients(asked)} right{still}"
    else:
        yield f"{_mark('✗')} not yet: the gradients are right, and something else is not"


def _gradients(number: int) -> str:
    return f"{number} gradients are" if number > 1 else "1 gradient is"


def _judged(one: Judged) -> Iterator[str]:
    """A table of its gradients."""
    if one.trouble:
        yield from _filled(one.trouble)
        return
    width = max(len(line.name) for line in one.lines)
    yield f"{one.function}, the worst of {one.inputs} inputs, against the complex step"
    yield ""
    yield f"  {'gradient':{max(width, 8)}} {'shape':>8} {'error':>8} {'allowed':>8}"
    for line in one.lines:
        yield _line(line, max(width, 8))
    if one.notes:
        yield ""
        for note in one.notes:
            yield from _filled(note)


def _line(line: Line, width: int) -> str:
    shape = "×".join(map(str, line.shape)) or "scalar"
    error, allowed = (f"{x:8.1e}" if math.isfinite(x) else f"{'-':>8}" for x in (line.error, line.tolerance))
    verdict = "ok" if line.ok else line.verdict.partition(":")[0]
    return f"{_mark('✓' if line.ok else '✗')} {line.name:{width}} {shape:>8} {error} {allowed}  {verdict}"


def _summary(one: Judged) -> Iterator[str]:
    """One line of a function that is right, or what is wrong with it."""
    names = ", ".join(line.name for line in one.lines if "," not in line.name)
    yield f"{_mark('✓' if one.ok else '✗')} {one.function:24} {names}".rstrip()
    for text in (one.trouble, *one.notes):
        yield from (f"    {line}" for line in _filled(text, WIDTH - 4)) if text else ()


def _shown(printed: str, lines: int) -> list[str]:
    """How what a file printed begins, for the terminal; lines: of all of it."""
    first = [printable(line.expandtabs()) for line in printed.split("\n", SHOWN)[: min(lines, SHOWN)]]
    more = f"  ({lines - SHOWN:,} more line{'s' * (lines - SHOWN > 1)})" if lines > SHOWN else ""
    return ["your file prints:", *(f"  {line[:LONG]}{'…' * (len(line) > LONG)}" for line in first), more]


# ---- hint, reveal ------------------------------------------------------------------------------------------------


def _hint(exercise: Exercise, progress: Progress, args: Any) -> int:
    known, taken = hints(exercise), progress[exercise.name].hints
    if taken < len(known):
        progress.record(exercise.name, hints=taken + 1)
    number = min(taken, len(known) - 1)
    print("\n".join(_filled(f"hint {number + 1} of {len(known)}: {known[number]}")))
    if number == len(known) - 1:
        _talk(f"That is the last one. The solution:\n  minibert exercise reveal {exercise.name}")
    return 0


def _reveal(exercise: Exercise, progress: Progress, args: Any) -> int:
    entry, path = progress[exercise.name], _file(exercise, progress)
    untouched = path.is_file() and path.read_bytes() == started(exercise).encode()
    if not (entry.revealed or args.yes) and (untouched or not entry.checks):
        what = "is as it was started" if entry.checks else "was not checked yet"
        raise UsageError(
            f"{exercise.name} {what}: try first",
            f"minibert exercise hint {exercise.name}; or reveal --yes",
        )
    if not entry.revealed:
        progress.record(exercise.name, revealed=True)
    print(solution(exercise))
    return 0


# ---- the terminal ------------------------------------------------------------------------------------------------


def _filled(text: str, width: int = WIDTH) -> list[str]:
    """Lines broken at the width; what is indented is code and stays."""
    result: list[str] = []
    for line in map(printable, text.split("\n")):
        result += [line] if line.startswith("    ") else textwrap.wrap(line, width, break_on_hyphens=False)
    return result


def _talk(text: str) -> None:
    print(text, file=sys.stderr)


def _colour() -> bool:
    with suppress(AttributeError, ValueError):
        plain = os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb"
        return sys.stdout.isatty() and not plain
    return False


def _mark(mark: str) -> str:
    return f"{STYLES[mark]}{mark}\x1b[0m" if mark in STYLES and _colour() else mark


def _bold(text: str) -> str:
    return f"\x1b[1m{text}\x1b[0m" if _colour() else text
