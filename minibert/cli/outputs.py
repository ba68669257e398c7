"""Where a verb's results go."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable

from ..formats.atomic import write_atomic
from .inputs import UsageError


def check_output(output: str | None) -> None:
    """Refuses --output "", which a script with an unset variable passes."""
    if output == "":
        raise UsageError("--output: expected the name of a file, got an empty one")


def write(content: Iterable[bytes], output: str | None) -> None:
    """Writes to the file `output`, which appears when it is whole; or, as it comes, to stdout: None, or -."""
    if output and output != "-":  # of a link to a file the file is replaced, not the link
        write_atomic(os.path.realpath(output) if os.path.isfile(output) else output, content)
        return
    for piece in content:
        sys.stdout.buffer.write(piece)
        sys.stdout.buffer.flush()
