"""The microscope: every tensor of a model's forward and backward pass, each under one name.

    trace = model.trace("The capital of France is [MASK].")
    probs = trace["encoder.layer.0.attention.self.probs"]
    probs.value, probs.grad, probs.axes, probs.equation, probs.code, probs.check()

Everything is computed in float64 by the operators of minibert.ops, whatever the model's dtype and engine.
"""

from __future__ import annotations

import copy
import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from .. import ops
from ..errors import InputError
from ..gradcheck import STEP, TOLERANCES, Report, Row, Tolerance, judge, total_norm
from ..models.base import BertPreTrainedModel, Prepared, checked_seed
from ..models.parameters import THIRDS
from ..ops.xp import Array
from .check import directions
from .chunked import layer_norm_backward_in_steps
from .registry import Entry, registry
from .symbols import Symbols
from .taps import Line
from .tensors import Progress, Tensors
from .tracer import OUT, Call, Change, Probe, Tracer, arguments, forward, using

ONE_STEP = Tolerance(1e-13, 1e-14)
"""Of one step of the chain rule. The floor is relative to the terms that are added, which cancel in the gradient of a
variance, and to a hundredth of ‖G‖: in attention they cancel before they are added, where all tokens are nearly the
same. What is left then is rounding. tests/lab holds right gradients to a fraction of it."""

_THIRDS = "q", "k", "v"
"""Variables of attention that one linear layer makes together: their gradients go back together."""


