"""The operators of minibert.ops, made fast on CPUs: NumPy's BLAS or, where the processor has one, its matrix unit, and
kernels that Numba compiles, on one thread pool.

Everything here has the name, the parameters and the results of its reference. What is fast is float32; arrays of any
other dtype go to the reference, so proofs in float64 and by complex step run on every engine. A cache is private to
whoever made it, and so backward finds its forward.

How many threads, by construction: an operator is cut into as many parts as there are threads (`threads.count`), but
into none too small to pay for handing it over; where all must wait for the last, they take small pieces from each
other (`counters`). A batch without gradients is cut into groups of whole sequences first, which need no word with each
other until the end. On 1 core nothing is cut. On 64 a single sentence uses the few threads that it can feed, and a
batch uses all.

`encoder_layers` is the one operator without a reference of its own: it is those of a layer, one after the other.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Iterable
from importlib import import_module
from types import ModuleType
from typing import Any

import numpy as np

from ... import ops
from ...ops import *  # noqa: F403  (what is not made fast below)
from . import threads
from .attention import attention_probs as _attention_probs
from .encoder_layers import encoder_layers as encoder_layers

workers = threads.count


def run_tasks(tasks: Iterable[Callable[[], object]]) -> None:
    """Run the tasks on the pool. BLAS is held for all of it, and not by one operator after the other."""
    with threads.held():
        threads.run(tasks)


# operator -> the file here that has it and its backward
MADE_FAST = {
    "linear": "linear",
    "embedding": "embedding",
    "gather_rows": "embedding",
    "scatter_rows": "embedding",
    "gelu": "activations",
    "gelu_new": "activations",
    "relu": "activations",
    "silu": "activations",
    "tanh": "activations",
    "feed_forward": "feed_forward",
    "attention": "attention",
    "dropout": "dropout",
    "layer_norm": "layer_norm",
    "add_layer_norm": "layer_norm",
    "cross_entropy": "losses",
    "global_norm": "optimiser",
    "adamw": "optimiser",
}


def _forward(name: str, module: ModuleType) -> Callable[..., Any]:
    fast, reference = getattr(module, name), getattr(ops, name)

    @functools.wraps(reference)
    def operator(*args: Any, **options: Any) -> Any:
        floats = [a.dtype for a in args if isinstance(a, np.ndarray) and a.dtype.kind in "fc"]
        fits = floats and all(dtype == np.float32 for dtype in floats)
        return (fast if fits else reference)(*args, **options)

    return operator


def _backward(name: str, module: ModuleType) -> Callable[..., Any]:
    fast, reference = getattr(module, name), getattr(ops, name)

    @functools.wraps(reference)
    def operator(dy: Any, cache: Any, *totals: Any) -> Any:
        if not type(cache).__module__.startswith(__name__):
            return reference(dy, cache, *totals)
        # not ascontiguousarray, which makes a vector of a scalar
        dy = np.asarray(dy, np.float32, order="C") if isinstance(dy, np.ndarray) else dy
        return fast(dy, cache, *totals)

    return operator


def attention_probs(cache: Any) -> list[Any]:  # type: ignore[no-redef]
    """What the model attended to: one (A, T, T) array a sequence, rows summing to 1, before dropout."""
    own = type(cache).__module__.startswith(__name__)
    return _attention_probs(cache) if own else ops.attention_probs(cache)


_here = sys.modules[__name__]
for _name, _file in MADE_FAST.items():
    _module = import_module(f".{_file}", __name__)  # `from . import linear` would find the operator of that name
    setattr(_here, _name, _forward(_name, _module))
    if (_gradient := f"{_name}_backward") in ops.__all__:
        setattr(_here, _gradient, _backward(_gradient, _module))
linear_cross_entropy_backward = _backward("linear_cross_entropy_backward", import_module(".losses", __name__))
