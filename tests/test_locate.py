"""Where a model lives: a folder, or a place inside an installed package."""

import sys
import types
from pathlib import Path

import pytest

from minibert.errors import InputError, NotFound
from minibert.locate import locate


@pytest.fixture
def package(tmp_path, monkeypatch):
    """An installed package that must not be imported."""
    folder = tmp_path / "site" / "some_models"
    (folder / "small" / "v1").mkdir(parents=True)
    (folder / "__init__.py").write_text("raise RuntimeError('was imported')")
    monkeypatch.syspath_prepend(tmp_path / "site")
    return folder


@pytest.fixture
def namespace_package(tmp_path, monkeypatch):
    """One name, two folders: the first has one model, the second another."""
    for i, name in enumerate(("first", "second")):
        (tmp_path / f"site{i}" / "split_models" / name).mkdir(parents=True)
        monkeypatch.syspath_prepend(tmp_path / f"site{i}")
    return tmp_path


def test_a_folder_or_file_is_itself(tmp_path, monkeypatch):
    assert locate(tmp_path) == tmp_path
    assert locate(str(tmp_path)) == tmp_path
    (tmp_path / "a file").write_text("")
    assert locate(tmp_path / "a file") == tmp_path / "a file"
    monkeypatch.chdir(tmp_path)
    assert locate("a file") == Path("a file")


def test_the_home_folder_is_known(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    (tmp_path / "model").mkdir()
    assert locate("~/model") == tmp_path / "model"


def test_a_place_inside_a_package_is_found_without_importing_it(package):
    assert locate("pkg:some_models/small/v1") == package / "small" / "v1"
    assert locate("pkg:some_models/small/") == package / "small"
    assert locate("pkg:some_models") == package


def test_all_folders_of_a_package_are_looked_at(namespace_package):
    assert locate("pkg:split_models/first") == namespace_package / "site0" / "split_models" / "first"
    assert locate("pkg:split_models/second") == namespace_package / "site1" / "split_models" / "second"
    with pytest.raises(NotFound) as caught:
        locate("pkg:split_models/third")
    assert "site0" in str(caught.value)
    assert "site1" in str(caught.value)


def test_a_place_that_the_package_lacks_is_named(package):
    with pytest.raises(NotFound, match=r"not inside the package \(looked at .*nothing\)"):
        locate("pkg:some_models/nothing")


@pytest.mark.parametrize(
    "path",
    [
        "pkg:some_models/../secret",
        "pkg:some_models/small/../../..",
        "pkg:some_models//etc",
        "pkg:",
        "pkg:/etc",
        "pkg:some_models.sub/x",
        "pkg:../x",
        "pkg:some-models/x",
    ],
)
def test_no_path_leads_out_of_a_package(package, path):
    with pytest.raises(NotFound, match="expected pkg:NAME/sub/dir with a plain package name and a path inside it"):
        locate(path)


@pytest.mark.parametrize("name", ["no_such_package_here", "class"])
def test_what_is_no_package_is_not_found(name):
    with pytest.raises(NotFound, match=f"no Python package named '{name}' is installed here"):
        locate(f"pkg:{name}/model")


@pytest.mark.parametrize("name", ["math", "os"])
def test_a_module_of_one_file_holds_no_model(name):
    with pytest.raises(NotFound, match=f"{name} is a module of one file") as caught:
        locate(f"pkg:{name}/model")
    assert not caught.value.hint  # installing it would not help


@pytest.mark.parametrize("path", [None, 5, [], b"bytes", ""])
def test_what_is_no_path_is_refused(path):
    with pytest.raises(InputError, match="model path: expected the name of a folder"):
        locate(path)


def test_a_module_made_by_hand_is_no_package(monkeypatch):
    monkeypatch.setitem(sys.modules, "made_by_hand", types.ModuleType("made_by_hand"))
    with pytest.raises(NotFound, match="no Python package named 'made_by_hand'"):
        locate("pkg:made_by_hand/model")


def test_a_missing_package_is_advised_by_the_name_it_is_installed_by():
    with pytest.raises(NotFound, match="pip install no-such-package-here"):
        locate("pkg:no_such_package_here/model")


@pytest.mark.parametrize(
    "path",
    [
        "nowhere/at/all",
        "~no-such-user-here/model",
        "a\0b",
        "a" * 5000,
        "pkg:some_models/" + "a" * 5000,
        "pkg:some_models/a\0",
    ],
)
def test_whatever_is_not_there_is_not_found(package, path):
    with pytest.raises(NotFound, match=r"no such file or folder|not inside the package"):
        locate(path)


def test_what_to_give_instead_is_said():
    with pytest.raises(NotFound, match=r"looked at /.*nowhere(.|\n)*pkg:NAME/sub/dir"):
        locate("./nowhere")  # without ./ it could be a model of the hub
