"""Keras' HDF5 files come back to the bit; what refers elsewhere, lies or breaks libhdf5 is an error that says so."""

from __future__ import annotations

import io
import json
import os
import re
import struct
import subprocess
import sys
import textwrap
import time
import tracemalloc

import h5py
import numpy as np
import pytest

from minibert.errors import LoadError, NotFound
from minibert.formats import hdf5, keras
from minibert.formats.keras import open_h5
from minibert.formats.opening import open_weights
from tests.formats.forked import Lister

LIST_DATASETS = keras.list_datasets

DTYPES = [order + kind for order in "<>" for kind in ("i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8", "f2", "f4", "f8")]


def fill(file: h5py.File) -> dict[str, np.ndarray]:
    """A file as transformers' TFPreTrainedModel.save_pretrained makes it."""
    arrays = {
        "bert/tf/bert/embeddings/weight:0": np.arange(6, dtype="<f4").reshape(2, 3),
        "bert/tf/bert/layer_._0/kernel:0": np.arange(8, dtype="<f4").reshape(4, 2) / 7,
        "mlm___cls/tf/cls/bias:0": np.array([0.5, -0.0, np.nan], "<f4"),
    }
    file.attrs["keras_version"], file.attrs["backend"] = "2.21.0", b"tensorflow"
    file.attrs["layer_names"] = ["mlm___cls", "bert"]  # in any order
    for layer in ("bert", "mlm___cls"):
        names = [name.removeprefix(f"{layer}/") for name in arrays if name.startswith(layer)]
        file.create_group(layer).attrs["weight_names"] = names
        for name in names:
            file[layer].create_dataset(name, data=arrays[f"{layer}/{name}"])
    return arrays


@pytest.fixture
def write(tmp_path, monkeypatch):
    """write(change): a file of `fill` after `change(file)`, to be listed in a fork of this process."""
    lister = Lister()
    monkeypatch.setattr(keras, "list_datasets", lister)

    def make(change=lambda file: None, **options):
        path = tmp_path / "tf_model.h5"
        with h5py.File(path, "w", **options) as file:
            fill(file)
            change(file)
        return path

    yield make
    lister.close()


@pytest.fixture
def plain(tmp_path):
    """A file of `fill`, to be listed by the program itself."""
    path = tmp_path / "tf_model.h5"
    with h5py.File(path, "w") as file:
        fill(file)
    return path


# --- reading ------------------------------------------------------------------------------------------------------


def test_files_of_keras_are_read(plain):
    with h5py.File(io.BytesIO(), "w") as file:
        arrays = fill(file)
    opened = open_weights(plain)
    assert opened.format == "Keras HDF5"
    assert opened.paths == (plain,)
    assert opened.metadata == {"keras_version": "2.21.0", "backend": "tensorflow"}
    assert list(opened.tensors) == list(arrays)
    for name, array in arrays.items():
        assert opened.tensors[name] == ("F32", array.shape, array.nbytes)
        assert opened.read(name).tobytes() == array.tobytes()
        assert not opened.read(name).flags.writeable
    with pytest.raises(LoadError, match=r"tf_model\.h5: no tensor named 'absent' of 3"):
        opened.read("absent")


@pytest.mark.parametrize("libver", ["earliest", "latest"])
def test_every_dtype_and_shape(write, libver):
    rng = np.random.default_rng(0)
    arrays = {}
    for dtype in DTYPES:
        for shape in [(), (1,), (0, 4), (5,), (2, 3), (3, 1, 2, 2)]:
            raw = rng.bytes(int(np.prod(shape)) * np.dtype(dtype).itemsize)
            arrays[f"all/{dtype}{shape}"] = np.frombuffer(raw, dtype).reshape(shape)

    def change(file):
        for name, array in arrays.items():
            file.create_dataset(name, data=array)

    opened = open_h5(write(change, libver=libver))
    assert opened.tensors.keys() >= arrays.keys()
    for name, array in arrays.items():
        ours = opened.read(name)
        native = array.astype(array.dtype.newbyteorder("="))
        assert (ours.dtype, ours.shape, ours.tobytes()) == (native.dtype, native.shape, native.tobytes())
        assert ours.flags.aligned


def test_layers_that_no_attribute_lists_are_read(write):
    def change(file):
        file.create_dataset("model_weights/deep/er/x:0", data=np.arange(3.0))
        del file.attrs["layer_names"], file["bert"].attrs["weight_names"]

    opened = open_h5(write(change))
    assert np.array_equal(opened.read("model_weights/deep/er/x:0"), np.arange(3.0))
    assert len(opened.tensors) == 4


