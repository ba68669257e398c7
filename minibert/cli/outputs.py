"""Where a verb's results and its talk go."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable

from ..formats.atomic import write_atomic
from .inputs import UsageError, printable


def check_output(output: str | None, option: str = "--output") -> None:
    """Refuses --output "", which a script with an unset variable passes."""
    if output == "":
        raise UsageError(f"{option}: expected the name of a file, got an empty one")


def say(line: str) -> None:
    """Talk, on stderr. Where nobody listens any more there is silence: that is no reason to end.

    Names of tensors stand in messages, and come from files: nothing in them moves the cursor.
    """
    try:
        print(printable(line), file=sys.stderr, flush=True)
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stderr.fileno())


def write(content: Iterable[bytes], output: str | None) -> None:
    """Writes to the file `output`, which appears when it is whole; or, as it comes, to stdout: None, or -."""
    if output and output != "-":  # of a link to a file the file is replaced, not the link
        write_atomic(os.path.realpath(output) if os.path.isfile(output) else output, content)
        return
    for piece in content:
        sys.stdout.buffer.write(piece)
        sys.stdout.buffer.flush()
