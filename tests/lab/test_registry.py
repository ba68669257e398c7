"""Every statement of the registry is held against the numbers of a run, and every code line against the source."""

import ast
import functools
import sys
from pathlib import Path

import numpy as np
import pytest

import minibert
from minibert import ops
from minibert.lab.registry import AXES
from minibert.lab.taps import TAPPED
from tests.lab.traces import CASES, traced

each_case = pytest.mark.parametrize("case", CASES)
with_dropout = pytest.mark.parametrize("dropout_seed", [None, 7], ids=["no dropout", "dropout"])


def compared(equation, arrays, trace, name, rng):
    """Both sides of an equation at some cells of each array, the left as it was computed."""
    for sequence, array in enumerate(arrays):
        cells = tuple(rng.integers(0, size, 40) for size in array.shape)
        scale = np.abs(array[np.isfinite(array)]).max(initial=1e-300)
        yield equation.compute(cells, trace.symbols(name, sequence)), array[cells], scale


@with_dropout
@each_case
def test_every_equation_is_true(case, dropout_seed):
    trace, rng = traced(case, dropout_seed), np.random.default_rng(0)
    for name, entry in trace.entries.items():
        for equation, arrays in (entry.forward, trace.parts(entry)), (entry.backward, trace.gradient_parts(entry)):
            for right, left, scale in compared(equation, arrays, trace, name, rng) if equation else ():
                np.testing.assert_allclose(
                    right, left, rtol=1e-10, atol=1e-10 * scale, err_msg=f"{equation.text} {name}"
                )


@with_dropout
@each_case
def test_every_parameter_and_every_call_has_an_entry(case, dropout_seed):
    trace = traced(case, dropout_seed)
    assert {name for name, entry in trace.entries.items() if entry.is_parameter} == set(trace.model.parameters)
    shown = {(entry.call, entry.variable) for entry in trace.entries.values()}
    for call in trace.calls:
        joined = call.name.endswith(("self.qkv", "attention.self"))  # shown head by head: query, key, value, context
        silent = call.operator == "dropout" and call.y is call.args[0]  # rate 0
        assert joined or silent or (call.name, "out") in shown, call.name
        unseen = {v for v in call.inner if (call.name, v) not in shown}
        assert unseen <= ({"dropped"} if dropout_seed is None else set()), call.name


def test_every_operator_with_a_backward_pass_is_seen_by_some_trace():
    seen = {call.operator for case in CASES for call in traced(case).calls}
    pairs = {name for name in ops.__all__ if f"{name}_backward" in ops.__all__}
    inside = {"softmax", "gelu_new", "relu", "silu", "unit"}  # within attention, feed_forward, cosines
    only_asked = {"cross_attention", "scatter_rows"}  # where few tokens are asked for; a trace computes all
    assert pairs - seen == (inside - seen) | only_asked


@each_case
def test_every_entry_says_what_its_numbers_are(case):
    trace = traced(case)
    for name, tensor in trace.items():
        entry = tensor.entry
        assert entry.meaning
        assert {axis.removesuffix("′") for axis in entry.axes} <= set(AXES)
        for value, grad in zip(trace.parts(entry), trace.gradient_parts(entry), strict=True):
            assert value.shape == grad.shape, name
            assert value.ndim == len(entry.axes), name
        assert entry.is_parameter or entry.forward.name == entry.symbol
        assert entry.backward is None or entry.backward.name == f"d{entry.symbol}"


@each_case
def test_an_axis_is_as_long_in_every_tensor(case):
    trace, sizes = traced(case), {}
    for entry in trace.entries.values():
        for value in trace.parts(entry):
            for axis, size in zip(entry.axes, value.shape, strict=True):
                assert axis.startswith("T") or sizes.setdefault(axis, size) == size, (entry.name, axis)


@with_dropout
@each_case
def test_a_printed_code_line_is_the_line_that_stands_there(case, dropout_seed):
    root = Path(minibert.__file__).parent.parent
    for tensor in traced(case, dropout_seed).values():
        for line in tensor.code, tensor.backward_code:
            if line is not None:
                assert (root / line.file).read_text().splitlines()[line.number - 1].strip() == line.text
                assert "=" in line.text or line.text.startswith("return")
        assert (tensor.code is None) == tensor.entry.is_parameter
        assert tensor.backward_code is not None or tensor.meaning == "loss"


@each_case
def test_lines_make_what_they_are_said_to_make(case):
    for entry in traced(case).entries.values():
        for place, line in (entry.code, entry.line), (entry.gradient_code, entry.gradient_line):
            variable = place.rpartition(".")[2]
            assert line is None or variable in ("return", *line.text.replace(",", " ").replace("(", " ").split())


@with_dropout
@each_case
def test_lines_were_executed(case, dropout_seed):
    """But those of the chunked recomputation, which runs when it is asked for."""
    ran, root = set(), str(Path(minibert.__file__).parent.parent)

    def profile(frame, event, _):
        if event == "call":
            ran.add((frame.f_code.co_filename.removeprefix(root + "/"), frame.f_code.co_firstlineno))

    sys.setprofile(profile)
    try:
        trace = traced.__wrapped__(case, dropout_seed)
        grads = [trace.gradient_parts(entry) for entry in trace.entries.values()]
    finally:
        sys.setprofile(None)
    assert grads
    for entry in trace.entries.values():
        for line in entry.line, entry.gradient_line:
            if line is not None and not line.file.endswith("chunked.py"):
                assert enclosing(root, line) & ran, (entry.name, str(line))


@functools.cache
def enclosing(root, line):
    """The function that a line stands in, as (file, its first line with and without decorators)."""
    functions = [
        node
        for node in ast.walk(ast.parse((Path(root) / line.file).read_text()))
        if isinstance(node, ast.FunctionDef) and node.lineno <= line.number <= node.end_lineno
    ]
    node = max(functions, key=lambda node: node.lineno)
    return {(line.file, node.lineno), *((line.file, decorator.lineno) for decorator in node.decorator_list)}


def test_tapped_variables_are_those_of_the_entries():
    shown = {entry.variable for case in CASES for entry in traced(case, 7).entries.values()}
    assert {v for name, variables in TAPPED.items() if not name.endswith("_backward") for v in variables} <= shown
