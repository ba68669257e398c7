"""The operators on a card: those of minibert.ops, on CuPy's arrays.

Parameters and activations lie on the card and stay there. What is planned lies on the host: which tokens, which labels,
where sequences begin, small arrays of whole numbers. An operator takes them as they are, and puts on the card what it
computes with. Where sequences begin, `cu_...`, and where their `answers` are, tell loops how far to run: both stay
where loops are.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any

import cupy
import numpy as np

from .. import ops
from ..ops.xp import Array

__all__ = ["onto", *ops.__all__]


def onto(x: Array) -> Array:
    """An array of the host on the card; one of the card is there."""
    return cupy.asarray(x)


def _with_plans(operator: Callable[..., Any]) -> Callable[..., Any]:
    """The operator, given plans of the host. Where the card is full, CuPy says how full; here, what to do about it."""
    names = list(inspect.signature(operator).parameters)

    @functools.wraps(operator)
    def on_card(*args: Any, **options: Any) -> Any:
        try:
            given = [
                onto(x) if isinstance(x, np.ndarray) and not name.startswith(("cu_", "answers")) else x
                for name, x in zip(names, args, strict=False)
            ]
            return operator(*given, *args[len(given) :], **options)
        except MemoryError as error:
            error.add_note(
                f"in {operator.__name__}, on the card\n  hint: fewer texts at a time, shorter ones, or a smaller model"
            )
            raise

    return on_card


globals().update({name: _with_plans(f) if callable(f := getattr(ops, name)) else f for name in ops.__all__})
