"""TensorFlow's V2 checkpoints, "tensor bundles": PREFIX.index, and the numbers in PREFIX.data-SSSSS-of-NNNNN beside it.

    .index  a sorted table (see `table`): under the empty key a header, and under each tensor's name an entry (see
            `entries`) that says its dtype, shape, shard, offset, size and checksum
    .data   one a shard: the bytes of tensors, in C order, wherever the entries say

Names come in three kinds: those of TensorFlow 1, such as "bert/pooler/dense/kernel"; paths through a saved object,
which end in "/.ATTRIBUTES/VARIABLE_VALUE" and have a graph that explains them (see `objects`); and slices of variables
that were saved in pieces (see `slices`), of which readers here see only the whole.

Data files are looked for under no other name. Where they are absent, the index alone still tells what was in them.
"""

from __future__ import annotations

import math
import os
from pathlib import Path

import numpy as np

from ...errors import LoadError, NotFound
from ..files import quote
from ..mapped import MappedFile
from ..weights import DTYPES, Array, TensorInfo, Weights, decode
from .checksum import crc32c
from .entries import Entry, parse_entry, parse_header
from .objects import GRAPH_KEY, is_slot_path, parse_object_graph
from .slices import SLICE_KEY, Pieces, find_pieces
from .table import read_table
from .texts import decode_texts

__all__ = ["Bundle", "open_bundle"]

_DAMAGED = (
    "index and data do not belong together, or one is cut off or damaged: fetch all files of the checkpoint again"
)


def open_bundle(path: str | os.PathLike[str]) -> Bundle:
    """Opens the checkpoint whose .index is `path`, reading nothing but that and the object graph, if it has one.

    Raises NotFound if it is not there, and LoadError naming the file, the tensor and the field if it is malformed or a
    data file is shorter than it says. Data files may be absent: `has_data` is False then.
    """
    return Bundle(Path(path))


