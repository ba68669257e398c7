"""A forward function and its backward, in either of the two conventions, behind one pair of calls."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

Array = Any


class Pair:
    """One function pair at one list of arguments.

    f returns (y, cache)    f_backward(dy, cache)      the convention of minibert.ops
    f returns y             f_backward(dy, *args)      plain functions on arrays
    f returns y             f_backward(dy)             methods of an object that keeps what backward needs

    Which one it is shows in what f returns, a tuple of two is (y, cache), and in what f_backward takes. The float64
    arrays among args are differentiated; all else is passed on, Python floats (eps) too. f_backward returns a gradient
    for each of these arrays, in their order, a single one bare; or one for every argument, with None where there is
    none.
    """

    def __init__(self, where: str, f: Callable[..., Any], f_backward: Callable[..., Any], args: Sequence[Any]) -> None:
        for role, function in (("f", f), ("f_backward", f_backward)):
            if not callable(function):
                raise TypeError(f"{where}: expected {role} to be a function, got {kind(function)}")
        self.f, self.f_backward, self.where = f, f_backward, where
        bare: Any = args
        if isinstance(bare, np.ndarray):
            raise TypeError(
                f"{where}: expected args to be a list of f's arguments, got a {kind(bare)} alone: put it in []"
            )
        # copies: what f writes into is not the caller's
        given, self.args = list(args), [a.copy() if isinstance(a, np.ndarray) else a for a in args]
        self.wanted = [i for i, a in enumerate(self.args) if isinstance(a, np.ndarray) and a.dtype.kind == "f"]
        if not self.wanted or any(self.args[i].dtype != np.float64 for i in self.wanted):
            raise TypeError(
                f"{where}: expected args to be a list with at least one float64 array and no other float dtype; "
                f"got {', '.join(map(kind, self.args)) or 'nothing'} (x.astype(np.float64) makes one of x)"
            )
        result = f(*self.args)
        self.written = False  # by the forward pass, into an argument
        for a, before in zip(self.args, given, strict=True):
            if isinstance(a, np.ndarray) and not np.array_equal(a, before, equal_nan=a.dtype.kind in "fc"):
                self.written = True
                a[...] = before
        self.names = argument_names(f, len(self.args))
        self.cached = isinstance(result, tuple) and len(result) == 2
        y = result[0] if self.cached else result
        if not isinstance(y, np.ndarray | np.generic | float) or np.asarray(y).dtype != np.float64:
            got = f"a tuple of {len(result)}" if isinstance(result, tuple) and not self.cached else kind(y)
            raise TypeError(f"{where}: expected f to return a float64 array y, or (y, cache); got {got}")
        self.y = np.asarray(y)
        self.second = self.cached and is_output(result[1], self.args)
        self.keeps = not self.cached and bool(self._takes(("dy", *self.names))) and not self._takes(("dy",))
        if not self.keeps:
            self._fits(("dy", "cache") if self.cached else ("dy", *self.names))

    def forward(self, args: Sequence[Any]) -> tuple[Array, Any]:
        """(y, cache) at args; the cache of a plain function is its arguments."""
        result = self.f(*args)
        return (result[0], result[1]) if self.cached else (result, tuple(args))

    def value(self, args: Sequence[Any]) -> Array:
        return self.forward(args)[0]

    def backward(self, dy: Array, cache: Any) -> list[Array]:
        """The gradients of the wanted arguments, as returned."""
        dy = dy[()]  # a scalar function gets a scalar
        returned = self.f_backward(dy, *([cache] if self.cached else () if self.keeps else cache))
        grads = list(returned) if isinstance(returned, tuple | list) else [returned]
        if len(grads) == len(self.args) and any(g is None for g in grads):
            grads = [g for i, g in enumerate(grads) if i in self.wanted or g is not None]
        if any(not hasattr(g, "dtype") for g in grads):
            raise TypeError(f"{self.where}: expected backward to return arrays, got {', '.join(map(kind, grads))}")
        if len(grads) != len(self.wanted):
            names = ", ".join(self.names[i] for i in self.wanted)
            raise TypeError(
                f"{self.where}: expected a gradient for each of {names}, and none for other arguments; backward "
                f"returned {len(grads)}"
            )
        return grads

    def gradients(self, args: Sequence[Any], dy: Array) -> list[Array]:
        """Forward and backward in one go."""
        return self.backward(dy, self.forward(args)[1])

    def _takes(self, call: Sequence[str]) -> str:
        """Why f_backward cannot be called with these arguments; "" if it can, or has no signature."""
        try:
            inspect.signature(self.f_backward).bind(*call)
        except ValueError:  # some callables have none
            return ""
        except TypeError as error:
            return str(error)
        return ""

    def _fits(self, call: Sequence[str]) -> None:
        """TypeError if f_backward cannot be called the way that follows from what f returns."""
        refusal = self._takes(call)
        if not refusal:
            return
        what, other = "an array alone", "(y, cache), for f_backward(dy, cache)"
        if self.cached:
            what, other = "(y, cache)", "an array alone, for f_backward(dy, *args)"
        two = f". {TWO_OUTPUTS}" if self.second else ""
        raise TypeError(
            f"{self.where}: f returns {what}, so backward is called as f_backward({', '.join(call)}), "
            f"which it does not take ({refusal}). Or let f return {other}{two}"
        )


TWO_OUTPUTS = (
    "f returned two arrays: the first was taken as y, the second as the cache, which is not differentiated. "
    "If it is a second output, join the two (np.concatenate), and let backward split dy."
)


def is_output(cache: Any, args: Sequence[Any]) -> bool:
    """Does what stands in the place of a cache look like a second result: a bare float array that is no argument?"""
    if not isinstance(cache, np.ndarray) or cache.dtype.kind != "f":
        return False
    return not any(isinstance(a, np.ndarray) and np.array_equal(a, cache, equal_nan=True) for a in args)


def replaced(args: Sequence[Any], i: int, x: Array) -> list[Any]:
    """args with x at place i."""
    return [*args[:i], x, *args[i + 1 :]]


def argument_names(f: Callable[..., Any], count: int) -> list[str]:
    """f's own names of `count` arguments; "argument 3" where it has none."""
    try:
        names = list(inspect.signature(f).parameters)
    except (TypeError, ValueError):
        names = []
    return [names[i] if i < len(names) else f"argument {i}" for i in range(count)]


def kind(value: Any) -> str:
    return f"{value.dtype} array" if isinstance(value, np.ndarray) else type(value).__name__
