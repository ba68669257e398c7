"""A checkpoint on disk, whole or in shards: one mapping from tensor names to arrays, whatever the files.

A sharded checkpoint is a folder of safetensors or .bin files and `model.safetensors.index.json` or
`pytorch_model.bin.index.json`: {"weight_map": {tensor: file name}, "metadata": {...}}.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

from ..errors import LoadError
from .files import quote
from .jsonfile import read_json
from .weights import Array, Weights

__all__ = ["Shards", "open_shards"]

# An allow-list, so that no name in an index leads out of its folder: no separator, drive, NUL or leading dot.
_SHARD_NAME = re.compile(r"\w[\w. -]{0,199}\.(safetensors|bin)")
_INCOMPLETE = "index and shards do not belong together or a download is incomplete: fetch the whole folder again"


class Shards(Weights):
    """Opened weight files seen as one. Metadata of shards is merged, the first one wins."""

    def __init__(self, files: list[Weights]) -> None:
        self.format = f"{files[0].format}, {len(files)} shards"
        self.paths = tuple(path for file in files for path in file.paths)
        self.metadata, self.tensors = {}, {}
        self.ties = {name: first for file in files for name, first in file.ties.items()}
        self.notes = [note for file in files for note in file.notes]
        self._home: dict[str, Weights] = {}
        for file in files:
            self.metadata = file.metadata | self.metadata
            for name, info in file.tensors.items():
                if name in self._home:
                    places = f"{self._home[name].paths[0]} and {file.paths[0]}"
                    raise LoadError(f"tensor {quote(name)}: in two shards, {places}")
                self.tensors[name], self._home[name] = info, file

    def read(self, name: str) -> Array:
        """The tensor `name`; see `Weights.read`."""
        self._info(name)
        return self._home[name].read(name)


def open_shards(index: Path, open_file: Callable[[Path], Weights]) -> Shards:
    """Opens what the file `index` lists, each shard with `open_file`.

    Raises LoadError unless the shards are there and hold exactly what the index says.
    """
    weight_map = read_json(index).get("weight_map")
    if not isinstance(weight_map, dict) or not weight_map:
        raise LoadError(f"{index}: weight_map: expected an object of tensor and file names, got {quote(weight_map)}")
    for tensor, shard in weight_map.items():
        if not isinstance(shard, str) or not _SHARD_NAME.fullmatch(shard):
            raise LoadError(
                f"{index}: weight_map: {quote(tensor)}: expected the name of a weight file in the same folder, "
                f"got {quote(shard)}",
                "shards are never looked for elsewhere",
            )
    shards = sorted(set(weight_map.values()))
    if missing := [shard for shard in shards if not (index.parent / shard).exists()]:
        raise LoadError(f"{index}: shards missing from the folder: {', '.join(missing)}", _INCOMPLETE)
    files = {shard: open_file(index.parent / shard) for shard in shards}
    checkpoint = Shards(list(files.values()))
    if absent := [tensor for tensor, shard in weight_map.items() if tensor not in files[shard].tensors]:
        raise LoadError(f"{index}: weight_map: tensors not in the shard it names: {quote(absent)}", _INCOMPLETE)
    if unlisted := [tensor for tensor in checkpoint.tensors if tensor not in weight_map]:
        raise LoadError(
            f"{index}: weight_map: tensors in the shards that it leaves out: {quote(unlisted)}", _INCOMPLETE
        )
    return checkpoint
