"""A check in a process of its own: whatever the student's file does, the command line goes on."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
from contextlib import suppress
from pathlib import Path
from typing import IO, NamedTuple

from .catalogue import Exercise
from .child import unpacked
from .judging import Outcome

ROOT = Path(__file__).parents[3]
BOOT = (
    "import sys; root = sys.argv.pop(1); sys.path.insert(0, root); "
    "from minibert.lab.exercises.child import main; sys.path.remove(root); main()"
)
"""The same minibert as here; and with -P, no module that happens to lie in the current folder."""
STARTING = 60.0
"""Seconds for Python and minibert to start, on a slow machine, before the file's own time begins."""
KEPT = 65536
"""Bytes of what the file prints that are kept."""


class Ran(NamedTuple):
    """What came of it; what the file printed, the first `KEPT` bytes of it; and how many lines that was in all."""

    outcome: Outcome
    printed: str
    lines: int


def run(exercise: Exercise, path: Path, limit: float) -> Ran:
    """Judge the file, which gets `limit` seconds."""
    with tempfile.TemporaryDirectory() as folder:
        result, stack = Path(folder, "result"), Path(folder, "stack")
        process = subprocess.Popen(
            [sys.executable, "-P", "-c", BOOT, ROOT, exercise.name, path.resolve(), result, stack, str(limit)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env={**os.environ, "PYTHONIOENCODING": "utf-8:backslashreplace"},
            start_new_session=os.name == "posix",  # so that what the file starts can be ended with it
        )
        kept = Kept()
        assert process.stdout
        reader = threading.Thread(target=_read, args=(process.stdout, kept), daemon=True)
        reader.start()
        late = False
        try:
            process.wait(limit + STARTING)
        except subprocess.TimeoutExpired:
            late = True
        finally:
            _end(process)
        reader.join(5)  # a process that the file started and set free may hold the pipe
        printed, lines = kept.text(), kept.lines
        if result.exists():
            return Ran(unpacked(json.loads(result.read_text(encoding="utf-8"))), printed, lines)
        return Ran(Outcome(trouble=_silent(process.returncode, late, stack, path, limit)), printed, lines)


class Kept:
    """The beginning of what is printed, and the number of lines; one that has no end counts."""

    def __init__(self) -> None:
        self._begin, self._breaks, self._last = b"", 0, b"\n"

    def add(self, piece: bytes) -> None:
        self._begin += piece[: KEPT - len(self._begin)]
        self._breaks += piece.count(b"\n")
        self._last = piece[-1:]

    def text(self) -> str:
        return self._begin.decode("utf-8", "backslashreplace")

    @property
    def lines(self) -> int:
        return self._breaks + (self._last != b"\n")


def _read(pipe: IO[bytes], kept: Kept) -> None:
    """All of it, or the process would wait for a reader; of an endless flood the beginning is kept."""
    with pipe, suppress(OSError):
        while piece := os.read(pipe.fileno(), 65536):
            kept.add(piece)


def _end(process: subprocess.Popen[bytes]) -> None:
    with suppress(ProcessLookupError, PermissionError):
        if os.name == "posix":
            os.killpg(process.pid, signal.SIGKILL)
        else:
            process.kill()
    process.wait()


def _silent(status: int, late: bool, stack: Path, path: Path, limit: float) -> str:
    """Why there is no result."""
    shown = stack.read_text(encoding="utf-8", errors="replace") if stack.exists() else ""
    if "Timeout" in shown or late:
        name = re.escape(str(path.resolve()).encode("ascii", "backslashreplace").decode())
        line = re.search(rf'File "{name}", line (\d+)', shown)  # the innermost comes first
        where = f"{path.name}, line {line[1]}" if line else path.name
        return f"{where}: still running after {limit:g} seconds, and ended. A loop without an end?"
    if status < 0:
        return f"{path.name}: the process was ended by {signal.Signals(-status).name}"
    return f"{path.name}: the process ended, with status {status}, before the check was done. Is there an os._exit?"
