"""Engines: the operators of minibert.ops, as they are or made fast. An engine is an object with the operators' names.

reference   the plain functions of minibert.ops
cpu         the same in float32 by kernels that Numba compiles, on all cores
gpu         the same on a card, by CuPy
auto        cpu where Numba can be imported, otherwise reference
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from typing import Any

from .. import ops
from ..errors import InputError

ON_HOST = ("auto", "reference", "cpu")
NAMES = (*ON_HOST, "gpu")


def check(name: str) -> None:
    """InputError, listing the names there are, if there is no such engine."""
    if name not in NAMES:
        raise InputError(f"engine: expected one of {', '.join(NAMES)}, got {name!r}")


def get(name: str) -> Any:
    """The engine of that name. InputError says what it lacks here; "auto" does without."""
    check(name)
    if name == "gpu":
        return _gpu()
    if name == "reference" or (name == "auto" and find_spec("numba") is None):
        return ops
    try:
        from . import cpu
    except ImportError as error:  # as Numba says of a NumPy that is too new for it
        if name == "auto":
            warnings.warn(f"without the fast engine: {error}", RuntimeWarning, stacklevel=2)
            return ops
        raise InputError(f"engine cpu: {error}", 'pip install numba threadpoolctl, or engine="reference"') from error
    return cpu


def _gpu() -> Any:
    try:
        import cupy
    except ImportError as error:
        raise InputError(
            f"engine gpu: {error}", "pip install 'minibert-numpy[cuda12]' or [cuda13], as the driver is"
        ) from error
    try:
        found = cupy.cuda.runtime.getDeviceCount()
    except cupy.cuda.runtime.CUDARuntimeError as error:
        raise InputError(f"engine gpu: CuPy finds no card: {error}", 'engine="cpu"') from error
    if not found:
        raise InputError("engine gpu: there is no card here", 'engine="cpu"')
    from . import gpu

    return gpu


def onto(name: str, x: Any) -> Any:
    """An array where the engine of that name computes."""
    return get(name).onto(x) if name == "gpu" else x


GROUP, LEAST = 512, 128
"""Tokens that a thread should have at a time: enough for matrix products at full speed, few enough for the activations
to stay in its cache; and how few pay for a thread."""


def parts(ops: Any, tokens: int) -> int:
    """Into how many groups to cut a batch of so many tokens that an engine shall work on side by side."""
    if hasattr(ops, "onto"):  # a card has threads enough of its own
        return 1
    threads = ops.workers() if hasattr(ops, "workers") else 1
    return max(1, min(threads * -(-tokens // (threads * GROUP)), tokens // LEAST))


def side_by_side(ops: Any, tasks: Sequence[Callable[[], object]]) -> None:
    """Run independent tasks on the engine's threads, if it has any."""
    if hasattr(ops, "run_tasks"):
        ops.run_tasks(tasks)
    else:
        for task in tasks:
            task()
