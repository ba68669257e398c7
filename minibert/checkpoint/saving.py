"""From a model, or another checkpoint, into files that minibert, transformers or Google's TensorFlow code read."""

from __future__ import annotations

import json
import os
from collections.abc import Collection, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from ..errors import InputError, LoadError
from ..formats.atomic import write_atomic
from ..formats.safetensors import save_safetensors
from ..formats.weights import Array
from .names import OPERATIONS, tensorflow_name

__all__ = ["TARGETS", "notes_on_googles_code", "save_pretrained", "save_weights"]

TARGETS = ("safetensors", "npz", "tf")


def save_pretrained(directory: str | os.PathLike[str], config: Mapping[str, Any], arrays: Mapping[str, Any]) -> None:
    """Write config.json and model.safetensors into a folder, made if need be; each file is replaced whole or not."""
    folder = Path(directory)
    if folder.exists() and not folder.is_dir():
        raise LoadError(f"{folder}: expected a folder to save into, got a file")
    folder.mkdir(parents=True, exist_ok=True)
    save_safetensors(folder / "model.safetensors", dict(arrays))  # first: if it fails, an old model stays as it was
    write_atomic(folder / "config.json", _text(config))


def save_weights(
    folder: Path,
    config: Mapping[str, Any],
    arrays: Mapping[str, Array],
    to: str,
    others: Mapping[str, bytes] = MappingProxyType({}),
) -> list[str]:
    """Write a configuration, other files, and weights by Hugging Face's names into a new folder; -> the files' names.

    The weights come last: what a full disk leaves is not taken for a model, of other settings perhaps.

    to    "safetensors": model.safetensors and config.json, as transformers writes them
          "npz": model.npz and config.json
          "tf": bert_model.ckpt.index and .data-00000-of-00001 with Google's names and layout, and bert_config.json;
          fields that Google does not have are kept there, for its code ignores them

    InputError if Google's code has no place for a tensor.
    """
    if to == "tf":
        from ..formats.tensorflow.writing import save_bundle

        arrays = _for_tensorflow(arrays)
        names = _write_small(folder, {"bert_config.json": _text(config), **others})
        save_bundle(folder / "bert_model.ckpt", arrays)
        return [*names, "bert_model.ckpt.index", "bert_model.ckpt.data-00000-of-00001", "checkpoint"]
    names = _write_small(folder, {"config.json": _text(config), **others})
    if to == "npz":
        from ..formats.npz import save_npz

        save_npz(folder / "model.npz", dict(arrays), {"format": "pt"})
        return [*names, "model.npz"]
    save_safetensors(folder / "model.safetensors", dict(arrays))
    return [*names, "model.safetensors"]


def notes_on_googles_code(config: Mapping[str, Any], dtypes: Collection[str]) -> list[str]:
    """What Google's TensorFlow code computes otherwise, or refuses, of a model of that config and those dtypes."""
    notes = []
    if config["hidden_act"] == "gelu":
        notes.append("Google's code computes the tanh form for hidden_act gelu, since February 2019; here it is erf's")
    elif config["hidden_act"] not in ("relu", "tanh"):
        notes.append(
            f"Google's code knows no hidden_act {config['hidden_act']}; of the tanh form, gelu_new, its name is gelu"
        )
    for name, usual in (("layer_norm_eps", 1e-12), ("is_decoder", False)):
        if config[name] != usual:
            notes.append(f"Google's code has no {name}: it computes with {usual}, not {config[name]}")
    if others := sorted({*dtypes} - {"F32", "BF16"}):
        notes.append(f"Google's code has float32 variables, and does not restore them from {', '.join(others)}")
    return notes


def _text(config: Mapping[str, Any]) -> bytes:
    return (json.dumps(config, indent=2, sort_keys=True) + "\n").encode()


def _write_small(folder: Path, files: Mapping[str, bytes]) -> list[str]:
    for name, data in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        write_atomic(folder / name, data)
    return list(files)


def _for_tensorflow(arrays: Mapping[str, Array]) -> dict[str, Array]:
    result: dict[str, Array] = {}
    for name, array in arrays.items():
        place = tensorflow_name(name)
        if place is None:
            raise InputError(
                f"{name}: Google's code has no such tensor: its masked-LM decoder is tied to the word embeddings",
                "convert to safetensors or npz",
            )
        result[place[0]] = OPERATIONS[place[1]](array)
    return result
