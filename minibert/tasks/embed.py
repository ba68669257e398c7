"""Sentence vectors, as sentence-transformers computes them: encode, pool over the tokens, normalise."""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import InputError, LoadError
from ..formats.jsonfile import read_json, read_json_list
from ..locate import locate
from ..models.encoder import BertEncoder
from ..ops.xp import Array
from ..text.tokenizer import BertTokenizer

# Each takes hidden states (B, T, H), 0 at padding, and mask (B, T, 1) -> (B, H). Several are set side by side, in this
# order. The sums need no mask because padding is 0.
POOLINGS: dict[str, Callable[[Array, Array], Array]] = {
    "cls": lambda x, mask: x[:, 0],
    "max": lambda x, mask: np.where(mask, x, -np.inf).max(axis=1),
    "mean": lambda x, mask: x.sum(axis=1) / mask.sum(axis=1),
    "mean_sqrt_len": lambda x, mask: x.sum(axis=1) / np.sqrt(mask.sum(axis=1)),
}
_POOLING_KEYS = {
    "pooling_mode_cls_token": "cls",
    "pooling_mode_max_tokens": "max",
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_mean_sqrt_len_tokens": "mean_sqrt_len",
}


class TruncationWarning(UserWarning):
    """Texts were longer than the model reads, and their ends were left out."""


class SentenceEncoder:
    """Texts -> one vector each.

    model        a BertEncoder or BertModel
    tokenizer    its BertTokenizer
    pooling      one or several of "cls", "max", "mean", "mean_sqrt_len"
    normalize    divide every vector by its length
    max_length   tokens read of each text, [CLS] and [SEP] included; the model's positions by default
    """

    def __init__(
        self,
        model: BertEncoder,
        tokenizer: BertTokenizer,
        pooling: Sequence[str] = ("mean",),
        normalize: bool = False,
        max_length: int | None = None,
    ) -> None:
        unknown = [name for name in pooling if name not in POOLINGS]
        if unknown or not pooling:
            raise InputError(f"pooling: expected one or more of {', '.join(POOLINGS)}, got {list(pooling)}")
        limit = model.config.max_position_embeddings
        self.model = model
        self.tokenizer = tokenizer
        self.pooling = tuple(pooling)
        self.normalize = normalize
        self.max_length = limit if max_length is None else max_length
        if not 3 <= self.max_length <= limit:
            raise InputError(f"max_length: expected 3 to {limit} tokens, the model's positions, got {max_length}")

    @classmethod
    def from_pretrained(
        cls, path: str | os.PathLike[str], *, dtype: Any = "float32", engine: str = "auto"
    ) -> SentenceEncoder:
        """A folder as sentence-transformers saves it, or any BERT folder (then: mean pooling, not normalised).

        modules.json says what follows the encoder; 1_Pooling/config.json how to pool; sentence_bert_config.json how
        many tokens to read. Modules other than Transformer, Pooling and Normalize are refused with LoadError.
        """
        folder = locate(path)
        modules = _modules(folder)
        body = folder / modules.get("Transformer", "")
        limits = read_json(body / "sentence_bert_config.json") if (body / "sentence_bert_config.json").is_file() else {}
        return cls(
            BertEncoder.from_pretrained(body, dtype=dtype, engine=engine),
            BertTokenizer.from_pretrained(body),
            pooling=_pooling(folder / modules["Pooling"]) if "Pooling" in modules else ("mean",),
            normalize="Normalize" in modules,
            max_length=limits.get("max_seq_length"),
        )

    @property
    def dimension(self) -> int:
        """Length of a vector."""
        return self.model.config.hidden_size * len(self.pooling)

    def encode(
        self,
        texts: str | Sequence[str],
        batch_size: int = 32,
        normalize: bool | None = None,
        progress: bool | None = None,
    ) -> Array:
        """Vectors of the texts, in their order: (n, H) in the model's dtype; (H,) for a single string.

        normalize   None: as the model was trained
        progress    a bar on stderr; None: only on a terminal and for more than two batches
        Texts of similar length share a batch, which changes no vector. A text of more than max_length tokens is cut,
        and a TruncationWarning says how many were.
        """
        if isinstance(texts, str):
            return self.encode([texts], batch_size, normalize, progress)[0]
        if not isinstance(batch_size, int) or batch_size < 1:
            raise InputError(f"batch_size: expected a positive integer, got {batch_size!r}")
        texts = list(texts)
        vectors = np.empty((len(texts), self.dimension), dtype=self.model.dtype)
        if not texts:
            return vectors
        ids = self._tokenize(texts)
        order = sorted(range(len(ids)), key=lambda i: -len(ids[i]))
        batches = [order[i : i + batch_size] for i in range(0, len(order), batch_size)]
        for batch in _with_progress(batches, len(texts), progress):
            inputs = self.tokenizer.pad({"input_ids": [ids[i] for i in batch]}, return_tensors="np")
            hidden = self.model(**inputs).last_hidden_state
            mask = inputs["attention_mask"][:, :, None] == 1
            vectors[batch] = np.concatenate([POOLINGS[name](hidden, mask) for name in self.pooling], axis=1)
        if self.normalize if normalize is None else normalize:
            vectors /= np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
        return vectors

    def similarity(self, a: Array, b: Array) -> Array:
        """Cosine of the angle between every vector of a (n, H) and every one of b (m, H) -> (n, m)."""
        a, b = (x / np.maximum(np.linalg.norm(x, axis=-1, keepdims=True), 1e-12) for x in (a, b))
        return a @ b.T

    def _tokenize(self, texts: list[str]) -> list[list[int]]:
        ids: list[list[int]] = self.tokenizer(texts, truncation=True, max_length=self.max_length)["input_ids"]
        full = [i for i, row in enumerate(ids) if len(row) == self.max_length]
        cut = sum(len(self.tokenizer.encode(texts[i])) > self.max_length for i in full)
        if cut:
            message = f"{cut} of {len(texts)} texts were longer than {self.max_length} tokens; their ends were left out"
            warnings.warn(message, TruncationWarning, stacklevel=3)
        return ids

    def __repr__(self) -> str:
        return (
            f"SentenceEncoder({self.model!r}, pooling {'+'.join(self.pooling)}, "
            f"{'normalised, ' if self.normalize else ''}{self.max_length} tokens)"
        )


