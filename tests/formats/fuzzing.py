"""What every reader promises of every file: it is read, or it is a LoadError; quickly, and in little memory.

As many damaged files a format as the option says, 500 without it: `pytest tests/formats -k fuzz --fuzz 20000`.
"""

from __future__ import annotations

import time
import tracemalloc
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path

from minibert.errors import LoadError, NotFound
from minibert.formats.weights import Weights

SECONDS = 2.0


def survives(open_file: Callable[[Path], Weights], path: Path, files: Mapping[str, bytes]) -> str:
    """Writes `files` (name -> content) beside `path`, opens `path`, reads every tensor; "read" or "refused".

    Anything but a LoadError (or NotFound) that names a file, more than 2 s, or more memory than 3 times the files and
    64 MiB, is a failure.
    """
    for name, content in files.items():
        (path.parent / name).unlink(missing_ok=True)  # a new file is made much faster than a mapped one is rewritten
        (path.parent / name).write_bytes(content)
    size = sum(map(len, files.values()))
    refusal: Exception | None = None
    tracemalloc.start()
    started = time.perf_counter()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            weights = open_file(path)
            for name in weights.tensors:
                array = weights.read(name)
                assert array.shape == weights.tensors[name].shape
                del array
    except (LoadError, NotFound) as error:
        refusal = error
    finally:
        seconds = time.perf_counter() - started
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert seconds < SECONDS
    assert peak <= 3 * size + (64 << 20)
    if refusal is None:
        return "read"
    assert str(path.parent) in str(refusal), refusal
    assert len(str(refusal)) < 4000
    return "refused"