class Bundle(Weights):
    """An open TensorFlow checkpoint. Its arrays are windows on the mapped data files, where they can be.

    has_data     whether all data files are there
    full_names   tensor -> the name its variable was made with, where an object graph tells
    slots        the tensors that are an optimiser's own, where an object graph or their path tells; in checkpoints of
                 TensorFlow 1 nothing does but their names
    """

    def __init__(self, path: Path) -> None:
        self._index = path
        self._read_index()
        self._open_shards()
        self.ties = {}
        self.format = "TensorFlow checkpoint"
        self.full_names: dict[str, str] = {}
        self.slots = set(filter(is_slot_path, self.tensors))
        if GRAPH_KEY in self.tensors:
            self.format += ", object-based"
            if self._entries[GRAPH_KEY].shard in self._shards:
                graph = b"".join(self.read_text(GRAPH_KEY))
                self.full_names, slots = parse_object_graph(graph, self.tensors, self._where(GRAPH_KEY))
                self.slots |= slots

    def read(self, name: str) -> Array:
        """The tensor `name`, its checksum verified; see `Weights.read`.

        NotFound if its data file is absent. LoadError if it is a text, or of a dtype that is listed but not read.
        """
        info = self._info(name)
        if info.dtype not in DTYPES:
            hint = "its texts come from read_text" if info.dtype == "TEXT" else "no weights of BERT are of this dtype"
            raise LoadError(f"{self._where(name)}: dtype: expected numbers, got {info.dtype}, which is not read", hint)
        if name not in self._pieces:
            return self._read_entry(name, self._entries[name])
        axis, entries = self._pieces[name]
        arrays = [self._read_entry(name, entry) for entry in entries]
        if len(arrays) == 1:
            return arrays[0]
        array = np.ascontiguousarray(np.concatenate(arrays, axis))
        array.flags.writeable = False
        return array

    def read_text(self, name: str) -> list[bytes]:
        """The byte strings of the tensor `name`, of dtype TEXT, in C order, checksums verified; errors as in `read`."""
        info = self._info(name)
        if info.dtype != "TEXT":
            raise LoadError(f"{self._where(name)}: dtype: expected TEXT, got {info.dtype}")
        entry = self._entries[name]
        raw = bytes(self._shard(name, entry).window(entry.offset, entry.size))
        count, where = math.prod(info.shape), self._where(name)
        return decode_texts(raw, count, entry.checksum, "big" if self._header.big_endian else "little", where)

    def _where(self, name: str) -> str:
        return f"{self._index}: tensor {quote(name)}"

    def _read_index(self) -> None:
        path = self._index
        table = read_table(MappedFile(path))
        key, value = next(table, (None, b""))
        if key != b"":
            raise LoadError(
                f"{path}: header: expected one under the empty key, got the key {quote(key)} first",
                "this is a sorted table, such as LevelDB's, but not of a TensorFlow checkpoint",
            )
        self._header = parse_header(value, f"{path}: header")
        self._entries: dict[str, Entry] = {}
        self._pieces: dict[str, Pieces] = {}
        self.tensors = {}
        slices: dict[bytes, Entry] = {}
        for key, value in table:
            if key.startswith(SLICE_KEY):  # these come before the names
                slices[key] = parse_entry(value, self._header.shards, f"{path}: slice {quote(key)}")
                continue
            try:
                name = key.decode()
            except UnicodeDecodeError:
                raise LoadError(f"{path}: key {quote(key)}: expected a name in UTF-8") from None
            entry = parse_entry(value, self._header.shards, self._where(name))
            if entry.slices:
                self._pieces[name] = find_pieces(name, entry, slices, self._where(name))
                entry = entry._replace(slices=(), size=sum(piece.size for piece in self._pieces[name].entries))
            self._entries[name] = entry
            self.tensors[name] = TensorInfo(entry.dtype, entry.shape, entry.size)
        if slices:
            raise LoadError(f"{path}: slice {quote(next(iter(slices)))}: of a tensor that does not list it")
        self.metadata = {"producer": str(self._header.producer)}

    def _open_shards(self) -> None:
        """Maps the data files that are there, each at least as long as the index says."""
        ends: dict[int, int] = {}
        for name, whole in self._entries.items():
            for entry in self._pieces[name].entries if name in self._pieces else [whole]:
                ends[entry.shard] = max(ends.get(entry.shard, 0), entry.offset + entry.size)
        self._shards: dict[int, MappedFile] = {}
        for shard, end in sorted(ends.items()):
            try:
                file = MappedFile(self._shard_path(shard))
            except NotFound:
                continue
            if file.size < end:
                raise LoadError(
                    f"{file.path}: expected {end} bytes, got {file.size}: {end - file.size} bytes are missing", _DAMAGED
                )
            self._shards[shard] = file
        self.has_data = len(self._shards) == len(ends)
        self.paths = (self._index, *(file.path for file in self._shards.values()))
        self.notes = []
        if absent := [self._shard_path(shard).name for shard in ends if shard not in self._shards]:
            files = f"{min(absent)}{f' and {len(absent) - 1} more files' * (len(absent) > 1)}"
            self.notes.append(f"{files} with the numbers not there: only names, dtypes and shapes are known.")

    def _shard_path(self, shard: int) -> Path:
        return self._index.with_name(
            f"{self._index.name.removesuffix('.index')}.data-{shard:05}-of-{self._header.shards:05}"
        )

    def _shard(self, name: str, entry: Entry) -> MappedFile:
        if entry.shard in self._shards:
            return self._shards[entry.shard]
        last = self._header.shards - 1
        files = f"{self._shard_path(0).name}{f' to {self._shard_path(last).name}' * bool(last)}"
        raise NotFound(
            f"{self._shard_path(entry.shard)}: no such file, in which the numbers of {quote(name)} are",
            f"these files belong together, in one folder: {self._index.name} and {files}",
        )

    def _read_entry(self, name: str, entry: Entry) -> Array:
        file = self._shard(name, entry)
        where = f"{file.path}: tensor {quote(name)}"
        raw = file.window(entry.offset, entry.size)
        if (got := crc32c(raw)) != entry.checksum:
            raise LoadError(
                f"{where}: checksum (CRC32C): the index expects {entry.checksum:#010x}, got {got:#010x}", _DAMAGED
            )
        return decode(raw, entry.dtype, entry.shape, where, self._header.big_endian)