def _modules(folder: Path) -> dict[str, str]:
    """Kind -> sub-folder, from modules.json; empty for a folder that sentence-transformers did not write."""
    path = folder / "modules.json"
    if not path.is_file():
        return {}
    modules: dict[str, str] = {}
    for entry in read_json_list(path):
        if not isinstance(entry, dict) or not {"type", "path"} <= set(entry):
            raise LoadError(f'{path}: expected entries with "type" and "path", got {entry!r}')
        kind, place = str(entry["type"]).rpartition(".")[2], entry["path"]
        if kind not in ("Transformer", "Pooling", "Normalize"):
            raise LoadError(
                f"{path}: module {entry['type']} is not implemented; there are Transformer, Pooling, Normalize"
            )
        if not isinstance(place, str) or Path(place).name != place or place == "..":
            raise LoadError(f"{path}: expected the name of a sub-folder as path of {kind}, got {place!r}")
        modules[kind] = place
    return modules


def _pooling(folder: Path) -> list[str]:
    config = read_json(folder / "config.json")
    on = [key for key, value in config.items() if key.startswith("pooling_mode_") and value]
    unknown = [key for key in on if key not in _POOLING_KEYS]
    if unknown:
        raise LoadError(f"{folder / 'config.json'}: {', '.join(unknown)} is not implemented")
    if not on:
        raise LoadError(f"{folder / 'config.json'}: expected one of {', '.join(_POOLING_KEYS)} to be true, got none")
    return [name for key, name in _POOLING_KEYS.items() if key in on]


def _with_progress(batches: list[list[int]], total: int, progress: bool | None) -> Any:
    if progress is None:
        progress = sys.stderr.isatty() and len(batches) > 2
    if not progress:
        return batches
    from rich.console import Console
    from rich.progress import Progress

    def counted() -> Any:
        with Progress(console=Console(stderr=True), transient=True) as bar:
            task = bar.add_task("texts", total=total)
            for batch in batches:
                yield batch
                bar.advance(task, len(batch))

    return counted()
