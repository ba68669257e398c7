"""What functions must not do: write into what they were given, remember, or roll dice.

Aliasing is allowed: a backward pass may return the upstream gradient itself (a sum hands it on), or one array twice.
Only writing is reported, since only writing changes a number.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from .pairs import Pair

Array = Any


def run(pair: Pair, dy: Array) -> tuple[list[Array], str]:
    """The gradients of one run, and what the functions did that they must not do; empty if nothing.

    Arguments, upstream gradient and cache are the same bits afterwards; forward and backward give the same bits when
    called again; and a second forward pass with other arguments leaves the cache of the first as it is. Where there is
    no cache, as with methods of a layer that keeps its input, backward follows its own forward pass: that is enough.
    """
    before = [np.array(a) if isinstance(a, np.ndarray) else a for a in pair.args]
    upstream = np.array(dy)
    y, cache = pair.forward(pair.args)
    first, kept = np.array(y), [(path, np.array(a)) for path, a in arrays_in(cache)]
    grads = [np.array(g) for g in pair.backward(upstream, cache)]
    cache_changed = [path for (path, a), (_, b) in zip(kept, arrays_in(cache), strict=False) if not same(a, b)]
    again = [np.array(g) for g in pair.backward(upstream, cache)]
    written = [i for i, (a, b) in enumerate(zip(pair.args, before, strict=True)) if not _unchanged(a, b)]
    if written or pair.written:
        for i in written:
            pair.args[i][...] = before[i]
        return grads, "impure: an argument was written to"
    if not same(upstream, dy):
        return grads, "impure: the upstream gradient was written to"
    if not same(np.asarray(pair.value(pair.args)), first):
        return grads, "not deterministic: forward differs when called again"
    if not _all_same(grads, again):
        return grads, "not repeatable: backward differs when called again"
    if cache_changed:
        return grads, f"impure: the cache was written to, at {cache_changed[0]}"
    _, cache = pair.forward(pair.args)
    with contextlib.suppress(Exception):  # f may not take the same numbers in other places, and says so in its own way
        pair.forward([np.roll(a, 1) if i in pair.wanted else a for i, a in enumerate(pair.args)])
    if not _all_same(grads, pair.backward(upstream, cache)):
        if pair.cached and cache is not None:
            return grads, "impure: a second forward pass overwrites the cache of the first"
        if not _all_same(grads, pair.gradients(pair.args, upstream)):
            return grads, "not repeatable: forward and backward with the same arguments give something else later"
    return grads, ""


def arrays_in(cache: Any, path: str = "cache") -> Iterator[tuple[str, Array]]:
    """(path, array) of every array in nested tuples, named tuples, lists and mappings."""
    if isinstance(cache, np.ndarray):
        yield path, cache
    elif isinstance(cache, Mapping):
        for key, value in cache.items():
            yield from arrays_in(value, f"{path}[{key!r}]")
    elif isinstance(cache, tuple | list):
        names = getattr(cache, "_fields", None)
        for i, value in enumerate(cache):
            yield from arrays_in(value, f"{path}.{names[i]}" if names else f"{path}[{i}]")


def same(a: Array, b: Array) -> bool:
    """Same shape and same numbers; NaN equals NaN."""
    return np.array_equal(a, b, equal_nan=np.asarray(a).dtype.kind in "fc")


def _unchanged(a: Any, before: Any) -> bool:
    return not isinstance(a, np.ndarray) or same(a, before)


def _all_same(a: list[Array], b: list[Array]) -> bool:
    return all(same(p, q) for p, q in zip(a, b, strict=True))
