"""From the reference's source to a student's file, and to its solution. No solution is written anywhere else."""

from __future__ import annotations

import ast
import difflib
import inspect
import re
import sys
import textwrap
from collections.abc import Callable, Iterable
from typing import Any

from .. import chunked
from ..mutants import MUTANTS, Mutant
from . import steps
from .catalogue import Exercise
from .operators import OPERATORS, Operator
from .reading import unread

TODO = "raise NotImplementedError"
ANSWERS = {"scatter_rows"}
"""What the reference's backward uses and a student's file does not import, as it would be the answer."""
WARNING = r'(?s)\n    Common mistakes?:.*?(?="""|\n    """)'
"""The part of a forward pass' docstring that says what often goes wrong, which may be what is to be found."""


def started(exercise: Exercise) -> str:
    """The file that a student begins with."""
    return _file(exercise, [_given(exercise, OPERATORS[name]) for name in exercise.operators])


def solved(exercise: Exercise) -> str:
    """The same file with the reference's backward."""
    return _file(exercise, [_source(OPERATORS[name].backward) for name in exercise.operators])


def solution(exercise: Exercise) -> str:
    """What `reveal` prints: of a planted bug the difference and why people write it, else the reference's functions."""
    if exercise.level == "find":
        (name,) = exercise.operators
        right = _file(exercise, [_with_doc(_source(OPERATORS[name].backward), OPERATORS[name].shapes)])
        old, new, file = started(exercise).split("\n"), right.split("\n"), f"{exercise.name}.py"
        lines = difflib.unified_diff(old, new, file, f"{file}, repaired", lineterm="", n=2)
        return "\n".join([*lines, "", *textwrap.wrap(bug_of(exercise).why, 79)])
    functions = [_source(OPERATORS[name].backward).strip() for name in exercise.operators]
    imports = [f"from minibert.ops import {name}" for name in sorted(_names(functions) & ANSWERS)]
    read = f"minibert explain {exercise.operators[0]} derives it." if len(functions) == 1 else ""
    return "\n\n\n".join([*imports, *functions]) + (f"\n\n{read}" if read else "")


def hints(exercise: Exercise) -> list[str]:
    """From general to nearly telling."""
    if exercise.level == "find":
        bug = bug_of(exercise)
        line = _mutated(bug).split("\n")[_changed_line(bug)].strip()
        return [bug.hint, f"How people come to write it: {bug.why}", f"It begins in this line:\n    {line}"]
    if exercise.level == "model":
        return list(exercise.hints)
    doc = inspect.cleandoc(_doc(_source(OPERATORS[exercise.operators[0]].backward)))
    return [*exercise.hints, f"The equations: {doc.partition(chr(10))[0].strip()}"]


def bug_of(exercise: Exercise) -> Mutant:
    return next(mutant for mutant in MUTANTS if mutant.slug == exercise.bug)


# ---- the file ----------------------------------------------------------------------------------------------------


def _file(exercise: Exercise, backwards: list[str]) -> str:
    parts: list[str] = []
    tools: list[str] = []  # whose imports stand there though nothing that is given uses them yet
    for name in exercise.operators:
        operator = OPERATORS[name]
        tools += [_source(operator.backward)] if exercise.level != "find" else []  # there it would tell what is missing
        if exercise.level != "model":
            module = sys.modules[operator.forward.__module__]
            forward = _source(operator.forward)
            helpers = _private_functions([forward, *tools[-1:], *backwards], module)
            parts += [_source(vars(module)[cache]) for cache in _caches(forward, module)]
            parts += [*helpers, re.sub(WARNING, "", forward)]
    if exercise.level == "derive":
        parts.append(_source(step_form(exercise)))
    parts += backwards
    text = _docstring(exercise) + "\n\n" + "\n".join(_imports(exercise, parts, tools))
    return text + "\n\n\n" + "\n\n\n".join(part.strip() for part in parts) + "\n"


def step_form(exercise: Exercise) -> Callable[..., Any]:
    """The backward in steps that an exercise to derive gives."""
    name = f"{exercise.operators[0]}_backward_in_steps"
    return getattr(chunked, name, None) or getattr(steps, name)  # type: ignore[no-any-return]