class Trace(Tensors):
    """A run of a model, forward and backward. See `Tensors` for names; `model.trace` makes one.

    model, prepared, dropout_seed     what was run, on what
    loss, aim                         a number, and what it is, in words
    grads                             {name: gradient} of the parameters
    calls                             every operator call, in order
    engine                            minibert.ops, or the same with a bug planted

    copied    when it is made: the model is in float64, and nobody else's
    """

    def __init__(
        self,
        model: BertPreTrainedModel,
        prepared: Prepared,
        dropout_seed: int | None = None,
        tokens: list[str] | None = None,
        aim: str = "",
        *,
        changes: Mapping[int, Mapping[str, Change]] | None = None,
        before: Sequence[Call] = (),
        engine: Any = ops,
        copied: bool = False,
    ) -> None:
        if not len(prepared.batch.rows):
            raise InputError("trace: attention_mask leaves no token at all")
        # a copy, unless it is one in float64 already: what is trained after this is another model
        self.model = model if copied else model.astype(np.float64)
        self.prepared, self.dropout_seed = prepared, checked_seed(dropout_seed)
        self.tokens, self.aim, self.about, self.engine = tokens, aim, repr(model), engine
        self.entries = registry(model, prepared, dropout_seed is not None)
        self._changes = changes or {}
        tracer = Tracer(changes, before, engine)
        loss, caches = forward(self.model, tracer, self.model.parameters, prepared, self.dropout_seed)
        self.loss = float(loss)
        self.grads, _ = using(self.model, tracer).grads_at(prepared, caches)
        self.calls = tracer.calls
        self.number = {call.name: i for i, call in enumerate(self.calls)}
        self._cut = max(changes or {}, default=-1)  # what lies in front of a replaced tensor has no part in the loss

    def call(self, name: str) -> Call:
        """The operator call whose cache the model files under this name."""
        return self.calls[self.number[name]]

    # ---- numbers ----------------------------------------------------------------------------------------------------

    def parts(self, entry: Entry) -> list[Array]:
        """The tensor's values: one array, or in attention one for each sequence."""
        if entry.is_parameter:
            return [self.model.parameters[entry.name]]
        call = self.call(entry.call)
        if entry.variable == OUT:
            return [np.asarray(call.y)]
        names = arguments(call.operator)
        found = [call.args[names.index(entry.variable)]] if entry.variable in names else call.inner[entry.variable]
        return [_shaped(x, entry) for x in found]

    def gradient_parts(self, entry: Entry) -> list[Array]:
        """The same of the gradient. InputError for what lies in front of a replaced tensor."""
        if not self.has_gradient(entry):
            raise InputError(
                f"{entry.name}: has no gradient here, as a tensor behind it was replaced",
                "only activations that are computed after every replaced one have",
            )
        if entry.is_parameter:
            return [self.grads[entry.name]]
        call = self.call(entry.call)
        if entry.variable in _THIRDS and call.operator == "attention":
            return self._thirds(call, _THIRDS.index(entry.variable))
        if not entry.dvariable:
            return [np.zeros_like(call.y) if call.dy is None else np.asarray(call.dy)]
        found = call.dinner.get(entry.dvariable) or [self._in_steps(call)[entry.dvariable]]
        return [_shaped(x, entry) for x in found]

    def has_gradient(self, entry: Entry) -> bool:
        """Not what lies in front of a replaced activation: it has no part in the loss."""
        return self._cut < 0 or (not entry.is_parameter and self.number[entry.call] > self._cut)

    def _thirds(self, call: Call, third: int) -> list[Array]:
        """Of dq, dk and dv what is handed on to the layer that made q, k and v."""
        dqkv, heads = self.call(f"{call.name}.qkv").dy, call.cache.num_heads
        spans = itertools.pairwise(self.prepared.batch.cu_seqlens.tolist())
        return [dqkv[a:b].reshape(b - a, 3, heads, -1)[:, third].swapaxes(0, 1) for a, b in spans]

    def _in_steps(self, call: Call) -> dict[str, Array]:
        cache = call.cache.norm if call.operator == "add_layer_norm" else call.cache
        return layer_norm_backward_in_steps(call.dy, call.inner["centred"][0], cache)

    def lines(self, entry: Entry) -> tuple[Line | None, Line | None]:
        """Of the code, for the value and for the gradient."""
        return entry.line, entry.gradient_line

    def symbols(self, name: str, sequence: int = 0) -> Symbols:
        """What the symbols of a tensor's equations stand for."""
        return Symbols(self, self.entries[self.resolve(name)], sequence)

    # ---- checks -----------------------------------------------------------------------------------------------------

    def derivative(self, name: str, along: Sequence[Array], whole: bool = True) -> tuple[float, float]:
        """The loss's derivative along a direction of a tensor, by complex step: Im loss(x + ihv)/h.

        along: v, one array, or in attention one for each sequence. whole=False goes one step of the chain rule only,
        and on by the gradients that the next operators were given. -> the derivative, and the size of the terms that
        it is the sum of, the root of the sum of their squares
        """
        steps = iter(along)
        changes, parameters = self._with(name, lambda x: x + 1j * STEP * next(steps).reshape(x.shape))
        probe = Probe(self.calls, changes, frozen=not whole)
        loss, _ = forward(self.model, probe, parameters, self.prepared, self.dropout_seed)
        return probe.derivative(loss)

    def loss_with(self, name: str, parts: Sequence[Array]) -> Array:
        """The loss with other values of one tensor, complex ones too: what differences differentiate.

        parts: one array, or in attention one for each sequence.
        """
        turns = iter(parts)
        changes, parameters = self._with(name, lambda x: next(turns).reshape(x.shape))
        tracer: Tracer = Probe(self.calls, changes)
        if not np.iscomplexobj(parts[0]):
            tracer = Tracer(changes, self.calls if changes else (), self.engine)
        return forward(self.model, tracer, parameters, self.prepared, self.dropout_seed)[0]

    def _with(self, name: str, change: Change) -> tuple[dict[int, dict[str, Change]], Mapping[str, Array]]:
        """Changes for a tracer, and parameters, that put something in the place of one tensor."""
        entry, parameters = self.entries[self.resolve(name)], self.model.parameters
        if entry.is_parameter:
            return {}, _With(parameters, entry.name, change(parameters[entry.name]))
        return {self.number[entry.call]: {entry.variable: change}}, parameters

    def check(self, *names: str, whole: bool = False, seed: int = 0, progress: Progress = iter) -> Report:
        """Gradients against the complex step, of all tensors or of those that the names or patterns stand for.

        whole=False asks of each tensor one step of the chain rule, at its true value: does its gradient follow from
        the gradients of what is computed from it? So where one operator is wrong, what it returns is and nothing else.
        whole=True goes from the tensor to the loss. One direction a tensor, N(0, I). progress: is handed the names, and
        hands them on as they are checked.
        """
        total = total_norm(self.grads.values())
        rng = directions(seed)
        rows = []
        asked = self.chosen(names) if names else [name for name in self if self.has_gradient(self.entries[name])]
        for name in progress(asked):
            gradients, values = self.gradient_parts(self.entries[name]), self.parts(self.entries[name])
            if [g.shape for g in gradients] != [x.shape for x in values]:
                shapes = f"{_shapes(gradients)}, the tensor {_shapes(values)}"
                rows.append(
                    Row(name, values[0].shape, math.nan, math.nan, math.nan, f"shape: the gradient is {shapes}")
                )
                continue
            along = [rng.standard_normal(g.shape) for g in gradients]
            # summed in pairs: over the 23 million numbers of a vocabulary's table a dot product of BLAS is less exact
            own = sum(float((g * v).sum()) for g, v in zip(gradients, along, strict=True))
            truth, size = self.derivative(name, along, whole)
            g = gradients[0] if len(gradients) == 1 else np.concatenate([g.reshape(-1) for g in gradients])
            allowed = (TOLERANCES["complex", "model"], total) if whole else (ONE_STEP, size + total / 100)
            rows.append(judge(name, g, [abs(own - truth)], *allowed))
        return Report(tuple(rows))

    # ---- interventions ----------------------------------------------------------------------------------------------

    def replace(self, changes: Mapping[str, Any]) -> Trace:
        """The run with other tensors in the place of some: {name: array, or function from the tensor to one}.

            trace.replace({"encoder.layer.0.attention.self.probs": lambda probs: probs * (heads != 3)}).loss

        What was replaced before stays so. Everything in front of the first is reused, everything behind it computed
        anew. In attention of several
        sequences an array stands for each sequence in turn: give a list. Gradients are there for what is computed after
        the last replaced activation. Raises UnknownTensor, and InputError for an array of another shape.
        """
        entries = {self.resolve(name): change for name, change in changes.items()}
        learned = {name: change for name, change in entries.items() if self.entries[name].is_parameter}
        model = self.model
        if learned:
            model = copy.copy(model)
            model.readable = model.parameters.astype(np.float64)
            for name, change in learned.items():
                model.parameters[name][...] = _replacement(self.entries[name], [change])(model.parameters[name])
        computed = {number: dict(earlier) for number, earlier in self._changes.items()}
        for name in entries.keys() - learned.keys():
            entry, change = self.entries[name], entries[name]
            count = len(self.parts(entry))
            change = change if isinstance(change, list) else [change] * count
            if len(change) != count:
                raise InputError(f"{name}: expected {count} arrays, one a sequence, got {len(change)}")
            computed.setdefault(self.number[entry.call], {})[entry.variable] = _replacement(entry, change)
        before = [] if learned else self.calls
        given = model, self.prepared, self.dropout_seed, self.tokens, self.aim
        return Trace(*given, changes=computed, before=before, engine=self.engine, copied=True)


