"""A checkpoint on disk, whole or in shards: one mapping from tensor names to arrays, whatever the files.

A sharded checkpoint is a folder of safetensors files and `model.safetensors.index.json`:
{"weight_map": {tensor: file name}, "metadata": {...}}.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import LoadError, NotFound
from .files import CONVERT, quote
from .jsonfile import read_json
from .safetensors import SafetensorsFile, TensorInfo, open_safetensors

__all__ = ["Checkpoint", "open_checkpoint"]

WEIGHTS = "model.safetensors"
INDEX = "model.safetensors.index.json"

# Other homes of weights, named when safetensors are missing.
_OTHER_FORMATS = ("*.safetensors", "*.bin", "*.h5", "*.msgpack", "*.ckpt*", "*.pt", "*.pth", "*.ot", "*.onnx", "*.gguf")
# An allow-list, so that no name in an index leads out of its folder: no separator, drive, NUL or leading dot.
_SHARD_NAME = re.compile(r"\w[\w. -]*\.safetensors")
_INCOMPLETE = "index and shards do not belong together or a download is incomplete: fetch the whole folder again"


class Checkpoint:
    """Opened weight files seen as one: `tensors` (name -> TensorInfo), `metadata`, `paths`, and `read(name)`.

    An offset in a TensorInfo counts within the tensor's own file. Metadata of shards is merged, the first one wins.
    """

    def __init__(self, files: list[SafetensorsFile]) -> None:
        self.paths: tuple[Path, ...] = tuple(file.path for file in files)
        self.metadata: dict[str, str] = {}
        self.tensors: dict[str, TensorInfo] = {}
        self._home: dict[str, SafetensorsFile] = {}
        for file in files:
            self.metadata = file.metadata | self.metadata
            for name, info in file.tensors.items():
                if name in self._home:
                    raise LoadError(f"tensor {quote(name)}: in two shards, {self._home[name].path} and {file.path}")
                self.tensors[name], self._home[name] = info, file

    def read(self, name: str) -> np.ndarray[Any, Any]:
        """The tensor `name`, read-only; see `SafetensorsFile.read`."""
        if name not in self._home:
            raise LoadError(f"{', '.join(map(str, self.paths))}: no tensor named {quote(name)}")
        return self._home[name].read(name)


def open_checkpoint(path: str | os.PathLike[str]) -> Checkpoint:
    """Opens the weights at `path`: a folder, a safetensors file, or the index of a sharded checkpoint.

    In a folder `model.safetensors` goes before `model.safetensors.index.json`. Raises NotFound if there are neither,
    telling which other weights are there; LoadError if a file is malformed (see `open_safetensors`) or the shards
    are not exactly what the index says.
    """
    path = Path(path)
    if path.is_dir():
        path = _weights_in(path)
    if path.name.endswith(".index.json"):
        return _open_shards(path)
    return Checkpoint([open_safetensors(path)])


def _weights_in(folder: Path) -> Path:
    places = [folder / WEIGHTS, folder / INDEX]
    for place in places:
        if place.exists():
            return place
    others = sorted({found.name for pattern in _OTHER_FORMATS for found in folder.glob(pattern)})
    looked = f"{folder}: no weights found (looked at {', '.join(map(str, places))})"
    if not others:
        raise NotFound(looked)
    readable = [name for name in others if name.endswith(".safetensors")]
    raise NotFound(
        f"{looked}; the folder has {', '.join(map(quote, others))}",
        f"rename {quote(readable[0])} to {WEIGHTS} if it holds the weights" if readable else CONVERT,
    )


def _open_shards(index: Path) -> Checkpoint:
    weight_map = read_json(index).get("weight_map")
    if not isinstance(weight_map, dict) or not weight_map:
        raise LoadError(f"{index}: weight_map: expected an object of tensor and file names, got {quote(weight_map)}")
    for tensor, shard in weight_map.items():
        if not isinstance(shard, str) or not _SHARD_NAME.fullmatch(shard):
            raise LoadError(
                f"{index}: weight_map: {quote(tensor)}: expected the name of a .safetensors file in the same folder, "
                f"got {quote(shard)}",
                "shards are never looked for elsewhere",
            )
    shards = sorted(set(weight_map.values()))
    if missing := [shard for shard in shards if not (index.parent / shard).exists()]:
        raise LoadError(f"{index}: shards missing from the folder: {', '.join(missing)}", _INCOMPLETE)
    files = {shard: open_safetensors(index.parent / shard) for shard in shards}
    checkpoint = Checkpoint(list(files.values()))
    if absent := [tensor for tensor, shard in weight_map.items() if tensor not in files[shard].tensors]:
        raise LoadError(f"{index}: weight_map: tensors not in the shard it names: {quote(absent)}", _INCOMPLETE)
    if unlisted := [tensor for tensor in checkpoint.tensors if tensor not in weight_map]:
        raise LoadError(
            f"{index}: weight_map: tensors in the shards that it leaves out: {quote(unlisted)}", _INCOMPLETE
        )
    return checkpoint
