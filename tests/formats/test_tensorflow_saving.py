"""Writing TensorFlow checkpoints: by hand-made rules the same bytes, and read back the same numbers."""

from __future__ import annotations

import os

import numpy as np
import pytest

from minibert.errors import InputError
from minibert.formats.opening import open_weights
from minibert.formats.tensorflow.writing import save_bundle
from minibert.formats.weights import DTYPES
from tests.formats import tensorflow_files as tf

RNG = np.random.default_rng(0)
ARRAYS = {f"of/{letters}": (RNG.standard_normal((3, 2)) * 9).astype(dtype) for letters, dtype in DTYPES.items()} | {
    "layer_2": np.float32(2),
    "layer_10": np.zeros((0, 3), np.float32),
    "zeros": np.zeros(3, np.float32),
    "Größe": np.arange(5.0),
}
del ARRAYS["of/BF16"]


def test_files_are_what_the_format_says(tmp_path):
    save_bundle(tmp_path / "bert_model.ckpt", ARRAYS)
    (tmp_path / "expected").mkdir()
    path = tf.write_bundle(tmp_path / "expected", *tf.entries_and_data({n: np.asarray(a) for n, a in ARRAYS.items()}))
    assert sorted(os.listdir(tmp_path)) == [
        "bert_model.ckpt.data-00000-of-00001", "bert_model.ckpt.index", "checkpoint", "expected",
    ]  # fmt: skip
    for ending in ("data-00000-of-00001", "index"):
        ours = (tmp_path / f"bert_model.ckpt.{ending}").read_bytes()
        expected = path.with_name(f"model.ckpt.{ending}").read_bytes()
        if ending == "index":  # but for the separator, shortened from "zeros" to "{", and what follows from that
            at = expected.index(b"zeros", expected.index(b"zeros") + 1)
            assert ours[: at - 3] == expected[: at - 3]
        else:
            assert ours == expected


def test_what_is_written_is_read_bitwise(tmp_path):
    save_bundle(tmp_path / "model", ARRAYS)
    weights = open_weights(tmp_path / "model")
    assert list(weights.tensors) == sorted(ARRAYS, key=str.encode)
    for name, array in ARRAYS.items():
        got = weights.read(name)
        assert (got.dtype, got.shape, got.tobytes()) == (array.dtype, array.shape, array.tobytes())


def test_order_byte_order_and_strides_do_not_matter(tmp_path):
    save_bundle(tmp_path / "a", ARRAYS)
    changed = {name: np.asarray(array).astype(array.dtype.newbyteorder(">")) for name, array in ARRAYS.items()}
    changed = {name: np.asfortranarray(array) if array.ndim else array for name, array in changed.items()}
    save_bundle(str(tmp_path / "b"), dict(reversed(changed.items())))
    for ending in ("data-00000-of-00001", "index"):
        assert (tmp_path / f"a.{ending}").read_bytes() == (tmp_path / f"b.{ending}").read_bytes()


def test_large_arrays_and_many_names(tmp_path):
    arrays = {f"a/name/of/some/length/{i}": np.float32([i]) for i in range(11_000)}
    arrays["large"] = RNG.standard_normal((300, 1000)).astype(np.float32)
    save_bundle(tmp_path / "model", arrays)
    weights = open_weights(tmp_path)
    assert (tmp_path / "model.index").stat().st_size > 2**18
    for name, array in arrays.items():
        assert np.array_equal(weights.read(name), array)


def test_no_tensors_at_all(tmp_path):
    save_bundle(tmp_path / "model", {})
    weights = open_weights(tmp_path)
    assert (dict(weights.tensors), (tmp_path / "model.data-00000-of-00001").read_bytes()) == ({}, b"")


def test_checkpoint_file(tmp_path):
    save_bundle(tmp_path / "model.ckpt-7", {"w": np.float32([1])})
    assert (tmp_path / "checkpoint").read_text() == (
        'model_checkpoint_path: "model.ckpt-7"\nall_model_checkpoint_paths: "model.ckpt-7"\n'
    )
    save_bundle(tmp_path / 'an "ö"', {"w": np.float32([2])})
    assert (tmp_path / "checkpoint").read_text().startswith('model_checkpoint_path: "an \\042\\303\\266\\042"\n')
    save_bundle(tmp_path / "model.ckpt-8", {"w": np.float32([3])})
    assert open_weights(tmp_path).read("w") == 3  # of three in the folder the one that was saved last


@pytest.mark.parametrize("name", ["", "\0", "\0w", "\ud800", 7, None])
def test_names_that_no_checkpoint_holds(tmp_path, name):
    with pytest.raises(InputError, match="name: expected"):
        save_bundle(tmp_path / "model", {"w": np.float32([1]), name: np.float32([1])})
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("array", [np.array(["a"]), np.array([None]), np.zeros(2, "c16"), np.zeros(2, "M8[s]")])
def test_dtypes_that_no_checkpoint_holds(tmp_path, array):
    with pytest.raises(InputError, match=r"tensor 'w': dtype: expected one of BOOL, .* got"):
        save_bundle(tmp_path / "model", {"w": array})
    assert os.listdir(tmp_path) == []


def test_open_arrays_survive_saving_over_their_file(tmp_path):
    save_bundle(tmp_path / "model", {"w": np.arange(9.0)})
    array = open_weights(tmp_path).read("w")
    save_bundle(tmp_path / "model", {"w": array + 1})
    assert np.array_equal(array, np.arange(9.0))
    assert np.array_equal(open_weights(tmp_path).read("w"), np.arange(9.0) + 1)


def test_new_data_under_an_old_index_is_found_out(tmp_path, monkeypatch):
    from minibert.formats.tensorflow import writing

    save_bundle(tmp_path / "model", {"w": np.arange(9.0)})
    monkeypatch.setattr(writing, "format_table", lambda entries: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        save_bundle(tmp_path / "model", {"w": np.arange(9.0) + 1})
    with pytest.raises(ValueError, match="tensor 'w': checksum"):
        open_weights(tmp_path).read("w")
