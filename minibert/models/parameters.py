"""Parameters: what a model has (spec), where the numbers lie (Block, Windows), and how code names them (Scope)."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, MutableMapping
from typing import Any, NamedTuple

import numpy as np

from .. import engines
from ..ops.xp import Array, added, namespace

THIRDS = "query", "key", "value"
"""What `....self.qkv` joins, in this order."""


class Param(NamedTuple):
    """One tensor of a model: its Hugging Face name, its shape, how it starts, and whether weight decay acts on it."""

    name: str
    shape: tuple[int, ...]
    init: str  # "normal" (truncated at two standard deviations), "ones" or "zeros"

    @property
    def decayed(self) -> bool:
        """Matrices decay; gains and biases do not (Devlin et al. 2019, optimization.py)."""
        return len(self.shape) > 1


class Block(Mapping[str, Array]):
    """One flat array with a named view for every tensor of a spec.

    Gradients and optimiser moments are blocks of the same spec, so zeroing, norms and updates are single passes over
    `flat`. Decayed tensors come first; within a layer that puts query, key and value side by side, so that
    `....self.qkv.weight` is a (3H, H) view of the three and one product computes all of them.
    """

    def __init__(self, spec: list[Param], dtype: Any, flat: Array | None = None) -> None:
        self.spec = spec
        size = sum(math.prod(p.shape) for p in spec)
        self.flat: Array = np.zeros(size, dtype=dtype) if flat is None else flat
        self._views: dict[str, Array] = dict.fromkeys(p.name for p in spec)  # the spec's order, for iteration
        self.places: dict[str, slice] = {}  # where each tensor lies in `flat`, in the order of `flat`
        offset = 0
        for p in sorted(spec, key=lambda p: not p.decayed):
            end = offset + math.prod(p.shape)
            self.places[p.name] = slice(offset, end)
            self._views[p.name] = self.flat[offset:end].reshape(p.shape)
            offset = end
        self._joined = {
            name: self.flat[start : start + 3 * math.prod(shape)].reshape(3 * shape[0], *shape[1:])
            for name, query, shape in _joined(spec)
            for start in (self.places[query].start,)
        }

    @classmethod
    def of(cls, spec: list[Param], arrays: Mapping[str, Array]) -> Block:
        """A block that holds copies of the arrays, in the dtype that has room for all of them."""
        block = cls(spec, np.result_type(*arrays.values()))
        for p in spec:
            block[p.name][...] = arrays[p.name]
        return block

    def __getitem__(self, name: str) -> Array:
        return self._joined[name] if name in self._joined else self._views[name]

    def __contains__(self, name: object) -> bool:
        return name in self._views  # joined views are a way to look at tensors, not tensors

    def __reduce__(self) -> tuple[Any, ...]:
        return Block, (self.spec, self.flat.dtype, self.flat)  # a copy's views are views of the copy

    def __iter__(self) -> Iterator[str]:
        return iter(self._views)

    def __len__(self) -> int:
        return len(self._views)

    def like(self, dtype: Any = None) -> Block:
        """A block of zeros of the same spec: gradients, or moments. In the same dtype if none is given."""
        dtype = self.flat.dtype if dtype is None else dtype
        return Block(self.spec, dtype, namespace(self.flat).zeros(self.flat.shape, dtype))

    def onto(self, engine: str) -> Block:
        """Where an engine computes; a copy if that is elsewhere."""
        flat = engines.onto(engine, self.flat)
        return self if flat is self.flat else Block(self.spec, flat.dtype, flat)

    def astype(self, dtype: Any) -> Block:
        """A copy in another dtype."""
        return Block(self.spec, dtype, self.flat.astype(dtype))


class Windows(Mapping[str, Array]):
    """Parameters where they were read from, such as a mapped file: for reading what a Block is for reading and writing.

    Nothing is copied but query, key and value, which are joined when `....self.qkv.weight` is first asked for.
    """

    def __init__(self, spec: list[Param], arrays: Mapping[str, Array]) -> None:
        self.spec = spec
        self._arrays = dict(arrays)
        self._thirds = {name: query for name, query, _ in _joined(spec)}

    def __getitem__(self, name: str) -> Array:
        if name in self._thirds and name not in self._arrays:
            thirds = [self._thirds[name].replace(".query.", f".{part}.") for part in THIRDS]
            joined = np.concatenate([self._arrays[third] for third in thirds])
            joined.flags.writeable = False  # as what it is made from: an engine may rely on it
            self._arrays[name] = joined
        return self._arrays[name]

    def __iter__(self) -> Iterator[str]:
        return (p.name for p in self.spec)

    def __len__(self) -> int:
        return len(self.spec)


def _joined(spec: list[Param]) -> Iterator[tuple[str, str, tuple[int, ...]]]:
    """(joined name, name of its first third, shape of a third) for every query in the spec."""
    for p in spec:
        if ".self.query." in p.name:
            yield p.name.replace(".query.", ".qkv."), p.name, p.shape


def initialise(block: Block, std: float, rng: np.random.Generator, only: set[str] | None = None) -> None:
    """Fill with fresh weights: N(0, std²) truncated at 2·std (Google's choice), gains 1, biases 0.

    Tensors are drawn in the spec's order, so a seed gives the same weights everywhere.
    """
    for p in block.spec:
        if only is not None and p.name not in only:
            continue
        if p.init == "normal":
            block[p.name][...] = std * _truncated_normal(rng, p.shape)
        else:
            block[p.name][...] = 1.0 if p.init == "ones" else 0.0


def _truncated_normal(rng: np.random.Generator, shape: tuple[int, ...]) -> Array:
    x = rng.standard_normal(shape)
    while (outside := np.abs(x) > 2).any():
        x[outside] = rng.standard_normal(int(outside.sum()))
    return x


class Scope:
    """A store of named things seen from inside a module: names are relative to a dotted prefix.

    p = Scope(parameters).at("encoder.layer.0")
    weight, bias = p("output.dense")            # the arrays encoder.layer.0.output.dense.weight and .bias
    c["attention.self"] = cache                 # files under encoder.layer.0.attention.self
    """

    def __init__(self, store: Any, prefix: str = "") -> None:
        self.store = store
        self.prefix = prefix

    def at(self, name: str) -> Scope:
        """Seen from the submodule; the empty name is the module itself."""
        if not name:
            return self
        return Scope(self.store, f"{self.prefix}{name}.")

    def __getitem__(self, name: str) -> Any:
        return self.store[self.prefix + name]

    def __setitem__(self, name: str, value: Any) -> None:
        self.store[self.prefix + name] = value

    def __contains__(self, name: str) -> bool:
        return self.prefix + name in self.store

    @property
    def forgets(self) -> bool:
        """Whether whatever is filed here is dropped."""
        return isinstance(self.store, Keep) and not self.store.suffixes

    def __call__(self, name: str) -> tuple[Array, Array]:
        """The (weight, bias) pair of a module."""
        return self[f"{name}.weight"], self[f"{name}.bias"]

    def add(self, name: str, dweight: Array, dbias: Array) -> None:
        """Add gradients to those of a module's weight and bias. Large ones are added where they are computed, by
        operators that are given their totals."""
        added(self(name), dweight, dbias)


class Keep(MutableMapping[str, Any]):
    """A store for caches that keeps what ends in one of the given suffixes and drops the rest.

    Inference files its caches here, so model code needs no flag that says whether backward will follow.
    """

    def __init__(self, *suffixes: str) -> None:
        self.suffixes = suffixes
        self._kept: dict[str, Any] = {}

    def __setitem__(self, name: str, value: Any) -> None:
        if name.endswith(self.suffixes):
            self._kept[name] = value

    def __getitem__(self, name: str) -> Any:
        return self._kept[name]

    def __delitem__(self, name: str) -> None:
        del self._kept[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._kept)

    def __len__(self) -> int:
        return len(self._kept)
