"""A student's file, read and not run: how much an answer does, and what it takes from the package."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator, Mapping

Definitions = Mapping[str, ast.AST]

DEFINITION = ast.FunctionDef | ast.ClassDef
EACH = {"map", "vectorize", "apply_along_axis", "frompyfunc"}
"""Functions that call another for every element: loops, too."""


def function_in(source: str | bytes, name: str, line: int | None = None) -> ast.FunctionDef | None:
    """The function of this name that a file defines; the last one, or that which begins in this line."""
    found = [node for node in ast.parse(source).body if isinstance(node, ast.FunctionDef) and node.name == name]
    if line is not None:
        found = [node for node in found if line in (node.lineno, *(one.lineno for one in node.decorator_list))]
    return found[-1] if found else None


def unread(source: str) -> set[str]:
    """Names that a function's source assigns and never reads."""
    tree = ast.parse(source)
    return {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)} - names_used([tree]) - {"_"}


# ---- what an answer does -------------------------------------------------------------------------------------------


def definitions(source: str | bytes, given: str) -> dict[str, ast.AST]:
    """{name: what the file says it is}: functions, classes, and names that are assigned outside of them. What stands
    in the given file just so is left out."""
    known = {ast.dump(node) for node in ast.walk(ast.parse(given)) if isinstance(node, DEFINITION)}
    tree, found = ast.parse(source), dict[str, ast.AST]()
    for line in tree.body:
        if isinstance(line, ast.Assign):
            found |= {
                name.id: line for target in line.targets for name in ast.walk(target) if isinstance(name, ast.Name)
            }
    for node in ast.walk(tree):
        if isinstance(node, DEFINITION) and ast.dump(node) not in known:
            found[node.name] = node
    return found


def reached(function: ast.FunctionDef, defined: Definitions) -> list[ast.AST]:
    """The function, and whatever of these it uses, and those use."""
    result: list[ast.AST] = [function]
    names = {function.name}
    for part in result:  # which grows
        for name in sorted(names_used([part]) & set(defined) - names):
            names.add(name)
            result.append(defined[name])
    return result


def names_used(parts: Iterable[ast.AST]) -> set[str]:
    """Names that are read there."""
    nodes = (node for part in parts for node in ast.walk(part))
    return {node.id for node in nodes if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load)}


def excesses(function: ast.FunctionDef, defined: Definitions | None = None) -> tuple[int, int]:
    """Of a function and what it reaches: statements, without docstrings; how deep loops are nested.

    `:=` and `lambda` are statements in the middle of another. What calls itself is a loop.
    """
    defined = defined or {}
    found = {_place(node) for part in reached(function, defined) for node in ast.walk(part) if _counts(node)}
    found -= {_place(node) for node in defined.values()}  # a constant's line; a lambda in it was counted
    return len(found), _depth(function, defined, (function.name,))


def _counts(node: ast.AST) -> bool:
    text = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    return isinstance(node, ast.stmt | ast.Lambda | ast.NamedExpr) and not isinstance(node, DEFINITION) and not text


def _place(node: ast.AST) -> tuple[type[ast.AST], int, int]:
    return type(node), getattr(node, "lineno", 0), getattr(node, "col_offset", 0)


def _depth(node: ast.AST, defined: Definitions, inside: tuple[str, ...]) -> int:
    if isinstance(node, ast.Name) and node.id in (*defined, *inside) and isinstance(node.ctx, ast.Load):
        return 1 if node.id in inside else _depth(defined[node.id], defined, (*inside, node.id))
    below = max((_depth(child, defined, inside) for child in ast.iter_child_nodes(node)), default=0)
    if isinstance(node, ast.ListComp | ast.SetComp | ast.DictComp | ast.GeneratorExp):
        return below + len(node.generators)
    each = isinstance(node, ast.Call) and _last(node.func) in EACH
    return below + (each or isinstance(node, ast.For | ast.While | ast.AsyncFor))


def _last(function: ast.expr) -> str:
    return (
        function.attr if isinstance(function, ast.Attribute) else function.id if isinstance(function, ast.Name) else ""
    )


# ---- what it takes -------------------------------------------------------------------------------------------------


def modules(source: str | bytes) -> set[str]:
    """That a file imports from, or imports."""
    found = set[str]()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found.add(node.module or "")
    return found


def imported(source: str | bytes) -> set[str]:
    """Names that a file imports, by the names which they have where they are from."""
    return {
        alias.name for node in ast.walk(ast.parse(source)) if isinstance(node, ast.ImportFrom) for alias in node.names
    }


def borrowed(source: str | bytes, given: set[str]) -> dict[str, int]:
    """{name: line} of the package's backward passes that a file takes, other than these: by import, or as an attribute
    of the package or of anything that comes from it."""
    tree = ast.parse(source)
    found = dict[str, int]()
    for name, line in (*_imports(tree), *_attributes(tree, _aliases(tree))):
        if "_backward" in name and name not in given:
            found.setdefault(name, line)
    return found


def _imports(tree: ast.AST) -> Iterator[tuple[str, int]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and _ours(node.module):
            yield from ((alias.name, node.lineno) for alias in node.names)


def _attributes(tree: ast.AST, aliases: set[str]) -> Iterator[tuple[str, int]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and _root(node) in aliases:
            yield node.attr, node.lineno


def _aliases(tree: ast.AST) -> set[str]:
    """Names by which a file knows the package, and what it has from there."""
    found = set[str]()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.asname or "minibert" for alias in node.names if _ours(alias.name)}
        elif isinstance(node, ast.ImportFrom) and _ours(node.module):
            found |= {alias.asname or alias.name for alias in node.names}
    assigned = [node for node in ast.walk(tree) if isinstance(node, ast.Assign)]
    size = -1
    while size < len(found):  # an alias of an alias
        size = len(found)
        for node in assigned:
            if isinstance(node.value, ast.Name | ast.Attribute) and _root(node.value) in found:
                found |= {target.id for target in node.targets if isinstance(target, ast.Name)}
    return found


def _ours(module: str | None) -> bool:
    return (module or "").partition(".")[0] == "minibert"


def _root(node: ast.expr) -> str:
    while isinstance(node, ast.Attribute | ast.Call):
        node = node.value if isinstance(node, ast.Attribute) else node.func
    return node.id if isinstance(node, ast.Name) else ""
