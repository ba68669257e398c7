"""What an entry of the registry says, and how entries are collected."""

from __future__ import annotations

import functools
import importlib
import operator
from typing import Any, NamedTuple

from ... import ops
from ...models.config import BertConfig
from ..equations import Equation
from ..taps import Line, line_of

AXES = {
    "N": "token of the batch",
    "T": "token of the sequence",
    "A": "head",
    "D": "feature of the head",
    "H": "hidden feature",
    "I": "intermediate feature",
    "V": "word of the vocabulary",
    "P": "position",
    "S": "segment",
    "C": "class",
    "M": "asked place",
    "B": "sequence",
    "Q": "pair of texts",
}
"""The letters of axes in words. A primed one, T′, is of the tokens that are attended to."""


class Entry(NamedTuple):
    """A tensor of a model: what it is, how it comes about, where the code makes it, and where a run has it."""

    name: str
    meaning: str
    axes: tuple[str, ...]
    symbol: str  # in equations; its gradient is "d" + symbol
    equation: str  # empty for a parameter
    gradient: str  # equation of the gradient
    code: str  # "models.bert:embeddings.x", module, function and variable; "attention.probs" of an operator; or empty
    gradient_code: str
    symbols: dict[str, str]  # of both equations -> name of a tensor, constant or input
    call: str = ""  # name of the operator call that has it; empty for a parameter
    variable: str = ""  # in that call; "out" is its result
    dvariable: str = ""  # in its backward pass; empty: what backward is given
    aliases: tuple[str, ...] = ()

    @property
    def is_parameter(self) -> bool:
        """Learned, as against computed."""
        return not self.call

    @property
    def line(self) -> Line | None:
        """Where it is computed."""
        return _line(self.code)

    @property
    def gradient_line(self) -> Line | None:
        """Where its gradient is computed."""
        return _line(self.gradient_code)

    @property
    def forward(self) -> Equation | None:
        """The equation, to be computed."""
        return _equation(self.equation)

    @property
    def backward(self) -> Equation | None:
        """The equation of the gradient, to be computed."""
        return _equation(self.gradient)


@functools.lru_cache(4096)
def _equation(text: str) -> Equation | None:
    return Equation(text) if text else None


def _line(place: str) -> Line | None:
    if not place:
        return None
    module, _, where = place.rpartition(":")
    function, _, variable = where.rpartition(".")
    home: Any = importlib.import_module(f"minibert.{module}") if module else ops
    return line_of(operator.attrgetter(function)(home), variable)


class Gradient(NamedTuple):
    """Of a tensor that other rooms read: what its gradient is, and where it is made."""

    equation: str  # the right-hand side
    code: str


