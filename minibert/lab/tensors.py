"""Tensors by name: what a trace of a run and a trace read from a file have in common."""

from __future__ import annotations

import difflib
import fnmatch
import functools
import json
import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from ..checkpoint.names import canonical
from ..errors import InputError, LoadError
from ..formats.npz import open_npz, save_npz
from ..gradcheck import Report, Row
from ..ops.xp import Array
from .registry import Entry
from .taps import Line

_FORMAT = "minibert trace 1"
_TEXTS = "tokens", "loss", "aim", "about"

Progress = Callable[[Sequence[str]], Iterable[str]]
"""From names to the same names, one by one: what shows how far a check has come."""


class UnknownTensor(InputError, KeyError):
    """No tensor of a trace has that name."""

    __str__ = InputError.__str__  # not KeyError's, which quotes


class Tensor:
    """One tensor of a trace: its numbers, where they come from, and whether the gradient is right."""

    def __init__(self, trace: Tensors, entry: Entry) -> None:
        self.trace, self.entry = trace, entry
        self.name, self.meaning, self.axes = entry.name, entry.meaning, entry.axes
        self.equation, self.backward_equation = entry.equation, entry.gradient

    @property
    def value(self) -> Any:
        """An array; in attention of several sequences a list, one array a sequence."""
        return _only([_read_only(part) for part in self.trace.parts(self.entry)])

    @property
    def grad(self) -> Any:
        """The gradient of the loss with respect to the tensor, shaped like it."""
        return _only([_read_only(part) for part in self.trace.gradient_parts(self.entry)])

    @property
    def shape(self) -> Any:
        """Of the value; in attention of several sequences a list."""
        return _only([x.shape for x in self.trace.parts(self.entry)])

    @property
    def code(self) -> Line | None:
        """The line that computes it: str(line) is file:number, line.text the line. None for a parameter."""
        return self.trace.lines(self.entry)[0]

    @property
    def backward_code(self) -> Line | None:
        """The line that computes its gradient. None where there is no more to it than the loss itself."""
        return self.trace.lines(self.entry)[1]

    def check(self, whole: bool = True, seed: int = 0) -> Row:
        """Its gradient against the complex step, from here to the loss, or (whole=False) one step of the chain rule."""
        return self.trace.check(self.name, whole=whole, seed=seed).rows[0]

    def _repr_html_(self) -> str:
        from .page.notebook import card

        return card(self)

    def __repr__(self) -> str:
        return f"Tensor({self.name} {self.shape}: {self.meaning})"


