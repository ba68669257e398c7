"""Equations in index notation, which can be read, computed and taken apart.

    Equation("y[n,o] = Σ_i x[n,i]·W[o,i] + b[o]")

The registry states every tensor of a model by such an equation. It is the text on the card, what the page draws as
MathML, and what `compute` evaluates at a cell: a statement that is not true of the numbers fails a test.

    Σ_i a·b/c   mean_i(…)   max_i(…)        over all values of an index; Σ takes the product that follows it
    + − · / ^ √ ( )                         as usual; − is the minus sign, not the hyphen
    exp log tanh Φ φ relu step sigmoid      of one argument; Φ and φ are the standard normal's cdf and density
    [i = c[n]]                              1 where the indices are equal, else 0
    x[n,i]  W[hD+d,i]  o[i÷D,n,i%D]  E[ids[n],i]      indices: letters, the D numbers of head h, which head's and which
                                                      of them, a look-up
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from .evaluation import FUNCTIONS, Node, evaluate, index_of, walk

_TOKEN = re.compile(r"\s*(Σ_|mean_|max_|\d+(?:\.\d+)?|[^\W\d_][\w\u0302\u0303\u0304′]*|[-+−·/^√()\[\],=÷%])")


class Equation:
    """A tensor's value at any cell: `name[indices] = right`. ValueError says where a text cannot be read."""

    def __init__(self, text: str) -> None:
        self.text = text
        reader = _Reader(text)
        left = reader.atom()
        if left[0] not in ("tensor", "name"):
            raise ValueError(f"equation {text!r}: expected a tensor on the left")
        self.name: str = left[1]
        self.indices: tuple[str, ...] = tuple(index[1] for index in left[2]) if left[0] == "tensor" else ()
        reader.expect("=")
        self.right: Node = reader.sum()
        reader.expect("")

    def names(self) -> set[str]:
        """The tensors and constants on the right."""
        found = list(walk(self.right))
        tensors = {node[1] for node in found if node[0] in ("tensor", "name")}
        return tensors | {node[2] for node in found if node[0] in ("times", "whole", "rest")}

    def compute(self, cell: tuple[Any, ...], values: Mapping[str, Any]) -> Any:
        """The right side at a cell, or at K cells if the indices are (K,) arrays. values has what `names` names."""
        where = {letter: np.asarray(at) for letter, at in zip(self.indices, cell, strict=True)}
        return evaluate(self.right, values, where)


