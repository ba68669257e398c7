"""The operators of minibert.ops, compiled once more with a tap behind every line that makes a named tensor.

What the microscope shows is what the reference computes: the same source, where behind `probs, _ = softmax(scores)`
stands `probs = _tap("probs", probs)`. A tap hands the tensor to whoever listens and goes on with what it gets back, so
a tensor can be looked at, and replaced, without a second version of the mathematics.
"""

from __future__ import annotations
import __future__

import ast
import functools
import inspect
import sys
import textwrap
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from .. import ops

TAPPED = {
    "attention": ("q", "k", "v", "scores", "probs", "dropped", "o"),
    "attention_backward": ("do", "dv", "ddropped", "dprobs", "dscores", "dq", "dk"),
    "layer_norm": ("mean", "centred", "variance", "rstd", "xhat"),
    "layer_norm_backward": ("dxhat", "dx"),
    "add_layer_norm": ("dropped", "added"),
    "add_layer_norm_backward": ("dadded",),
    "feed_forward": ("u", "a"),
    "feed_forward_backward": ("da", "du"),
    "cosine": ("u", "v"),
    "cosine_backward": ("du", "dv"),
    "cosine_matrix": ("u", "v"),
    "cosine_matrix_backward": ("du", "dv"),
    "linear_cross_entropy_backward": ("dlogits",),
}
"""Of each operator the variables that are tensors of their own: neither its arguments nor its result."""


class Line(NamedTuple):
    """A line of source."""

    file: str  # as in minibert/ops/attention.py
    number: int
    text: str

    def __str__(self) -> str:
        return f"{self.file}:{self.number}"


def tapped(tap: Callable[[str, Any], Any]) -> dict[str, Callable[..., Any]]:
    """{name: operator}, each of which calls tap(variable, value) and goes on with what comes back."""
    result: dict[str, Callable[..., Any]] = {}
    for name in TAPPED:
        result[name] = with_taps(getattr(ops, name), _source(getattr(ops, name)), tap, result)
    return result


@functools.cache
def _source(function: Callable[..., Any]) -> str:
    return inspect.getsource(function)


def with_taps(
    function: Callable[..., Any], source: str, tap: Callable[[str, Any], Any], others: Mapping[str, Any]
) -> Any:
    """An operator compiled from its source, or from another, with taps. others: those it calls instead of the plain."""
    scope = dict(vars(sys.modules[function.__module__]), _tap=tap)
    scope |= {name: other for name, other in others.items() if name in scope}
    exec(_compiled(function, source), scope)
    return scope[function.__name__]


@functools.cache
def _compiled(function: Callable[..., Any], source: str) -> Any:
    """The source's code with its taps, at the lines where the function stands."""
    tree = ast.parse(source)
    definition = tree.body[0]
    assert isinstance(definition, ast.FunctionDef)
    for variable in TAPPED[definition.name]:
        if not _insert(definition.body, variable):
            raise LookupError(f"taps: {definition.name} makes no {variable}")
    ast.fix_missing_locations(ast.increment_lineno(tree, inspect.getsourcelines(function)[1] - 1))
    return compile(tree, inspect.getsourcefile(function) or "", "exec", dont_inherit=True, flags=_ANNOTATIONS)


_ANNOTATIONS = __future__.annotations.compiler_flag


def _insert(body: list[ast.stmt], variable: str) -> bool:
    """A tap behind the statement that makes the variable."""
    if found := _last(body, lambda statement: variable in _assigned(statement)):
        block, i = found
        block.insert(i + 1, ast.parse(f"{variable} = _tap({variable!r}, {variable})").body[0])
    return bool(found)


def _last(body: list[ast.stmt], wanted: Callable[[ast.stmt], bool]) -> tuple[list[ast.stmt], int] | None:
    """The last wanted statement of the outermost, first block that has one: the block, and which of it."""
    for i in reversed(range(len(body))):
        if wanted(body[i]):
            return body, i
    inner = [part for statement in body for part in (getattr(statement, "body", None),) if isinstance(part, list)]
    return next(filter(None, (_last(part, wanted) for part in inner)), None)


def _assigned(statement: ast.AST) -> set[str]:
    """Names that a statement assigns, or one that it makes conditional."""
    if isinstance(statement, ast.Assign):
        return {node.id for target in statement.targets for node in ast.walk(target) if isinstance(node, ast.Name)}
    if isinstance(statement, ast.If):
        return {name for inner in statement.body + statement.orelse for name in _assigned(inner)}
    return set()


@functools.cache
def line_of(function: Callable[..., Any], variable: str) -> Line:
    """Where a function makes a variable, or, of "return", what it returns. LookupError if it does not."""
    source, start = inspect.getsourcelines(function)

    def makes(node: ast.stmt) -> bool:
        if variable == "return":
            return isinstance(node, ast.Return)
        return not isinstance(node, ast.If) and variable in _assigned(node)

    found = _last(ast.parse(textwrap.dedent("".join(source))).body, makes)
    if found is None:
        raise LookupError(f"{function.__module__}.{function.__qualname__} makes no {variable}")
    block, i = found
    number = block[i].lineno
    return Line(function.__module__.replace(".", "/") + ".py", start + number - 1, source[number - 1].strip())