class Tensors(Mapping[str, Tensor], ABC):
    """All tensors of a run by name, activations in the order in which they are computed, then parameters.

    A name may also be given without "bert.", as Google's ("bert/encoder/layer_0/attention/self/query/kernel") or as
    TransformerLens' ("blocks.0.attn.hook_pattern"). `find("*.probs")` lists what a pattern matches.

    entries     {name: Entry}
    tokens      of the text, if the run began with one
    loss, aim   what all gradients are gradients of: a number, and in words
    about       the model in words
    """

    entries: dict[str, Entry]
    tokens: list[str] | None
    loss: float
    aim: str
    about: str

    @abstractmethod
    def parts(self, entry: Entry) -> list[Array]:
        """The tensor's values: one array, or in attention one for each sequence."""

    @abstractmethod
    def gradient_parts(self, entry: Entry) -> list[Array]:
        """The same of the gradient."""

    def has_gradient(self, entry: Entry) -> bool:
        """Whether there is one to be asked for."""
        return True

    @abstractmethod
    def lines(self, entry: Entry) -> tuple[Line | None, Line | None]:
        """Of the code, for the value and for the gradient."""

    @abstractmethod
    def check(self, *names: str, whole: bool = False, seed: int = 0, progress: Progress = iter) -> Report:
        """Gradients against the complex step."""

    def __getitem__(self, name: str) -> Tensor:
        return Tensor(self, self.entries[self.resolve(name)])

    def __iter__(self) -> Iterator[str]:
        return iter(self._order)

    def __len__(self) -> int:
        return len(self.entries)

    @functools.cached_property
    def _order(self) -> list[str]:
        return sorted(self.entries, key=lambda name: self.entries[name].is_parameter)

    @functools.cached_property
    def _aliases(self) -> dict[str, str]:
        """Other names -> names: of other libraries, and without the model's prefix."""
        short = {name.removeprefix("bert."): name for name in self.entries}
        return {**short, **{alias: entry.name for entry in self.entries.values() for alias in entry.aliases}}

    def _repr_html_(self) -> str:
        from .page.notebook import table

        return table(self)

    def _ipython_key_completions_(self) -> list[str]:
        return list(self)

    def __repr__(self) -> str:
        parameters = sum(entry.is_parameter for entry in self.entries.values())
        return (
            f"{type(self).__name__}({len(self) - parameters} activations and {parameters} parameters of {self.about})"
        )

    def resolve(self, name: str) -> str:
        """The name in full. UnknownTensor names the nearest there are."""
        if name in self.entries:
            return name
        for spelling in (name, (canonical(name) or name).removeprefix("bert.")):
            if spelling in self._aliases:
                return self._aliases[spelling]
        near = [known for known in self if name in known] or difflib.get_close_matches(
            name, [*self, *self._aliases], 3, 0
        )
        nearest = ", ".join(list(dict.fromkeys(near))[:3])
        raise UnknownTensor(f"{name}: no tensor of this name", f"the nearest are {nearest}")

    def find(self, pattern: str) -> list[str]:
        """The names that a pattern of * and ? matches, in full or without "bert."."""
        return [
            name
            for name in self
            if fnmatch.fnmatchcase(name, pattern) or fnmatch.fnmatchcase(name.removeprefix("bert."), pattern)
        ]

    def chosen(self, names: tuple[str, ...]) -> list[str]:
        """The names that patterns or names stand for; all if there are none."""
        return [name for one in names for name in self.find(one) or [self.resolve(one)]] or list(self)

    def save(self, path: str | os.PathLike[str], parameters: bool = False) -> None:
        """Write an .npz for `minibert.load_trace`: value/NAME/k, grad/NAME/k of activations, or of parameters too."""
        arrays: dict[str, Array] = {}
        about = []
        for entry in self.entries.values():
            if entry.is_parameter and not parameters:
                continue
            kinds = {"value": self.parts(entry)}
            if self.has_gradient(entry):
                kinds["grad"] = self.gradient_parts(entry)
            for kind, parts in kinds.items():
                arrays |= {f"{kind}/{entry.name}/{k}": part for k, part in enumerate(parts)}
            about.append({**entry._asdict(), "lines": self.lines(entry)})
        texts = {"entries": about, **{key: getattr(self, key) for key in _TEXTS}}
        save_npz(path, arrays, {"format": _FORMAT, **{k: json.dumps(v) for k, v in texts.items()}})


class StoredTrace(Tensors):
    """A trace that was read from a file: numbers and equations, but no model that could be run again."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self._file = open_npz(path)
        self._path = os.fspath(path)
        texts = self._file.metadata
        if texts.get("format") != _FORMAT:
            raise LoadError(f"{self._path}: expected a trace written by Trace.save, got another .npz")
        try:
            about = [(_entry(fields), fields["lines"]) for fields in json.loads(texts["entries"])]
            self.tokens, self.loss, self.aim, self.about = (json.loads(texts[key]) for key in _TEXTS)
            self.entries = {entry.name: entry for entry, _ in about}
            self._lines = {entry.name: tuple(line and Line(*line) for line in lines) for entry, lines in about}
        except (KeyError, TypeError, ValueError) as error:
            raise LoadError(f"{self._path}: a trace's description is damaged: {error!r}") from None

    def _arrays(self, kind: str, entry: Entry) -> list[Array]:
        first = f"{kind}/{entry.name}/"
        count = sum(name.startswith(first) and name.count("/") == first.count("/") for name in self._file.tensors)
        return [self._file.read(f"{first}{k}") for k in range(max(count, 1))]

    def parts(self, entry: Entry) -> list[Array]:
        return self._arrays("value", entry)

    def gradient_parts(self, entry: Entry) -> list[Array]:
        return self._arrays("grad", entry)

    def lines(self, entry: Entry) -> tuple[Line | None, Line | None]:
        code, gradient = self._lines[entry.name]
        return code, gradient

    def check(self, *names: str, whole: bool = False, seed: int = 0, progress: Progress = iter) -> Report:
        raise InputError(f"{self._path}: a stored trace has no model to check against", "trace the model again")


def load_trace(path: str | os.PathLike[str]) -> StoredTrace:
    """What `Trace.save` wrote. NotFound, LoadError as `open_npz`."""
    return StoredTrace(path)


def _entry(fields: dict[str, Any]) -> Entry:
    tuples = {k: tuple(fields[k]) for k in ("axes", "aliases")}  # which JSON does not have
    return Entry(**{**{k: fields[k] for k in Entry._fields}, **tuples})


def _read_only(array: Array) -> Array:
    """A view that cannot be written to: the trace's numbers are what it was computed with."""
    view = array.view()
    view.flags.writeable = False
    return view


def _only(items: list[Any]) -> Any:
    return items[0] if len(items) == 1 else items