@pytest.mark.parametrize("text", [str, bytes])
def test_attributes_cut_into_pieces_and_of_fixed_length(write, text):
    def change(file):
        names = [f"w{i}" for i in range(5)]
        group = file.create_group("cut")
        for i, part in enumerate((names[:3], names[3:], ["missing"])):
            group.attrs[f"weight_names{i}"] = part if text is str else np.array(part, "S9")
        for name in names:
            group.create_dataset(name, data=np.zeros(1))

    with pytest.raises(LoadError, match="weight_names of 'cut': lists 'missing', which is not there"):
        open_h5(write(change))


@pytest.mark.parametrize(("attribute", "where"), [("layer_names", "/"), ("weight_names", "bert")])
def test_what_is_listed_must_be_there(write, attribute, where):
    def change(file):
        file[where].attrs[attribute] = [*file[where].attrs[attribute], "lost"]

    with pytest.raises(LoadError, match=f"{attribute} of '{where}': lists 'lost', which is not there") as caught:
        open_h5(write(change))
    assert "save its weights again" in caught.value.hint


def test_numbers_are_views_of_the_file(write):
    path = write(lambda file: file.create_dataset("big", data=np.ones((2**20,), "<f4")))
    opened = open_h5(path)
    tracemalloc.start()
    assert opened.read("big")[-1] == 1
    assert tracemalloc.get_traced_memory()[1] < 2**16
    tracemalloc.stop()


# --- what a file may not hold -------------------------------------------------------------------------------------


def added(data=None, **options):
    """A change that adds the dataset "odd"."""
    return lambda file: file.create_dataset("odd", data=data, **options)


def linked(target):
    """A change that adds "bert/odd", another name for target(file)."""
    return lambda file: file.__setitem__("bert/odd", target(file))


def names(value):
    """A change of the attribute weight_names of "bert"."""
    return lambda file: file["bert"].attrs.__setitem__("weight_names", value)


def planned(plan=None, kind=h5py.h5t.IEEE_F32LE, space=None):
    """A change that adds "bert/odd" through the library's own calls: a creation plan, a type, a space."""

    def change(file):
        plist = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        if plan:
            plan(plist)
        found = h5py.h5d.create(file["bert"].id, b"odd", kind, space or h5py.h5s.create_simple((3,)), dcpl=plist)
        if not plan and not space:
            found.write(h5py.h5s.ALL, h5py.h5s.ALL, np.ones(3, found.dtype))

    return change


def own_float():
    kind = h5py.h5t.IEEE_F32LE.copy()
    kind.set_ebias(100)
    return kind


