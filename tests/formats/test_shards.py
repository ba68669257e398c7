"""Checkpoints in one file or many: the index and its shards agree exactly, or nothing is opened."""

from __future__ import annotations

import json

import numpy as np
import pytest

from minibert.errors import LoadError
from minibert.formats.opening import open_weights
from minibert.formats.safetensors import save_safetensors

FIRST, SECOND = "model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"


@pytest.fixture
def sharded(tmp_path):
    """A folder of two shards; called with a weight_map, it writes the index."""
    save_safetensors(tmp_path / FIRST, {"a": np.arange(3.0), "b": np.ones((2, 2), "f2")})
    save_safetensors(tmp_path / SECOND, {"c": np.arange(4)}, {"origin": "test"})

    def index(weight_map):
        text = json.dumps({"metadata": {"total_size": 64}, "weight_map": weight_map})
        (tmp_path / "model.safetensors.index.json").write_text(text)
        return tmp_path

    return index


def test_s25_shards_read_as_one(sharded):
    folder = sharded({"a": FIRST, "b": FIRST, "c": SECOND})
    for place in (folder, str(folder), folder / "model.safetensors.index.json"):
        checkpoint = open_weights(place)
        assert checkpoint.paths == (folder / FIRST, folder / SECOND)
        assert checkpoint.metadata == {"format": "pt", "origin": "test"}
        assert {name: info.shape for name, info in checkpoint.tensors.items()} == {"a": (3,), "b": (2, 2), "c": (4,)}
        assert np.array_equal(checkpoint.read("a"), np.arange(3.0))
        assert np.array_equal(checkpoint.read("c"), np.arange(4))
        assert checkpoint.format == "safetensors, 2 shards"
        with pytest.raises(LoadError, match="no tensor named 'd'"):
            checkpoint.read("d")


def test_s25_missing_shard(sharded):
    folder = sharded({"a": FIRST, "b": FIRST, "c": SECOND, "d": "model-3.safetensors"})
    with pytest.raises(LoadError, match=r"shards missing from the folder: model-3\.safetensors"):
        open_weights(folder)


def test_s25_tensor_in_two_shards(sharded, tmp_path):
    folder = sharded({"a": FIRST, "b": FIRST, "c": SECOND})
    save_safetensors(tmp_path / SECOND, {"c": np.arange(4), "a": np.arange(3.0)})
    with pytest.raises(LoadError, match="tensor 'a': in two shards"):
        open_weights(folder)


def test_s25_tensor_not_in_its_shard(sharded):
    with pytest.raises(LoadError, match=r"tensors not in the shard it names: \['b'\]"):
        open_weights(sharded({"a": FIRST, "b": SECOND, "c": SECOND}))


def test_s25_tensor_missing_from_the_index(sharded):
    with pytest.raises(LoadError, match=r"tensors in the shards that it leaves out: \['b'\]"):
        open_weights(sharded({"a": FIRST, "c": SECOND}))


@pytest.mark.parametrize(
    "shard",
    [
        "/etc/passwd", "/x.safetensors", "../x.safetensors", "..", ".", "", "sub/x.safetensors", "sub\\x.safetensors",
        "C:x.safetensors", ".x.safetensors", "x\0.safetensors", "x.safetensors\n", "x.pkl", "x.bin/",
        "x" * 300 + ".bin", 1, None, [],
    ],
)  # fmt: skip
def test_s25_shard_name_that_leads_elsewhere(sharded, shard):
    with pytest.raises(LoadError, match="weight_map: 'c': expected the name of a weight file"):
        open_weights(sharded({"a": FIRST, "b": FIRST, "c": shard}))


@pytest.mark.parametrize("weight_map", [None, [], {}, "text", 1])
def test_s25_no_weight_map(sharded, weight_map):
    with pytest.raises(LoadError, match="weight_map: expected an object"):
        open_weights(sharded(weight_map))


def test_s25_index_that_is_no_strict_json(sharded, tmp_path):
    sharded({})
    (tmp_path / "model.safetensors.index.json").write_text(
        '{"weight_map": {"a": "x.safetensors", "a": "y.safetensors"}}'
    )
    with pytest.raises(LoadError, match="duplicate key 'a'"):
        open_weights(tmp_path)


def test_s25_broken_shard_is_named(sharded, tmp_path):
    folder = sharded({"a": FIRST, "b": FIRST, "c": SECOND})
    (tmp_path / SECOND).write_bytes((tmp_path / SECOND).read_bytes()[:-1])
    with pytest.raises(LoadError, match=f"{SECOND}: .* 1 bytes are missing"):
        open_weights(folder)
