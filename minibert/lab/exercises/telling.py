"""What went wrong, in words: the student's own line, and what a wrong gradient looks like."""

from __future__ import annotations

import linecache
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ...ops.xp import Array

LONG, MANY = 300, 5
"""Characters of a line, and lines, of an error's message that are told."""


class Trouble(Exception):
    """The check cannot go on: the student's file does not run, or returns no gradients. The text says where and why."""


def called(function: Callable[..., Any], path: Path, *args: Any) -> Any:
    """function(*args); whatever it raises is told as Trouble, with the student's line."""
    try:
        return function(*args)
    except (KeyboardInterrupt, Trouble):
        raise
    except BaseException as error:  # SystemExit, too
        raise Trouble(told(error, path)) from error


def told(error: BaseException, path: Path) -> str:
    """An exception out of a student's file."""
    if isinstance(error, SyntaxError) and error.filename == str(path):
        line = f"\n    {_shortened(error.text.strip())}" if error.text else ""
        return f"{path.name}, line {error.lineno}: {error.msg}{line}"
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(path)]
    where = f"{path.name}, line {frames[-1].lineno}" if frames else path.name
    line = f"\n    {_shortened(linecache.getline(str(path), frames[-1].lineno or 0).strip())}" if frames else ""
    if isinstance(error, NotImplementedError):
        return f"{where}: nothing is written here yet{line}"
    what, advice = type(error).__name__ + (f": {_shortened(str(error))}" if str(error) else ""), ""
    if isinstance(error, ValueError) and "read-only" in str(error):
        advice = "\nWhat a backward pass is given belongs to others: write d = dy * 2 where you would write dy *= 2."
    elif isinstance(error, RecursionError):
        advice = "\nThe function calls itself without an end."
    elif isinstance(error, SystemExit):
        what = "the program was ended here, by exit() or sys.exit()"
    elif isinstance(error, EOFError):
        advice = "\nThere is no keyboard behind a check: nothing can be read from it."
    return f"{where}: {what}{line}{advice}"


def _shortened(text: str) -> str:
    """As much of a message as is read: a flood would hide the rest."""
    lines = [line if len(line) <= LONG else f"{line[:LONG]} ..." for line in text.split("\n")]
    return "\n".join(lines if len(lines) <= MANY else [*lines[:MANY], "..."])


def returned(result: Any, function: str, names: list[str]) -> tuple[Array, ...]:
    """What a backward pass returned as a tuple of arrays, one for each name; Trouble if it is something else."""
    expected = f"expected {'a gradient' if len(names) == 1 else f'{len(names)} gradients'}: {', '.join(names)}"
    if result is None:
        raise Trouble(f"{function} returned None; {expected}. Is the `return` missing?")
    grads = tuple(result) if isinstance(result, tuple | list) else (result,)
    if len(grads) != len(names):
        raise Trouble(f"{function} returned {len(grads)} values; {expected}, in this order.")
    for name, g in zip(names, grads, strict=True):
        if not isinstance(g, np.ndarray | np.generic) or g.dtype.kind not in "biufc":
            raise Trouble(f"{function} returned {_kind(g)} for {name}; expected an array of numbers.")
    return grads


def _kind(value: Any) -> str:
    return f"an array of {value.dtype}" if isinstance(value, np.ndarray) else f"a {type(value).__name__}"


def likeness(name: str, got: Array, right: Mapping[str, Array]) -> str:
    """What a wrong gradient has to do with the right ones: where, not why. minibert.gradcheck would say why, and solve
    the exercise."""
    truth = right[name]
    if got.shape != truth.shape and got.shape == truth.shape[::-1] and _close(got.T, truth):
        return f"{name} is transposed: its shape is {got.shape}, that of its argument {truth.shape}."
    if got.shape != truth.shape:
        return f"{name} has the shape {got.shape}, its argument {truth.shape}."
    if not np.isfinite(got).all():
        return f"{name} holds {np.count_nonzero(~np.isfinite(got))} numbers that are inf or nan, of {got.size}."
    if not got.any():
        return f"{name} is 0 everywhere."
    other = next((n for n, t in right.items() if n != name and _close(got, t)), "")
    if other:
        return f"{name} is what {other} should be."
    factor = float((got * truth).sum() / ((truth * truth).sum() or 1.0))
    if _close(got, factor * truth):
        return f"{name} is {factor:.6g} times the right one, everywhere."
    wrong = np.abs(got - truth) > 1e-9 * np.abs(truth).max(initial=0.0)
    place = tuple(int(i) for i in np.unravel_index(np.argmax(np.abs(got - truth)), got.shape))
    worst = (
        f"{name}{list(place) if place else ''} is {got[place] + 0.0:.6g}, the right number is {truth[place] + 0.0:.6g}"
    )
    for axis, what in enumerate(("row", "column")[: got.ndim]):
        lines = np.flatnonzero(wrong.any(axis=tuple(k for k in range(got.ndim) if k != axis)))
        if len(lines) < got.shape[axis]:
            what = "entries" if got.ndim == 1 else f"{what}s" if len(lines) > 1 else what
            return f"{name} is wrong in {what} {_listed(lines)} of {got.shape[axis]} only. {worst}."
    return f"{name} is wrong in {np.count_nonzero(wrong)} of its {got.size} numbers. {worst}."


def _listed(numbers: Array) -> str:
    if len(numbers) > 2 and numbers[-1] - numbers[0] == len(numbers) - 1:
        return f"{numbers[0]} to {numbers[-1]}"
    shown = ", ".join(str(int(i)) for i in numbers[:6])
    return shown + (", ..." if len(numbers) > 6 else "")


def _close(a: Array, b: Array) -> bool:
    return a.shape == b.shape and bool(np.allclose(a, b, rtol=1e-7, atol=1e-9 * float(np.abs(b).max(initial=0.0))))