DTYPE, TWICE = "'(bert/)?odd': dtype: expected integers or IEEE floats of 1 to 8 bytes", "an object with two names"
REFUSED = {
    "soft link": (linked(lambda file: h5py.SoftLink("/bert")), "'bert/odd': a link to elsewhere"),
    "dangling link": (linked(lambda file: h5py.SoftLink("/no")), "'bert/odd': a link to elsewhere"),
    "a group twice": (lambda file: file.__setitem__("odd", file["bert"]), TWICE),
    "a dataset twice": (linked(lambda file: file["mlm___cls/tf/cls/bias:0"]), TWICE),
    "itself": (linked(lambda file: file["bert"]), f"'bert/odd': {TWICE}"),
    "the root": (linked(lambda file: file["/"]), f"'bert/odd': {TWICE}"),
    "a type": (linked(lambda file: np.dtype("f4")), "'bert/odd': expected a group or a dataset, got a Type"),
    "chunked": (added(np.zeros(4), chunks=(2,)), "'odd': layout: expected contiguous, got chunked"),
    "gzip": (added(np.zeros(4), compression="gzip"), "'odd': layout: expected contiguous, got chunked"),
    "growing": (added(np.zeros(4), maxshape=(None,)), "'odd': layout: expected contiguous, got chunked"),
    "compact": (planned(lambda plist: plist.set_layout(h5py.h5d.COMPACT)), "'bert/odd': layout: .* got compact"),
    "null": (planned(space=h5py.h5s.create(h5py.h5s.NULL)), "'bert/odd': has no shape"),
    "never written": (added(shape=(4,), dtype="f4"), "dataset 'odd': its numbers were never written"),
    "text": (added("text"), DTYPE),
    "fixed text": (added(np.array([b"ab"])), DTYPE),
    "bool": (added([True]), DTYPE),
    "complex": (added([1j]), DTYPE),
    "compound": (added(np.zeros(2, [("a", "f4")])), DTYPE),
    "opaque": (added(np.zeros(2, "V3")), DTYPE),
    "reference": (lambda file: added(file["bert"].ref, dtype=h5py.ref_dtype)(file), DTYPE),
    "lists": (added(shape=(2,), dtype=h5py.vlen_dtype("f4")), DTYPE),
    "own float": (planned(kind=own_float()), DTYPE),
    "128 bits": (added(np.zeros(2, "g")), DTYPE),
    "number as version": (lambda file: file.attrs.__setitem__("keras_version", 7), "attribute keras_version: expected"),
    "numbers as names": (names([1, 2]), "attribute weight_names: expected at most 8388608 bytes of texts"),
    "references as names": (lambda file: names(np.array([file.ref], h5py.ref_dtype))(file), "attribute weight_names"),
    "square of names": (names(np.array([[b"x"]])), "attribute weight_names: expected"),
    "names not UTF-8": (names(np.array([b"\xff"])), "not readable as HDF5: UnicodeDecodeError"),
    "dataset not UTF-8": (lambda file: file.create_group(b"\xff"), "not readable as HDF5: UnicodeDecodeError"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_refused_by_name(write, name):
    change, match = REFUSED[name]
    path = write(change)
    with pytest.raises(LoadError, match=match) as caught:
        open_h5(path)
    assert caught.value.message.startswith(f"{path}: ")


def virtual(file):
    layout = h5py.VirtualLayout((3,), "f4", maxshape=(None,))
    source = h5py.VirtualSource("pipe", "x", shape=(3,), maxshape=(None,))
    layout[: h5py.h5s.UNLIMITED] = source[: h5py.h5s.UNLIMITED]
    file.create_virtual_dataset("odd", layout)


ELSEWHERE = {
    "external link": (linked(lambda file: h5py.ExternalLink("pipe", "/x")), "'bert/odd': a link to elsewhere"),
    "external storage": (
        planned(lambda plist: plist.set_external(b"pipe", 0, 12)),
        "'bert/odd': its numbers are in another file, which is not opened",
    ),
    "virtual dataset": (virtual, "'odd': layout: expected contiguous, got virtual"),
}


@pytest.mark.parametrize("name", ELSEWHERE)
def test_no_other_file_is_opened(write, tmp_path, monkeypatch, name):
    """The other file is a pipe: opening it would wait for somebody to write."""
    change, match = ELSEWHERE[name]
    path = write(change)
    os.mkfifo(tmp_path / "pipe")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(keras, "list_datasets", LIST_DATASETS)
    started = time.perf_counter()
    with pytest.raises(LoadError, match=match):
        open_h5(path)
    assert time.perf_counter() - started < keras.SECONDS / 2


def test_name_that_is_a_path(write):
    """The library writes no such name, so it is written into the file; it would lead to another object."""
    path = write(lambda file: file.create_group("bertXtf"))
    content = path.read_bytes()
    assert content.count(b"bertXtf") == 1
    path.write_bytes(content.replace(b"bertXtf", b"bert/tf"))
    with pytest.raises(LoadError, match="'bert/tf': a name with '/' or dots"):
        open_h5(path)


@pytest.mark.parametrize(
    ("limit", "value", "match"),
    [("OBJECT_LIMIT", 10, "more than 10 objects"), ("TEXT_LIMIT", 20, "or 20 characters of names")],
)
def test_too_many_objects_and_characters(write, monkeypatch, limit, value, match):
    monkeypatch.setattr(hdf5, limit, value)
    with pytest.raises(LoadError, match=match):
        open_h5(write())


def test_long_attribute(write, monkeypatch):
    monkeypatch.setattr(hdf5, "TEXT_LIMIT", 2000)
    path = write(lambda file: file["bert"].attrs.__setitem__("weight_names", np.array([b"x" * 1000] * 3)))
    with pytest.raises(LoadError, match="attribute weight_names: expected at most 2000 bytes of texts"):
        open_h5(path)


# --- files that lie -----------------------------------------------------------------------------------------------


def moved(path, name: str, offset: int) -> None:
    """Writes another address into the layout message of the dataset `name`."""
    with h5py.File(path) as file:
        place, size = file[name].id.get_offset(), file[name].id.get_storage_size()
    content = path.read_bytes()
    told = struct.pack("<BBQQ", 3, 1, place, size)
    assert content.count(told) == 1
    instead = struct.pack("<BBQQ", 3, 1, offset, size)
    path.write_bytes(content.replace(told, instead))


WORD, KERNEL = "bert/tf/bert/embeddings/weight:0", "bert/tf/bert/layer_._0/kernel:0"


def test_t11_overlapping_datasets(write):
    path = write()
    with h5py.File(path) as file:
        place = file[KERNEL].id.get_offset()
    for shift in (0, 4, 28):
        moved(path, WORD, offset=place + shift)
        with pytest.raises(LoadError, match=r"its bytes from .* on overlap those of another"):
            open_h5(path)


@pytest.mark.parametrize("beyond", [-23, 0, 2**20, 2**40, 2**62])
def test_t11_bytes_outside_the_file(write, beyond):
    path = write()
    moved(path, WORD, offset=path.stat().st_size + beyond)
    with pytest.raises(LoadError, match=r"weight:0': 24 bytes at .*, but the file has|not readable as HDF5"):
        open_h5(path)


@pytest.mark.parametrize("sizes", [(2**40, 3), (2**62, 2**62), (2**63 - 1, 1), (2, 4), (1, 3)])
def test_t11_shape_that_does_not_fit_the_size(write, sizes):
    path = write()
    content = path.read_bytes()
    assert struct.pack("<QQ", 2, 3) in content
    path.write_bytes(content.replace(struct.pack("<QQ", 2, 3), struct.pack("<QQ", *sizes), 1))
    with pytest.raises(
        LoadError, match=r"weight:0': (F32 of shape .* takes .* bytes, got|shape: )|not readable as HDF5"
    ):
        open_h5(path)


LINE = ["a", "F32", False, [2, 3], 200, 24]


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({4: None}, "its numbers were never written"),
        ({4: -1}, "24 bytes at -1, but the file has"),
        ({4: 2**64 - 1}, "24 bytes at 18446744073709551615, but the file has"),
        ({5: 20}, r"F32 of shape \[2, 3\] takes 24 bytes, got 20"),
        ({3: [2, 4]}, r"F32 of shape \[2, 4\] takes 32 bytes, got 24"),
        ({3: [-2, -3]}, "shape: expected at most 32 integers of 0 or more"),
        ({3: [2**35, 2**35]}, r"shape: expected less than 2\^63 bytes"),
    ],
)
def test_t11_answer_that_does_not_fit_the_file(plain, monkeypatch, changes, match):
    """Whatever libhdf5 made of a damaged file is compared once more here."""
    line = [changes.get(i, field) for i, field in enumerate(LINE)]
    listing = {"datasets": [LINE[:4] + [400, 24], line], "metadata": {}}
    monkeypatch.setattr(keras, "list_datasets", lambda path, file: json.dumps(listing).encode())
    with pytest.raises(LoadError, match=match) as caught:
        open_h5(plain)
    assert caught.value.message.startswith(f"{plain}: dataset 'a': ")


