"""What is at a path is told by its bytes; what is not read is called by its name, with what to do instead."""

from __future__ import annotations

import io
import tarfile

import numpy as np
import pytest

from minibert.errors import LoadError, NotFound
from minibert.formats.npz import save_npz
from minibert.formats.opening import FOLDER_ORDER, open_weights
from minibert.formats.safetensors import save_safetensors
from minibert.formats.tensorflow.writing import save_bundle

ONE = {"w": np.arange(6.0).reshape(2, 3)}


def old_tar() -> bytes:
    """The first checkpoints of PyTorch: a tar of sys_info, pickle, storages and tensors."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name in ("sys_info", "pickle", "storages", "tensors"):
            tar.addfile(tarfile.TarInfo(name))
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("content", "what", "hint"),
    [
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n", "a git-lfs pointer", "git lfs pull"),
        (b"<!DOCTYPE html><html>Not found</html>", "an HTML page", "download the file itself"),
        (b"  \n<html><body>404</body></html>", "an HTML page", "download the file itself"),
        (old_tar(), "a tar archive", "save it once with PyTorch"),
        (b"\x1f\x8b\x08\x00" + bytes(20), "a gzip archive", "tar xzf"),
        (b"\x08\x07\x12\x07pytorch\x1a\x051.8.0" + bytes(20), "an ONNX or Core ML model", "safetensors"),
        (b"\x08\x04\x12\x20" + bytes(40), "an ONNX or Core ML model", "safetensors"),
        (b"GGUF\x03\x00\x00\x00" + bytes(20), "a GGUF file", "safetensors"),
        (b"\x80\x02}q\x00." + bytes(20), "a pickle, and no checkpoint of PyTorch", "numpy.savez"),
        (b"\x80\x04\x95" + bytes(20), "a pickle, and no checkpoint of PyTorch", "numpy.savez"),
        (b"lmgg" + bytes(20), "a GGML file", "safetensors"),
        (b"\x7fELF" + bytes(20), "a file that begins with", "a weight file at all"),
        (b"hello, world", "a file that begins with b'hello, world'", "a weight file at all"),
        (b"", "a file of 0 bytes", "download or copy it again"),
        (b"1234567", "a file of 7 bytes", "download or copy it again"),
    ],
)
@pytest.mark.parametrize("name", ["model.safetensors", "pytorch_model.bin", "weights"])
def test_t10_what_is_not_read_is_named(tmp_path, content, what, hint, name):
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(LoadError) as caught:
        open_weights(path)
    assert what in caught.value.message
    assert str(path) in caught.value.message
    assert hint in caught.value.hint


@pytest.mark.parametrize("name", ["model.safetensors", "pytorch_model.bin", "tf_model.h5", "noise", "x.npz"])
def test_names_do_not_matter(tmp_path, name):
    save_safetensors(tmp_path / name, ONE)
    assert open_weights(tmp_path / name).format == "safetensors"
    save_npz(tmp_path / name, ONE, {})
    assert open_weights(tmp_path / name).format == "npz"


def test_an_npz_of_nothing(tmp_path):
    np.savez(tmp_path / "empty.npz")
    assert open_weights(tmp_path / "empty.npz").tensors == {}


def test_safetensors_go_before_everything_else(tmp_path):
    save_npz(tmp_path / "model.npz", ONE, {})
    save_bundle(tmp_path / "bert_model.ckpt", ONE)
    (tmp_path / "pytorch_model.bin").write_bytes(b"never opened")
    save_safetensors(tmp_path / "model.safetensors", ONE)
    assert open_weights(tmp_path).format == "safetensors"


def test_one_file_goes_before_an_index(tmp_path):
    (tmp_path / "model.safetensors.index.json").write_text('{"weight_map": {"w": "absent.safetensors"}}')
    save_safetensors(tmp_path / "model.safetensors", ONE)
    assert open_weights(tmp_path).paths == (tmp_path / "model.safetensors",)


def test_a_folder_of_one_unknown_name(tmp_path):
    save_safetensors(tmp_path / "epoch-3.ckpt", ONE)
    assert np.array_equal(open_weights(tmp_path).read("w"), ONE["w"])


def test_a_folder_of_several_unknown_names(tmp_path):
    for name in ("a.bin", "b.pt"):
        save_safetensors(tmp_path / name, ONE)
    with pytest.raises(NotFound, match=r"the folder has 'a\.bin', 'b\.pt'") as caught:
        open_weights(tmp_path)
    assert "by its own path" in caught.value.hint


@pytest.mark.parametrize("name", ["model.onnx", "rust_model.ot", "model.gguf", "saved_model.pb", "bert.tar.gz"])
def test_t10_a_folder_of_what_is_not_read(tmp_path, name):
    (tmp_path / name).write_bytes(b"")
    with pytest.raises(NotFound, match=f"the folder has '{name}', which is not read") as caught:
        open_weights(tmp_path)
    assert "safetensors, PyTorch or TensorFlow weights" in caught.value.hint


def test_an_empty_folder_tells_every_place(tmp_path):
    with pytest.raises(NotFound) as caught:
        open_weights(tmp_path)
    assert str(tmp_path) in caught.value.message
    for pattern in FOLDER_ORDER:
        assert pattern in caught.value.message
    with pytest.raises(NotFound, match="no such file"):
        open_weights(tmp_path / "absent")


# ---- TensorFlow -----------------------------------------------------------------------------------------------------


def test_a_tensorflow_checkpoint_by_any_of_its_names(tmp_path):
    save_bundle(tmp_path / "bert_model.ckpt", ONE)
    (tmp_path / "bert_model.ckpt.meta").write_bytes(b"a graph")
    for name in ("", ".index", ".data-00000-of-00001", ".meta"):
        weights = open_weights(tmp_path / f"bert_model.ckpt{name}")
        assert weights.format == "TensorFlow checkpoint"
        assert np.array_equal(weights.read("w"), ONE["w"])
    assert open_weights(tmp_path).tensors.keys() == ONE.keys()


def test_the_numbers_of_a_tensorflow_checkpoint_without_its_index(tmp_path):
    save_bundle(tmp_path / "bert_model.ckpt", ONE)
    (tmp_path / "bert_model.ckpt.index").unlink()
    with pytest.raises(NotFound, match=r"bert_model\.ckpt\.index: no such file"):
        open_weights(tmp_path / "bert_model.ckpt.data-00000-of-00001")


def test_a_saved_model_with_variables(tmp_path):
    (tmp_path / "variables").mkdir()
    (tmp_path / "saved_model.pb").write_bytes(b"\x08\x01")
    save_bundle(tmp_path / "variables" / "variables", ONE)
    assert np.array_equal(open_weights(tmp_path).read("w"), ONE["w"])


def test_of_several_checkpoints_the_file_checkpoint_chooses(tmp_path):
    for step in (1, 2, 10):
        save_bundle(tmp_path / f"model.ckpt-{step}", {"step": np.array(step)})
    (tmp_path / "checkpoint").write_text('model_checkpoint_path: "model.ckpt-2"\nall_model_checkpoint_paths: "x"\n')
    assert open_weights(tmp_path).read("step") == 2


@pytest.mark.parametrize("text", ["", 'model_checkpoint_path: "../x"\n', 'model_checkpoint_path: "gone"\n', None])
def test_of_several_checkpoints_none_is_guessed(tmp_path, text):
    for step in (1, 2):
        save_bundle(tmp_path / f"model.ckpt-{step}", {"step": np.array(step)})
    (tmp_path / "checkpoint").unlink(missing_ok=True)
    if text is not None:
        (tmp_path / "checkpoint").write_text(text)
    with pytest.raises(NotFound, match=r"2 TensorFlow checkpoints: 'model\.ckpt-1\.index', 'model\.ckpt-2\.index'"):
        open_weights(tmp_path)
