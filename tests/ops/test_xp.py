"""Which array library is at work, and the rules that keep operators analytic."""

import ast
import inspect
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from minibert import ops
from minibert.ops.xp import namespace, real

SOURCES = sorted(Path(inspect.getfile(ops)).parent.glob("*.py"))


def array_of(library, name="ndarray"):
    """An object that calls itself library.name."""
    return type(name, (), {"__module__": library})()


def test_numpy_arrays_and_scalars_belong_to_numpy():
    assert namespace(np.zeros(2)) is np
    assert namespace(np.float32(1), np.zeros(2)) is np


def test_cupy_arrays_belong_to_cupy(monkeypatch):
    fake = ModuleType("cupy")
    monkeypatch.setitem(sys.modules, "cupy", fake)
    assert namespace(array_of("cupy._core.core"), array_of("cupy")) is fake


def test_arrays_of_two_libraries_are_refused_by_name():
    with pytest.raises(TypeError, match=r"all numpy or all cupy; got numpy\.ndarray, cupy\._core\.core\.ndarray"):
        namespace(np.zeros(2), array_of("cupy._core.core"))


@pytest.mark.parametrize(
    ("other", "name"), [([1.0], r"builtins\.list"), (array_of("torch", "Tensor"), r"torch\.Tensor")]
)
def test_what_is_no_array_is_refused_by_name(other, name):
    with pytest.raises(TypeError, match=f"got {name}"):
        namespace(other)


def test_the_real_part_is_a_view():
    x = np.ones(3, complex)
    real(x)[...] = 5
    assert (x == 5).all()
    y = np.ones(3, np.float32)
    assert real(y) is y


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.stem)
def test_operators_neither_conjugate_nor_compute_with_numpys_scalars(path):
    """A conjugate is not analytic; np.sqrt(2) is a float64 that turns float32 arrays into float64."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    attributes = [node for node in ast.walk(tree) if isinstance(node, ast.Attribute)]
    assert not {node.attr for node in attributes} & {"conj", "conjugate", "vdot", "H"}
    of_numpy = {node.attr for node in attributes if isinstance(node.value, ast.Name) and node.value.id == "np"}
    assert not of_numpy & {"sqrt", "exp", "log", "tanh", "pi", "e", "float64"}