def test_t11_cut_off_anywhere(write, monkeypatch):
    monkeypatch.setattr(hdf5, "CPU_SECONDS", 0.3)
    path = write()
    whole = path.read_bytes()
    for end in range(0, len(whole), 397):
        path.write_bytes(whole[:end])
        with pytest.raises(LoadError, match=re.escape(str(path))):
            open_h5(path)


def test_other_files(tmp_path):
    for content in (b"", b"\x89HDF", b"hello" * 100, b"\x89HDF\r\n\x1a\n", b"\x89HDF\r\n\x1a\n" + bytes(1000)):
        (tmp_path / "a.h5").write_bytes(content)
        with pytest.raises(LoadError, match=r"a\.h5: (expected HDF5, which begins with|not readable as HDF5: OSError)"):
            open_h5(tmp_path / "a.h5")
    with pytest.raises(NotFound, match="no such file"):
        open_h5(tmp_path / "absent.h5")


# --- the other process --------------------------------------------------------------------------------------------


def program(monkeypatch, tmp_path, body: str) -> None:
    """Puts another program in the place of `hdf5`: `module` is that one, loaded."""
    text = f"""
        import importlib.util
        import os, signal, sys, time
        specification = importlib.util.spec_from_file_location("hdf5", {hdf5.__file__!r})
        module = importlib.util.module_from_spec(specification)
        specification.loader.exec_module(module)
    """
    (tmp_path / "program.py").write_text(textwrap.dedent(text) + textwrap.dedent(body))
    monkeypatch.setattr(keras, "_PROGRAM", tmp_path / "program.py")


