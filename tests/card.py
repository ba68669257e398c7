"""A stand-in for CuPy that needs no card: arrays that compute as NumPy's do, and are as unwilling to mix with them.

CuPy raises where an array of the host meets one of the card in arithmetic or as an index, and where NumPy would read
the card's memory, as in `np.asarray(x)`. Here that is so for every function of NumPy: CuPy hands many of them on to the
card by itself, but code that relies on it reads as if it ran on the host.

    card = Card(); x = card.asarray(np.zeros(3)); card.asnumpy(x + 1)

What leaves the card by `asnumpy`, `item`, `tolist`, `float` or `int` makes the host wait for it. `card.waits` counts.
"""

from __future__ import annotations

import operator
from types import ModuleType, SimpleNamespace

import numpy as np

HOST = (bool, int, float, complex, str, slice, type, type(None), type(...), np.generic, np.dtype)


class ndarray:  # noqa: N801  CuPy's name
    """A NumPy array `_a` that only functions of its own library may see."""

    __array_ufunc__ = None  # np.float32(2) * x asks x
    __hash__ = None
    __module__ = "cupy"

    def __init__(self, a, card):
        self._a, self._card = a, card

    def __array__(self, *args, **kwargs):
        raise TypeError("implicit conversion to a NumPy array: call asnumpy, and mean it")

    def __array_function__(self, function, *args):
        raise TypeError(f"numpy.{function.__name__} was called with an array of the card")

    def __getattr__(self, name):
        if name.startswith("__"):  # NumPy's ways to the memory itself among them
            raise AttributeError(name)
        found = getattr(self._a, name)
        return self._card.carried(found) if callable(found) else self._card.wrapped(found)

    def __setattr__(self, name, value):
        object.__setattr__(self, name, value) if name in ("_a", "_card") else setattr(self._a, name, value)

    def __getitem__(self, index):
        return self._card.wrapped(self._a[self._card.opened(index)])

    def __setitem__(self, index, value):
        self._a[self._card.opened(index)] = self._card.opened(value)

    def __iter__(self):
        return (self[i] for i in range(len(self._a)))

    def __len__(self):
        return len(self._a)

    def __repr__(self):
        return f"card({self._a!r})"

    def __copy__(self):
        return self.copy()

    def _read(self, how):
        self._card.waits += 1
        return how(self._a)

    def __bool__(self):
        return self._read(bool)

    def __int__(self):
        return self._read(int)

    def __index__(self):
        return self._read(operator.index)

    def __float__(self):
        return self._read(float)

    def __complex__(self):
        return self._read(complex)

    def item(self, *args):
        return self._read(lambda a: a.item(*args))

    def get(self):
        return self._read(np.array)

    def tolist(self):
        return self._read(np.ndarray.tolist)


def _binary(name, swapped):
    function = getattr(operator, name)

    def compute(self, other):
        if not isinstance(other, (ndarray, *HOST)):
            if isinstance(other, np.ndarray):
                raise TypeError(f"{name}: an array of the host and one of the card")
            return NotImplemented
        pair = self._a, self._card.opened(other)
        return self._card.wrapped(function(*(pair[::-1] if swapped else pair)))

    return compute


def _unary(name):
    function = getattr(operator, name)
    return lambda self: self._card.wrapped(function(self._a))


def _in_place(name):
    function = getattr(operator, name)

    def compute(self, other):
        function(self._a, self._card.opened(other))
        return self

    return compute


for _name in ("add", "sub", "mul", "truediv", "floordiv", "mod", "pow", "matmul", "and_", "or_", "xor", "rshift"):
    _short = _name.rstrip("_")
    setattr(ndarray, f"__{_short}__", _binary(_name, swapped=False))
    setattr(ndarray, f"__r{_short}__", _binary(_name, swapped=True))
    setattr(ndarray, f"__i{_short}__", _in_place(f"i{_short}"))
for _name in ("eq", "ne", "lt", "le", "gt", "ge"):
    setattr(ndarray, f"__{_name}__", _binary(_name, swapped=False))
for _name in ("neg", "pos", "abs", "invert"):
    setattr(ndarray, f"__{_name}__", _unary(_name))


class Card(ModuleType):
    """The module: NumPy's names, for arrays of the card alone."""

    ndarray = ndarray

    def __init__(self):
        super().__init__("cupy")
        self.waits = 0
        self.cuda = SimpleNamespace(runtime=SimpleNamespace(getDeviceCount=lambda: 1, CUDARuntimeError=RuntimeError))

    def __getattr__(self, name):
        found = getattr(np, name)
        if isinstance(found, np.ufunc):
            return Ufunc(found, self)
        if isinstance(found, type) or not callable(found):
            return found
        return self.carried(found)

    def asarray(self, x, dtype=None):
        """The one way onto the card."""
        return ndarray(np.array(x._a if isinstance(x, ndarray) else x, dtype), self)

    array = asarray

    def asnumpy(self, x):
        """The way back."""
        return x._read(np.array) if isinstance(x, ndarray) else np.asarray(x)

    def opened(self, x):
        """What NumPy is given for an argument. TypeError for an array of the host."""
        if isinstance(x, ndarray):
            return x._a
        if isinstance(x, tuple | list):
            return type(x)(map(self.opened, x))
        if isinstance(x, HOST):
            return x
        raise TypeError(f"a {type(x).__module__}.{type(x).__qualname__} was given to the card")

    def wrapped(self, x):
        """A result, on the card: a number, too, is an array without axes there."""
        if isinstance(x, np.ndarray | np.generic):
            return ndarray(np.asarray(x), self)
        return type(x)(map(self.wrapped, x)) if type(x) in (tuple, list) else x

    def carried(self, function):
        def call(*args, **kwargs):
            return self.wrapped(function(*map(self.opened, args), **{k: self.opened(v) for k, v in kwargs.items()}))

        return call


class Ufunc:
    def __init__(self, ufunc, card):
        self.ufunc, self.card = ufunc, card

    def __call__(self, *args, **kwargs):
        return self.card.carried(self.ufunc)(*args, **kwargs)

    def __getattr__(self, name):
        return self.card.carried(getattr(self.ufunc, name))


CARD = Card()
