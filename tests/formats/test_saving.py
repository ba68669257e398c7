"""Writing safetensors: what is written is what the reference writer writes, or an error before the file is touched."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from safetensors import safe_open
from safetensors.numpy import load_file, save

from minibert.errors import InputError, LoadError
from minibert.formats.safetensors import open_safetensors, save_safetensors

DTYPES = ["?", "u1", "i1", "<i2", "<u2", "<f2", "<i4", "<u4", "<f4", "<c8", "<f8", "<i8", "<u8"]
NAMES = st.text(max_size=20) | st.sampled_from(["", "a\0b", "../x", "a\nb", 'quo"te\\', "__metadata", "é😀\u2028"])
ARRAYS = st.dictionaries(
    NAMES.filter(lambda name: name != "__metadata__"),
    st.sampled_from(DTYPES).flatmap(
        lambda dtype: hnp.arrays(np.dtype(dtype), hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=4))
    ),
    max_size=5,
)


def same(a: np.ndarray, b: np.ndarray) -> bool:
    """Equal to the bit: NaN payloads and negative zeros included."""
    return (a.dtype, a.shape, a.tobytes()) == (b.dtype, b.shape, b.tobytes())


@settings(max_examples=200, deadline=None, derandomize=True)
@given(ARRAYS, st.dictionaries(st.text(max_size=5), st.text(max_size=5), max_size=3))
def test_round_trip_agrees_with_the_library(tmp_path_factory, arrays, metadata):
    path = tmp_path_factory.getbasetemp() / "round_trip.safetensors"
    save_safetensors(path, arrays, metadata)
    ours, library = open_safetensors(path), load_file(path)
    assert ours.tensors.keys() == library.keys() == arrays.keys()
    for name, array in arrays.items():
        assert same(ours.read(name), array)
        assert same(library[name], array)
    with safe_open(path, framework="np") as file:
        assert file.metadata() == ours.metadata == {"format": "pt", **metadata}


@settings(max_examples=100, deadline=None, derandomize=True)
@given(ARRAYS)
def test_files_are_those_of_the_reference_writer(tmp_path_factory, arrays):
    path = tmp_path_factory.getbasetemp() / "reference.safetensors"
    save_safetensors(path, arrays)
    assert path.read_bytes() == save(arrays, {"format": "pt"})


@settings(max_examples=100, deadline=None, derandomize=True)
@given(ARRAYS, st.dictionaries(st.text(max_size=5), st.text(max_size=5), max_size=1))
def test_files_of_the_reference_writer_are_read(tmp_path_factory, arrays, metadata):
    path = tmp_path_factory.getbasetemp() / "library.safetensors"
    path.write_bytes(save(arrays, metadata or None))  # with {} and {} it writes what it does not read itself
    file = open_safetensors(path)
    assert all(same(file.read(name), array) for name, array in arrays.items())
    assert file.metadata == metadata


@pytest.mark.parametrize("dtype", [dtype.replace("<", ">") for dtype in DTYPES])
def test_s26_big_endian_and_strided_arrays(tmp_path, dtype):
    grid = np.arange(24).reshape(2, 3, 4).astype(dtype)
    arrays = {
        "plain": grid,
        "fortran": np.asfortranarray(grid),
        "transposed": grid.T,
        "strided": grid[::-1, :, ::2],
        "repeated": np.broadcast_to(grid[0, 0], (3, 4)),
        "scalar": np.array(5, dtype),
        "empty": grid[:, :0],
    }
    save_safetensors(tmp_path / "a", arrays)
    file, library = open_safetensors(tmp_path / "a"), load_file(tmp_path / "a")
    for name, array in arrays.items():
        assert file.read(name).dtype.isnative
        assert file.read(name).shape == array.shape
        assert np.array_equal(file.read(name), array)
        assert np.array_equal(library[name], array)


def test_s26_reserved_name(tmp_path):
    with pytest.raises(InputError, match="__metadata__: reserved"):
        save_safetensors(tmp_path / "a", {"__metadata__": np.zeros(3)})


@pytest.mark.parametrize("dtype", ["O", "U3", "S3", "c16", "M8[s]", "m8[s]", [("a", "f4")], "V4"])
def test_s26_dtype_that_the_format_cannot_hold(tmp_path, dtype):
    path = tmp_path / "a"
    save_safetensors(path, {"old": np.zeros(3)})
    with pytest.raises(InputError, match="tensor 'bad': dtype: expected one of"):
        save_safetensors(path, {"good": np.zeros(3), "bad": np.zeros(2, dtype)})
    assert list(open_safetensors(path).tensors) == ["old"]


@pytest.mark.parametrize(
    ("arrays", "metadata"),
    [({"\ud800": np.zeros(1)}, {}), ({1: np.zeros(1)}, {}), ({}, {"a": 1}), ({}, {"a": "\udfff"}), ({}, {b"a": "b"})],
)
def test_names_and_metadata_that_are_not_text(tmp_path, arrays, metadata):
    with pytest.raises(InputError, match="names and metadata: expected Unicode text"):
        save_safetensors(tmp_path / "a", arrays, metadata)
    assert not list(tmp_path.iterdir())


def test_nothing_is_written_that_could_not_be_read(tmp_path):
    with pytest.raises(LoadError, match=r"header: expected at most .* values"):
        save_safetensors(tmp_path / "a", {"," * 2**20: np.zeros(1)})
    assert not list(tmp_path.iterdir())


def test_metadata_may_name_another_format(tmp_path):
    save_safetensors(tmp_path / "a", {}, {"format": "np", "step": "7"})
    assert open_safetensors(tmp_path / "a").metadata == {"format": "np", "step": "7"}
