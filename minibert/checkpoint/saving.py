"""From a model, or another checkpoint, into files that minibert, transformers or Google's TensorFlow code read."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..errors import InputError, LoadError
from ..formats.atomic import write_atomic
from ..formats.safetensors import save_safetensors
from ..formats.weights import Array
from .names import OPERATIONS, tensorflow_name

__all__ = ["TARGETS", "save_pretrained", "save_weights"]

TARGETS = ("safetensors", "npz", "tf")
GOOGLE_FIELDS = (
    "attention_probs_dropout_prob", "hidden_act", "hidden_dropout_prob", "hidden_size", "initializer_range",
    "intermediate_size", "max_position_embeddings", "num_attention_heads", "num_hidden_layers", "type_vocab_size",
    "vocab_size",
)  # fmt: skip


def save_pretrained(directory: str | os.PathLike[str], config: Mapping[str, Any], arrays: Mapping[str, Any]) -> None:
    """Write config.json and model.safetensors into a folder, made if need be; each file is replaced whole or not."""
    folder = Path(directory)
    if folder.exists() and not folder.is_dir():
        raise LoadError(f"{folder}: expected a folder to save into, got a file")
    save_weights(folder, config, arrays, "safetensors")


def save_weights(folder: Path, config: Mapping[str, Any], arrays: Mapping[str, Array], to: str) -> list[str]:
    """Write a configuration and weights, by Hugging Face's names, into a folder, made if need be; -> the files' names.

    to    "safetensors": model.safetensors and config.json, as transformers writes them
          "npz": model.npz and config.json
          "tf": bert_model.ckpt.index and .data-00000-of-00001 with Google's names and layout, and bert_config.json

    InputError if Google's code has no place for a tensor.
    """
    if to == "tf":
        from ..formats.tensorflow.writing import save_bundle

        config = {name: config[name] for name in GOOGLE_FIELDS if name in config}
        arrays = _for_tensorflow(arrays)
        folder.mkdir(parents=True, exist_ok=True)
        save_bundle(folder / "bert_model.ckpt", arrays)
        names = ["bert_model.ckpt.index", "bert_model.ckpt.data-00000-of-00001", "checkpoint"]
    elif to == "npz":
        from ..formats.npz import save_npz

        folder.mkdir(parents=True, exist_ok=True)
        save_npz(folder / "model.npz", dict(arrays), {"format": "pt"})
        names = ["model.npz"]
    else:
        folder.mkdir(parents=True, exist_ok=True)
        save_safetensors(folder / "model.safetensors", dict(arrays))
        names = ["model.safetensors"]
    config_name = "bert_config.json" if to == "tf" else "config.json"
    write_atomic(folder / config_name, (json.dumps(config, indent=2, sort_keys=True) + "\n").encode())
    return [*names, config_name]


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