def _given(exercise: Exercise, operator: Operator) -> str:
    """The backward as a student gets it: with the bug, or without a body. Its docstring tells shapes, no equation."""
    if exercise.level == "find":
        return _with_doc(_tidied(_mutated(bug_of(exercise))), operator.shapes)
    source = _with_doc(_source(operator.backward), operator.shapes)
    return "\n".join([*source.split("\n")[: _body(source)[0].end_lineno], f"    {TODO}"])


def _mutated(bug: Mutant) -> str:
    """The source with the bug; what the catalogue puts into one line is given lines of its own."""
    source = _source(getattr(sys.modules["minibert.ops"], bug.operator))
    line = next(line for line in source.split("\n") if bug.before.split("\n")[0] in line)
    indent = line[: len(line) - len(line.lstrip())]
    return source.replace(bug.before, bug.after.replace("; ", f"\n{indent}"))


def _tidied(source: str) -> str:
    """Without what the bug leaves unread, which a linter would show: assignments are dropped, one name of several
    becomes `_`."""
    lines = source.split("\n")
    assignments = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Assign)]
    for node in sorted(assignments, key=lambda node: -node.lineno):  # what only a dropped line has read is dropped, too
        names = {part.id for part in ast.walk(node) if isinstance(part, ast.Name) and isinstance(part.ctx, ast.Store)}
        idle = names & unread("\n".join(lines))
        if idle and idle == names - {"_"}:
            del lines[node.lineno - 1 : node.end_lineno]
        elif idle:
            left, *right = lines[node.lineno - 1].partition(" = ")
            lines[node.lineno - 1] = "".join([re.sub(rf"\b({'|'.join(idle)})\b", "_", left), *right])
    return "\n".join(lines)


def _changed_line(bug: Mutant) -> int:
    """Of the changed source, the first that is not the reference's."""
    wrong, right = (s.split("\n") for s in (_mutated(bug), _source(getattr(sys.modules["minibert.ops"], bug.operator))))
    return next(i for i, line in enumerate(wrong) if i >= len(right) or line != right[i])


def _docstring(exercise: Exercise) -> str:
    functions = [f"`{name}_backward`" for name in exercise.operators]
    task = {
        "fill in": f"Write the body of {functions[0]}, at the end of this file.",
        "find": f"There is one bug in {functions[0]}, at the end of this file; what stands above it is right. Find it "
        "and repair it. What the repair needs and is not imported here is in minibert.ops, or in one of its chapters.",
        "derive": f"{functions[0]} in steps is given, and works. Write the fused form, at the end of this file: "
        "put the steps into one another and see what cancels.",
        "model": f"Write {len(functions)} backward passes, or import those that you have written: files of this folder "
        "can be imported, as in `from fill_linear import linear_backward` in place of the function below.",
    }[exercise.level]
    convention = (
        "A backward pass gets the gradient of the output and the cache that forward made. It returns the gradients of "
        "the differentiable arguments, in their order, each of the shape of its argument. Both things it gets are "
        "read-only."
    )
    if any(OPERATORS[name].adds_to for name in exercise.operators):
        convention += (
            " Totals, if there are some, are what other uses of a parameter have sent: its gradient is added to them, "
            "in place, and they are returned. `added(totals, ...)` does both."
        )
    given = (
        "The forward passes are in minibert.ops; `minibert explain NAME` prints one and derives its gradient."
        if exercise.level == "model"
        else "The forward pass is here to be read, and to be tried: what the check differentiates is minibert's own."
    )
    paragraphs = [f"{exercise.name} ({exercise.level}): {exercise.title}.", task, _limits(exercise), convention, given]
    checks = {
        "find": "every gradient against the complex step",
        "derive": "every gradient, and the limits",
        "model": "each function, each tensor of a BERT, ten steps",
    }.get(exercise.level, "every gradient against the complex step")
    commands = [
        (f"minibert exercise check {exercise.name}", checks),
        (f"minibert exercise hint {exercise.name}", f"there are {len(hints(exercise))}, one more each time"),
        (f"minibert exercise reveal {exercise.name}", "the solution"),
    ]
    width = max(len(command) for command, _ in commands)
    lines = [textwrap.fill(paragraph, 96, break_on_hyphens=False) for paragraph in paragraphs if paragraph]
    lines.append("\n".join(f"    {command:{width}}   {what}" for command, what in commands))
    return '"""' + "\n\n".join(lines) + '\n"""'


