"""Checkpoints of small models, right and wrong ones, and what every test of them asks."""

import json

import numpy as np
import pytest

import minibert as mb
from minibert.errors import LoadError
from minibert.formats.safetensors import save_safetensors


def write(folder, model, change=lambda arrays: None, **config):
    """A checkpoint of the model's config and tensors, both as changed."""
    arrays = dict(model.state_dict())
    change(arrays)
    folder.mkdir(exist_ok=True)
    save_safetensors(folder / "model.safetensors", arrays)
    (folder / "config.json").write_text(json.dumps({**model.config.to_dict(), **config}))
    return folder


def write_bfloat16(path, arrays):
    """The upper halves of float32s; NumPy has no such dtype."""
    header, data = {}, b""
    for name, array in arrays.items():
        bits = (np.ascontiguousarray(array, np.float32).view(np.uint32) >> 16).astype("<u2").tobytes()
        header[name] = {"dtype": "BF16", "shape": array.shape, "data_offsets": [len(data), len(data) + len(bits)]}
        data += bits
    text = json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + data)


def rename(arrays, old, new, count=-1):
    """In the names that have `old` in them; as str.replace, so an empty `old` with count=1 is the place in front."""
    for name in list(arrays):
        if old in name:
            arrays[name.replace(old, new, count)] = arrays.pop(name)


def assert_same_weights(model, other):
    assert list(model.state_dict()) == list(other.state_dict())
    np.testing.assert_array_equal(model.parameters.flat, other.parameters.flat)


def refused(folder, *texts, cls=mb.BertForMaskedLM, error=LoadError, **options):
    with pytest.raises(error) as caught:
        cls.from_pretrained(folder, **options)
    for text in texts:
        assert text in str(caught.value)
