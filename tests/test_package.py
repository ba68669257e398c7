"""The package as a whole: what it costs to import, what it offers, and that imports go one way."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import minibert

ROOT = Path(minibert.__file__).parent
MODULES = sorted(ROOT.rglob("*.py"))
HEAVY = ("numpy", "regex", "safetensors", "rich", "numba", "cupy", "argparse")

# Each room and what it may import of the package; errors and the version are for all.
MAY_IMPORT = {
    "errors": set(),
    "hub": {"formats"},
    "locate": {"hub"},  # on use only
    "ops": set(),
    "formats": set(),
    "gradcheck": set(),
    "engines": {"ops"},
    "text": {"locate", "formats"},
    "checkpoint": {"locate", "formats", "models"},  # models: types, and the config
    "models": {"ops", "engines", "checkpoint", "lab"},  # lab: on use only, model.trace is its door
    "tasks": {"ops", "engines", "formats", "locate", "checkpoint", "models", "text"},
    "training": {"ops", "models", "formats", "locate", "text", "tasks"},
    "lab": {"ops", "engines", "gradcheck", "models", "text", "formats", "checkpoint"},
}


def run(code):
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT.parent, check=True
    ).stdout


def imported(path):
    """What a file imports anywhere in it, as full dotted names."""
    package = ["minibert", *path.relative_to(ROOT).parts[:-1]]
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else []
            base = ".".join([*above, *([node.module] if node.module else [])])
            if base == "minibert":
                yield from (f"minibert.{alias.name}" for alias in node.names)
            else:
                yield base


def test_importing_the_package_costs_nothing():
    loaded = run("import minibert, sys; print(*(m.partition('.')[0] for m in sys.modules))").split()
    assert not set(loaded) & set(HEAVY)


def test_errors_are_there_without_numpy():
    assert (
        run("import minibert as mb, sys; print(mb.InputError.__name__, 'numpy' in sys.modules)") == "InputError False\n"
    )


@pytest.mark.parametrize("name", minibert.__all__)
def test_every_name_that_is_offered_is_there(name):
    assert getattr(minibert, name) is not None
    assert name in dir(minibert)


def test_a_name_that_is_not_there_is_named():
    with pytest.raises(AttributeError, match="module 'minibert' has no attribute 'BertForEverything'"):
        _ = minibert.BertForEverything


def test_errors_have_the_bases_that_people_expect():
    for name, base in (
        ("InputError", ValueError),
        ("InputTooLong", ValueError),
        ("ConfigError", ValueError),
        ("LoadError", ValueError),
        ("NotFound", FileNotFoundError),
    ):
        error = getattr(minibert, name)
        assert issubclass(error, base)
        assert issubclass(error, minibert.MinibertError)
        assert str(error("what happened", "what to do")) == "what happened\n  hint: what to do"
        assert str(error("what happened")) == "what happened"


def test_the_version_is_that_of_the_distribution():
    text = (ROOT.parent / "pyproject.toml").read_text(encoding="utf-8")
    assert f'version = "{minibert.__version__}"' in text


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_go_one_way(path):
    room = path.relative_to(ROOT).parts[0].removesuffix(".py")
    for name in imported(path):
        assert name.partition(".")[0] not in ("tools", "tests"), f"{path} imports {name}"
        if name.startswith("minibert.") and room in MAY_IMPORT:
            other = name.split(".")[1]
            allowed = MAY_IMPORT[room] | {room, "errors", "__version__"}
            assert other in allowed, f"{path} imports {name}; {room} may import {', '.join(sorted(allowed))}"


@pytest.mark.parametrize("name", ["torch", "transformers", "tokenizers", "tensorflow", "jax"])
def test_no_framework_is_used(name):
    users = [str(path) for path in MODULES if name in {module.partition(".")[0] for module in imported(path)}]
    assert not users