def _limits(exercise: Exercise) -> str:
    limits = exercise.limits
    if limits is None:
        return ""
    text = f"At most {limits.statements} statements, with those of helpers that you write"
    text += (
        f"; loops at most {limits.loops} deep" if limits.loops else "; no loop, nor map or recursion in place of one"
    )
    if limits.memory:
        text += f"; memory for at most {limits.memory} arrays like the input"
    return f"{text}. The steps, and minibert's own `{exercise.operators[0]}_backward`, may not be called."


# ---- sources -----------------------------------------------------------------------------------------------------


def _source(thing: Any) -> str:
    return inspect.getsource(thing).rstrip()


def _body(source: str) -> list[ast.stmt]:
    (function,) = ast.parse(source).body
    assert isinstance(function, ast.FunctionDef)
    return function.body


def _doc(source: str) -> str:
    (function,) = ast.parse(source).body
    assert isinstance(function, ast.FunctionDef)
    return ast.get_docstring(function) or ""


def _with_doc(source: str, doc: str) -> str:
    """The function with another docstring."""
    old, lines = _body(source)[0], source.split("\n")
    return "\n".join([*lines[: old.lineno - 1], f'    """{doc}"""', *lines[old.end_lineno :]])


def _names(sources: Iterable[str]) -> set[str]:
    return {node.id for source in sources for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Name)}


def _private_functions(sources: Iterable[str], module: Any) -> list[str]:
    """Sources of the chapter's own helpers that these use, and that those use."""
    result: dict[str, str] = {}
    todo = list(sources)
    while todo:
        for name in sorted(_names([todo.pop()])):
            function = vars(module).get(name)
            own = inspect.isfunction(function) and function.__module__ == module.__name__
            if own and name.startswith("_") and name not in result:
                result[name] = _source(function)
                todo.append(result[name])
    return list(result.values())


def _caches(forward: str, module: Any) -> list[str]:
    names = [name for name in _names([forward]) if name.endswith("Cache")]
    return sorted(name for name in names if vars(module)[name].__module__ == module.__name__)


def _imports(exercise: Exercise, parts: list[str], tools: list[str]) -> list[str]:
    """Import statements for all names that the parts use and do not define, by way of the chapters' own."""
    defined = {
        node.name for part in parts for node in ast.parse(part).body if isinstance(node, ast.FunctionDef | ast.ClassDef)
    }
    wanted = (_names(parts) | (_names(tools) - ANSWERS)) - defined
    if exercise.level == "derive":
        wanted |= _names([_source(step_form(exercise))]) - defined
    modules = [sys.modules[OPERATORS[name].backward.__module__] for name in exercise.operators]
    modules += [sys.modules[step_form(exercise).__module__]] if exercise.level == "derive" else []
    plain, froms = {"import numpy as np"} if tools or "np" in wanted else set[str](), dict[str, set[str]]()
    for name in wanted:
        for module in modules:
            if name in vars(module):
                statement, source = _import_of(name, module)
                if statement:
                    plain.add(statement)
                else:
                    froms.setdefault(source, set()).add(name)
                break
    lines = sorted(plain) + [
        f"from {source} import {', '.join(sorted(froms[source], key=_rank))}" for source in sorted(froms)
    ]
    others = [line for line in lines if line.split()[1].partition(".")[0] in ("numpy", "minibert")]
    return ["from __future__ import annotations", "", *(line for line in lines if line not in others), "", *others]


def _rank(name: str) -> tuple[int, str]:
    """CONSTANTS, Classes, functions."""
    return (0 if name.isupper() else 1 if name[0].isupper() else 2), name


def _import_of(name: str, module: Any) -> tuple[str, str]:
    """How a chapter comes by a name: an `import` statement, or else the module that it is from."""
    package = module.__name__.rpartition(".")[0]
    for node in ast.parse(inspect.getsource(module)).body:
        if isinstance(node, ast.Import | ast.ImportFrom):
            for alias in node.names:
                if (alias.asname or alias.name) != name:
                    continue
                if isinstance(node, ast.Import):
                    return f"import {alias.name}" + (f" as {alias.asname}" if alias.asname else ""), ""
                base = package.rsplit(".", node.level - 1)[0] if node.level else ""
                return "", ".".join(part for part in (base, node.module) if part)
    return "", module.__name__
