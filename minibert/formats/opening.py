"""Opening weights wherever they are: what a file is, is told by its bytes, never by its name.

Names only say where in a folder to look first: safetensors before all else, since nothing in them has to be believed.
"""

from __future__ import annotations

import importlib
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from ..errors import LoadError, NotFound
from .files import impostor, open_regular, quote
from .shards import open_shards
from .weights import Weights

__all__ = ["FOLDER_ORDER", "identify", "open_weights"]

TABLE_MAGIC = bytes.fromhex("57fb808b247547db")  # the last bytes of a TensorFlow index
TORCH_LEGACY_NUMBER = bytes.fromhex("8a0a6cfc9c46f9206aa850192e")  # in the first pickle of a .bin before PyTorch 1.6

FOLDER_ORDER = (
    "model.safetensors",
    "model.safetensors.index.json",
    "pytorch_model.bin",
    "pytorch_model.bin.index.json",
    "*.index",
    "tf_model.h5",
    "flax_model.msgpack",
    "model.npz",
    "variables/variables.index",
)
_OTHER_NAMES = ("*.safetensors", "*.bin", "*.pt", "*.pth", "*.ckpt", "*.h5", "*.hdf5", "*.msgpack", "*.npz")
_REFUSED_NAMES = ("*.onnx", "*.gguf", "*.ot", "*.mlmodel", "*.mlpackage", "*.pdparams", "*.tflite", "*.pb", "*.tar.gz")


class Kind(NamedTuple):
    """A format: what people call it, how a file of it begins and ends, and the function that opens one."""

    name: str
    matches: Callable[[bytes, bytes], bool]  # the first 512 bytes, the last 8
    module: str
    function: str


_KINDS = (
    Kind("TensorFlow checkpoint", lambda _, tail: tail == TABLE_MAGIC, "tensorflow.bundle", "open_bundle"),
    Kind(
        "PyTorch legacy",
        lambda head, _: head[:1] == b"\x80" and TORCH_LEGACY_NUMBER in head[:24],  # `legacy` compares exactly
        "torch.legacy",
        "open_legacy",
    ),
    Kind("zip", lambda head, _: head.startswith((b"PK\x03\x04", b"PK\x05\x06")), "zips", "open_zip"),
    Kind("HDF5", lambda head, _: head.startswith(b"\x89HDF\r\n\x1a\n"), "keras", "open_h5"),
    Kind("npy", lambda head, _: head.startswith(b"\x93NUMPY"), "npz", "open_npy"),
    Kind("safetensors", lambda head, _: head[8:].lstrip(b" \t\r\n")[:1] == b"{", "safetensors", "open_safetensors"),
    Kind("msgpack", lambda head, _: bool(re.match(rb"[\x81-\x8f\xde\xdf]", head)), "flax", "open_msgpack"),
)


def open_weights(path: str | os.PathLike[str]) -> Weights:
    """Opens the weights at `path`: a file of any format, a TensorFlow prefix, the index of shards, or a folder.

    Raises NotFound, telling every place that was looked at, or LoadError if a file is malformed, lies about itself or
    is of a kind that is not read; the message says what it is and what to do instead.
    """
    path = Path(path)
    if path.is_dir():
        path = _weights_in(path)
    path = tensorflow_index(path) or path
    if path.name.endswith(".index.json"):
        return open_shards(path, open_weights)
    kind = identify(path)
    module = importlib.import_module(f".{kind.module}", __package__)
    opened: Weights = getattr(module, kind.function)(path)
    return opened


def tensorflow_index(path: Path) -> Path | None:
    """The .index of a TensorFlow checkpoint that `path` stands for: its prefix, or one of its other files."""
    prefix = re.sub(r"\.(data-\d{5}-of-\d{5}|meta)$", "", path.name)
    index = path.with_name(f"{prefix}.index") if path.name else path
    return index if index.is_file() and (prefix != path.name or not path.exists()) else None


def identify(path: Path) -> Kind:
    """What the file is, by its first and last bytes. LoadError names what is not read, and says what to do."""
    with open_regular(path) as file:
        head = file.read(512)
        file.seek(max(0, os.fstat(file.fileno()).st_size - 8))
        tail = file.read(8)
    for kind in _KINDS:
        if kind.matches(head, tail):
            return kind
    if len(head) < 8:
        raise LoadError(
            f"{path}: header too small: expected weights, got a file of {len(head)} bytes",
            "the file is empty or cut off: download or copy it again",
        )
    if re.search(r"\.data-\d{5}-of-\d{5}$", path.name):
        prefix = path.name.rpartition(".data-")[0]
        raise NotFound(f"{path.with_name(prefix)}.index: no such file, without which {path.name} is only bytes")
    what, hint = impostor(head) or (f"a file that begins with {quote(head[:16])}", "is it a weight file at all?")
    raise LoadError(f"{path}: expected weights in a format that minibert reads, got {what}", hint)


def _weights_in(folder: Path) -> Path:
    if not os.access(folder, os.R_OK | os.X_OK):  # glob would find nothing in it, and say nothing
        raise LoadError(f"{folder}: this folder may not be read")
    for pattern in FOLDER_ORDER:
        found = sorted(folder.glob(pattern))
        if len(found) > 1:
            found = [_named_by_checkpoint_file(folder, found)]
        if found:
            return found[0]
    others = sorted({place for pattern in _OTHER_NAMES for place in folder.glob(pattern)})
    if len(others) == 1:
        return others[0]
    looked = f"{folder}: no weights found (looked for {', '.join(FOLDER_ORDER)})"
    if others:
        names = ", ".join(quote(place.name) for place in others)
        raise NotFound(f"{looked}; the folder has {names}", "give the one that holds the weights by its own path")
    refused = sorted(place.name for pattern in _REFUSED_NAMES for place in folder.glob(pattern))
    if refused:
        raise NotFound(
            f"{looked}; the folder has {', '.join(map(quote, refused))}, which is not read",
            "fetch the same model's safetensors, PyTorch or TensorFlow weights",
        )
    raise NotFound(looked)


def _named_by_checkpoint_file(folder: Path, found: list[Path]) -> Path:
    """Of several TensorFlow checkpoints the one that the file `checkpoint` names, as TensorFlow itself would choose."""
    note = folder / "checkpoint"
    if note.is_file():
        with open_regular(note) as file:
            match = re.search(rb'^model_checkpoint_path: "([^"/\\\x00]+)"', file.read(2**16), re.MULTILINE)
        place = folder / f"{os.fsdecode(match[1])}.index" if match else None
        if place in found:
            return place
    raise NotFound(
        f"{folder}: {len(found)} TensorFlow checkpoints: {', '.join(quote(place.name) for place in found[:8])}",
        "give one of them by its own path",
    )