@pytest.mark.parametrize(
    ("body", "match"),
    [
        ("os.kill(os.getpid(), signal.SIGSEGV)", r"crashed or did not end \(status -11\)"),
        ("sys.exit(3)", r"crashed or did not end \(status 3\)"),
        ("time.sleep(60)", "did not end within 0.5 s"),
        ("print('[]')", "listing of its datasets: expected a JSON object"),
        ("print('{\"datasets')", "listing of its datasets: not valid JSON"),
        ("module.describe = lambda *_: 1 / 0\nmodule.main()", "not readable as HDF5: ZeroDivisionError"),
    ],
)
def test_a_process_that_fails_is_an_error(plain, tmp_path, monkeypatch, body, match):
    program(monkeypatch, tmp_path, body)
    monkeypatch.setattr(keras, "SECONDS", 0.5 if "sleep" in body else 20.0)
    with pytest.raises(LoadError, match=match) as caught:
        open_h5(plain)
    assert caught.value.message.startswith(f"{plain}: ")


def test_endless_loops_and_greed_are_ended(plain, tmp_path, monkeypatch):
    endless = (
        "def describe(*_):\n    while True: pass\nmodule.CPU_SECONDS = 0.2\nmodule.describe = describe\nmodule.main()"
    )
    program(monkeypatch, tmp_path, endless)
    with pytest.raises(LoadError, match=r"crashed or did not end \(status -27\)"):
        open_h5(plain)
    program(monkeypatch, tmp_path, "module.describe = lambda *_: bytearray(2**29)\nmodule.main()")
    if os.path.exists("/proc/self/statm"):
        with pytest.raises(LoadError, match="not readable as HDF5: MemoryError"):
            open_h5(plain)


@pytest.mark.parametrize(
    ("executable", "name"), [("/nowhere/python", "/nowhere/python"), ("", "Python"), (None, "Python")]
)
def test_python_that_cannot_be_run(plain, monkeypatch, executable, name):
    """Where Python runs inside another program, it may not know its own."""
    monkeypatch.setattr(sys, "executable", executable)
    with pytest.raises(LoadError, match=f"{name} cannot be run to list the datasets"):
        open_h5(plain)


def test_without_the_library(plain, monkeypatch):
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(LoadError, match="reading HDF5 files needs the h5py library") as caught:
        open_h5(plain)
    assert "pip install 'minibert-numpy[convert]'" in caught.value.hint


def test_the_library_is_not_loaded_here_and_the_surroundings_do_not_matter(plain, tmp_path):
    """Neither HDF5's variables nor modules in the current folder reach the other process."""
    for module in ("h5py", "json", "io"):
        (tmp_path / f"{module}.py").write_text(f"open({str(tmp_path / 'canary')!r}, 'w')")
    text = """
        import os
        import sys
        sys.path.remove("")
        os.environ["PYTHONPATH"] = os.getcwd()
        from minibert.formats.keras import open_h5
        assert len(open_h5(sys.argv[1]).tensors) == 3
        assert "h5py" not in sys.modules
    """
    variables = {"HDF5_DRIVER": "nonsense", "HDF5_VOL_CONNECTOR": "nonsense", "HDF5_PLUGIN_PATH": str(tmp_path)}
    roots = os.pathsep.join([str(keras._PROGRAM.parents[2]), *(path for path in sys.path if path)])
    environment = {**os.environ, **variables, "PYTHONPATH": roots}
    command = [sys.executable, "-c", textwrap.dedent(text), str(plain)]
    subprocess.run(command, cwd=tmp_path, env=environment, check=True, timeout=60)
    assert not (tmp_path / "canary").exists()


def test_replaced_while_it_is_opened(plain, monkeypatch):
    mapped = keras.MappedFile

    def replacing(path):
        os.replace(path.with_suffix(".new"), path)
        return mapped(path)

    plain.with_suffix(".new").write_bytes(plain.read_bytes())
    monkeypatch.setattr(keras, "MappedFile", replacing)
    with pytest.raises(LoadError, match="was replaced while it was opened"):
        open_h5(plain)