class _Reader:
    """Recursive descent, one method a level of precedence."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.tokens: list[str] = []
        at = 0
        while at < len(text.rstrip()):
            found = _TOKEN.match(text, at)
            if not found:
                raise ValueError(f"equation {text!r}: cannot read {text[at:]!r}")
            self.tokens.append(found[1])
            at = found.end()
        self.at = 0

    @property
    def next(self) -> str:
        return self.tokens[self.at] if self.at < len(self.tokens) else ""

    def take(self) -> str:
        self.at += 1
        return self.tokens[self.at - 1]

    def expect(self, token: str) -> None:
        if self.next != token:
            raise ValueError(
                f"equation {self.text!r}: expected {repr(token) if token else 'the end'}, got {self.next!r}"
            )
        self.at += 1

    def sum(self) -> Node:
        terms = [self.product()]
        while self.next in ("+", "−"):
            terms.append(self.product() if self.take() == "+" else ("neg", self.product()))
        return terms[0] if len(terms) == 1 else ("add", tuple(terms))

    def product(self) -> Node:
        if self.next == "−":
            self.take()
            return ("neg", self.product())
        factors = [self.power()]
        while self.next in ("·", "/"):
            if self.take() == "·":
                factors.append(self.power())
            else:
                factors = [("div", _product(factors), self.power())]
        return _product(factors)

    def power(self) -> Node:
        base = self.atom()
        if self.next != "^":
            return base
        self.take()
        return ("pow", base, self.atom())

    def atom(self) -> Node:
        token = self.take() if self.next else ""
        if token == "Σ_":
            return ("sum", self.take(), self.product())
        if token in ("mean_", "max_"):
            return (token[:-1], self.take(), self.bracketed())
        if token == "√":
            return ("root", self.atom())
        if token == "(":
            self.at -= 1
            return self.bracketed()
        if token == "[":
            left = self.index()
            self.expect("=")
            right = self.index()
            self.expect("]")
            return ("equal", left, right)
        if token[:1].isdigit():
            return ("num", token)
        if not token[:1].isalpha():
            raise ValueError(f"equation {self.text!r}: unexpected {token!r}")
        if token in FUNCTIONS:
            return ("call", token, self.bracketed())
        return self.tensor(token) if self.next == "[" else ("name", token)

    def bracketed(self) -> Node:
        self.expect("(")
        inner = self.sum()
        self.expect(")")
        return inner

    def tensor(self, name: str) -> Node:
        self.expect("[")
        indices = [self.index()]
        while self.next == ",":
            self.take()
            indices.append(self.index())
        self.expect("]")
        return ("tensor", name, tuple(indices))

    def index(self) -> Node:
        token = self.take()
        if self.next == "[":
            return self.tensor(token)
        if token.isdigit():
            return ("num", token)
        item: Node = ("times", token[0], token[1:]) if token[1:].isupper() else ("var", token)
        if self.next in ("÷", "%"):
            return ({"÷": "whole", "%": "rest"}[self.take()], token, self.take())
        if self.next == "+":
            self.take()
            return ("plus", item, self.index())
        return item


def _product(factors: list[Node]) -> Node:
    return factors[0] if len(factors) == 1 else ("mul", tuple(factors))


def write(node: Node, where: Mapping[str, int] | None = None, values: Mapping[str, Any] | None = None) -> str:
    """The node as text. Index letters that are bound to a number are replaced by it; given values, so are indices that
    are computed from them."""
    where = where or {}
    of = functools.partial(write, where=where, values=values)
    match node:
        case ("tensor", name, indices) if values is not None:
            return f"{name}[{','.join(_number(index, where, values) or of(index) for index in indices)}]"
        case ("num" | "name", text):
            return str(text)
        case ("tensor", name, indices):
            return f"{name}[{','.join(map(of, indices))}]"
        case ("var", letter):
            return str(where.get(letter, letter))
        case ("times", letter, constant):
            return f"{where[letter]}·{constant}" if letter in where else f"{letter}{constant}"
        case ("whole" | "rest", letter, constant):
            return f"{where.get(letter, letter)}{'÷' if node[0] == 'whole' else '%'}{constant}"
        case ("plus", left, right):
            return f"{of(left)}+{of(right)}"
        case ("equal", left, right):
            return f"[{of(left)} = {of(right)}]"
        case ("add", terms):
            return " + ".join(map(of, terms)).replace(" + −", " − ")
        case ("mul", factors):  # a sum takes in all that follows it
            *front, last = factors
            return "·".join(
                [*(_in_brackets(one, of, ("add", "sum")) for one in front), _in_brackets(last, of, ("add",))]
            )
        case ("neg", a):
            return f"−{_in_brackets(a, of, ('add',))}"
        case ("div", a, b):
            return f"{_in_brackets(a, of, ('add', 'sum'))}/{_in_brackets(b, of, ('add', 'mul', 'div'))}"
        case ("pow", a, b):
            return f"{_in_brackets(a, of, ('add', 'mul', 'div', 'neg'))}^{of(b)}"
        case ("root", a):
            return f"√{_in_brackets(a, of, ('add', 'mul', 'div'))}"
        case ("call", name, a):
            return f"{name}({of(a)})"
        case ("sum", letter, body):
            return f"Σ_{letter} {_in_brackets(body, of, ('add',))}"
        case (kind, letter, body):
            return f"{kind}_{letter}({of(body)})"
    raise AssertionError(node)


def _number(index: Node, where: Mapping[str, int], values: Mapping[str, Any]) -> str:
    """Of an index whose letters are all bound; empty of another."""
    try:
        return str(int(index_of(index, values, {letter: np.asarray(at) for letter, at in where.items()})))
    except KeyError:
        return ""


def _in_brackets(node: Node, of: Callable[[Node], str], kinds: tuple[str, ...]) -> str:
    return f"({of(node)})" if node[0] in kinds else of(node)