class Room:
    """Collects the entries of a part of the model, whose names share a prefix and whose equations share symbols."""

    def __init__(self, entries: dict[str, Entry], prefix: str, config: BertConfig, symbols: dict[str, str]) -> None:
        self.entries = entries
        self.prefix = prefix
        self.config = config
        self.symbols = symbols  # shared by all entries of the room, so it may grow while they are made

    def add(
        self, name: str, symbol: str, axes: str, meaning: str, equation: str, gradient: str = "", *,
        call: str = "", variable: str = "out", dvariable: str = "", code: str, gradient_code: str = "",
        aliases: tuple[str, ...] = (),
    ) -> None:  # fmt: skip
        """An activation. `call` is relative to the room, as the name, which it is by default."""
        full = self.prefix + name
        self.symbols[symbol] = full
        self.entries[full] = Entry(
            full, meaning, tuple(axes.split()), symbol, equation, gradient, code, gradient_code, self.symbols,
            self.prefix + (call or name), variable, dvariable, aliases,
        )  # fmt: skip

    def tap(
        self, operator: str, call: str, name: str, variable: str, symbol: str, axes: str, meaning: str,
        equation: str, gradient: str, *, code: str = "", aliases: tuple[str, ...] = (),
    ) -> None:  # fmt: skip
        """An activation that is a tapped variable of an operator, and its gradient one of the backward pass."""
        self.add(
            name, symbol, axes, meaning, equation, gradient, call=call, variable=variable, dvariable=f"d{variable}",
            code=code or f"{operator}.{variable}", gradient_code=f"{operator}_backward.d{variable}", aliases=aliases,
        )  # fmt: skip

    def parameter(
        self, name: str, symbol: str, axes: str, meaning: str, gradient: str, code: str, aliases: tuple[str, ...] = ()
    ) -> None:
        """A learned tensor. Those of other rooms, a tied decoder, are only given a symbol."""
        full = self.prefix + name
        self.symbols[symbol] = full
        self.entries[full] = Entry(
            full, meaning, tuple(axes.split()), symbol, "", gradient, "", code, self.symbols, aliases=aliases
        )

    def linear(self, name: str, what: str, weight: str, dy: str, x: str, out: str = "H", inputs: str = "H") -> None:
        """Weight and bias of a linear layer: dW = dyᵀx, db = Σ dy. dy and x are written with the index n and o or i."""
        w, b = f"W{weight}", f"b{weight}"
        code = "linear_backward"
        self.parameter(f"{name}.weight", w, f"{out} {inputs}", f"weight of {what}", f"d{w}[o,i] = Σ_n {dy}·{x}",
            f"{code}.dweight")  # fmt: skip
        self.parameter(f"{name}.bias", b, out, f"bias of {what}", f"d{b}[o] = Σ_n {dy}", f"{code}.dbias")

    def layer_norm(
        self, name: str, z: str, y: str, s: str, dy: Gradient, aliases: tuple[str, ...] = (), rows: str = "N"
    ) -> None:
        """Everything between z, which must be there already, and y. s is the subscript of the symbols."""
        mean, c, var, r, xhat, gamma, beta = (f"{letter}{s}" for letter in ("μ", "c", "σ²", "r", "x̂", "γ", "β"))
        for variable, symbol, axes, meaning, equation, backward in (
            ("mean", mean, "N", "mean of a token's features", f"[n] = mean_i({z}[n,i])", f"[n] = −Σ_i d{c}[n,i]"),
            ("centred", c, "N H", "deviation from the mean", f"[n,i] = {z}[n,i] − {mean}[n]",
             f"[n,i] = d{xhat}[n,i]·{r}[n] + 2·{c}[n,i]·d{var}[n]/H"),
            ("variance", var, "N", "variance of a token's features", f"[n] = mean_i({c}[n,i]^2)",
             f"[n] = −d{r}[n]·{r}[n]^3/2"),
            ("rstd", r, "N", "one over the standard deviation", f"[n] = 1/√({var}[n] + ε)",
             f"[n] = Σ_i d{xhat}[n,i]·{c}[n,i]"),
            ("xhat", xhat, "N H", "normalised: mean 0, variance 1", f"[n,i] = {c}[n,i]·{r}[n]",
             f"[n,i] = d{y}[n,i]·{gamma}[i]"),
        ):  # fmt: skip
            home = "layer_norm_backward" if variable == "xhat" else "lab.chunked:layer_norm_backward_in_steps"
            self.add(f"{name}.{variable}", symbol, axes.replace("N", rows), meaning, symbol + equation,
                f"d{symbol}{backward}", call=name, variable=variable, dvariable=f"d{variable}",
                code=f"layer_norm.{variable}", gradient_code=f"{home}.d{variable}")  # fmt: skip
        self.add(name, y, f"{rows} H", "normalised, with gain and bias",
            f"{y}[n,i] = {gamma}[i]·{xhat}[n,i] + {beta}[i]", f"d{y}[n,i] = {dy.equation}",
            code="layer_norm.y", gradient_code=dy.code, aliases=aliases)  # fmt: skip
        code = "layer_norm_backward.return"
        self.parameter(f"{name}.weight", gamma, "H", "gain", f"d{gamma}[i] = Σ_n d{y}[n,i]·{xhat}[n,i]", code)
        self.parameter(f"{name}.bias", beta, "H", "bias", f"d{beta}[i] = Σ_n d{y}[n,i]", code)


def layer_norm_gradient(z: str, s: str) -> str:
    """The coded line of layer normalisation's backward pass, as the equation of the gradient of its input z."""
    d, x = f"dx̂{s}", f"x̂{s}"
    return f"d{z}[n,i] = r{s}[n]·({d}[n,i] − mean_j({d}[n,j]) − {x}[n,i]·mean_j({d}[n,j]·{x}[n,j]))"


ACTIVATIONS = {
    "gelu": ("{u}·Φ({u})", "(Φ({u}) + {u}·φ({u}))"),
    "gelu_new": (
        "{u}·(1 + tanh(√(2/π)·({u} + 0.044715·{u}^3)))/2",
        "((1 + tanh(√(2/π)·({u} + 0.044715·{u}^3)))/2"
        " + {u}·(1 − tanh(√(2/π)·({u} + 0.044715·{u}^3))^2)/2·√(2/π)·(1 + 3·0.044715·{u}^2))",
    ),
    "relu": ("relu({u})", "step({u})"),
    "silu": ("{u}·sigmoid({u})", "(sigmoid({u}) + {u}·sigmoid({u})·(1 − sigmoid({u})))"),
    "tanh": ("tanh({u})", "(1 − tanh({u})^2)"),
}
"""Of each activation its value and its derivative at u."""