class _With(Mapping[str, Any]):
    """Parameters with another value of one of them."""

    def __init__(self, parameters: Mapping[str, Array], name: str, value: Array) -> None:
        self._parameters = parameters
        self._changed = {name: value}
        part = name.split(".")[-2]
        if part in THIRDS:  # model code reads the three together
            joined = name.replace(f".{part}.", ".qkv.")
            whole, at = parameters[joined].astype(value.dtype), THIRDS.index(part) * len(value)
            whole[at : at + len(value)] = value
            self._changed[joined] = whole

    def __getitem__(self, name: str) -> Array:
        return self._changed[name] if name in self._changed else self._parameters[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._parameters)

    def __len__(self) -> int:
        return len(self._parameters)


def _replacement(entry: Entry, changes: Sequence[Any]) -> Change:
    """What takes the tensor's place; called once for each sequence, run after run."""
    turns = itertools.cycle(changes)

    def change(x: Array) -> Array:
        one = next(turns)
        shown = _shaped(x, entry)
        new = np.asarray(one(shown.copy()) if callable(one) else one)
        if new.dtype.kind not in "biuf":
            raise InputError(f"{entry.name}: expected real numbers, got {new.dtype}")
        if new.shape != shown.shape:
            raise InputError(f"{entry.name}: expected an array of shape {shown.shape}, got {new.shape}")
        return new.astype(np.float64).reshape(x.shape)

    return change


def _shapes(parts: Sequence[Array]) -> str:
    return " and ".join(str(part.shape) for part in parts)


def _shaped(x: Array, entry: Entry) -> Array:
    """Without the axis of length 1 that a mean keeps for broadcasting."""
    return x[..., 0] if x.ndim > len(entry.axes) else x
