"""Sentence vectors, as sentence-transformers computes them: encode, pool over the tokens, normalise."""

from __future__ import annotations

import itertools
import os
import sys
import warnings
from array import array
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import InputError
from ..locate import locate
from ..models.encoder import BertEncoder
from ..ops import mean_pool
from ..ops.xp import Array
from ..text.tokenizer import BertTokenizer
from .batches import batches_of
from .sentence_folder import read_folder, write_folder
from .vocabulary import check_vocabulary


def _each(reduction: np.ufunc, x: Array, cu_seqlens: Array) -> Array:
    """(N, H) -> (B, H): the rows of each sequence in one. A loop, for reduceat along this axis is 20 times slower."""
    y = np.empty((len(cu_seqlens) - 1, x.shape[1]), x.dtype)
    for row, (start, stop) in zip(y, itertools.pairwise(cu_seqlens.tolist()), strict=True):
        reduction.reduce(x[start:stop], axis=0, out=row)
    return y


# Each takes packed hidden states (N, H) and cu_seqlens (B+1,) -> (B, H)
POOLINGS: dict[str, Callable[[Array, Array], Array]] = {
    "cls": lambda x, cu_seqlens: x[cu_seqlens[:-1]],
    "max": lambda x, cu_seqlens: _each(np.maximum, x, cu_seqlens),
    "mean": lambda x, cu_seqlens: mean_pool(x, cu_seqlens)[0],
    "mean_sqrt_len": lambda x, cu_seqlens: _each(np.add, x, cu_seqlens) / np.sqrt(np.diff(cu_seqlens))[:, None],
}


CHUNK = 1024
"""Texts that are tokenized at a time: of all others only the ids are kept, in four bytes each."""


class TruncationWarning(UserWarning):
    """Texts were longer than the model reads, and their ends were left out."""


class SentenceEncoder:
    """Texts -> one vector each.

    model        a BertEncoder or BertModel
    tokenizer    its BertTokenizer
    pooling      one or several of "cls", "max", "mean", "mean_sqrt_len", set side by side
    normalize    divide every vector by its length
    max_length   tokens read of each text, [CLS] and [SEP] included; by default the model's positions, or the
                 tokenizer's model_max_length where that is less
    lower_case   lower-case the texts before the tokenizer sees them, whatever it does itself
    prompt       put before every text
    """

    def __init__(
        self,
        model: BertEncoder,
        tokenizer: BertTokenizer,
        pooling: Sequence[str] = ("mean",),
        normalize: bool = False,
        max_length: int | None = None,
        lower_case: bool = False,
        prompt: str = "",
    ) -> None:
        unknown = [name for name in pooling if name not in POOLINGS]
        if unknown or not pooling:
            raise InputError(f"pooling: expected one or more of {', '.join(POOLINGS)}, got {list(pooling)}")
        check_vocabulary(tokenizer, model.config)
        limit = model.config.max_position_embeddings
        self.model = model
        self.tokenizer = tokenizer
        self.pooling = tuple(pooling)
        self.normalize = normalize
        self.max_length = min(limit, tokenizer.model_max_length) if max_length is None else max_length
        self.lower_case = lower_case
        self.prompt = prompt
        if not isinstance(self.max_length, int) or not 3 <= self.max_length <= limit:
            expected = f"3 to {limit} tokens, the model's positions"
            raise InputError(f"max_length: expected {expected}, got {self.max_length!r}")

    @classmethod
    def from_pretrained(
        cls,
        path: str | os.PathLike[str],
        *,
        revision: str | None = None,
        dtype: Any = "float32",
        engine: str = "auto",
    ) -> SentenceEncoder:
        """A folder as sentence-transformers saves it, or any BERT folder (then: mean pooling, not normalised).

        path may also be pkg:NAME/sub/dir or org/name on the hub, there in a certain revision.

        What its files say about pooling, normalising, length, lower-casing and a prompt is followed; LoadError for what
        is not implemented, such as modules other than Transformer, Pooling and Normalize.
        """
        body, options = read_folder(locate(path, revision, parts=("config", "tokenizer", "sentence", "weights")))
        model = BertEncoder.from_pretrained(body, dtype=dtype, engine=engine)
        return cls(model, BertTokenizer.from_pretrained(body), **options)

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

        batch_size  tokens that the model works on at a time, as a number of texts of max_length; of shorter texts as
                    many more share a batch as that has room for
        normalize   None: as the model was trained
        progress    a bar on stderr; None: only on a terminal and for more than one batch
        Texts of similar length share a batch, which changes no vector beyond rounding. A text of more than max_length
        tokens is cut, and a TruncationWarning says how many were.
        """
        if isinstance(texts, str):
            return self.encode([texts], batch_size, normalize, progress)[0]
        if not isinstance(batch_size, int) or batch_size < 1:
            raise InputError(f"batch_size: expected a positive integer, got {batch_size!r}")
        rows = self.tokenize(texts)
        vectors = np.empty((len(rows), self.dimension), dtype=self.model.dtype)
        batches = list(batches_of([len(row) for row in rows], batch_size * self.max_length))
        for batch in _with_progress(batches, len(rows), progress):
            ids = np.frombuffer(b"".join(rows[i] for i in batch), np.intc)
            lengths = [len(rows[i]) for i in batch]
            states = self.model.packed_hidden_states(ids, lengths, only_first=set(self.pooling) == {"cls"})
            vectors[batch] = np.concatenate([POOLINGS[name](*states) for name in self.pooling], axis=1)
        if self.normalize if normalize is None else normalize:
            vectors = _unit(vectors)
        return vectors

    def similarity(self, a: Array, b: Array) -> Array:
        """Cosine of the angle between every vector of a (n, H) and every one of b (m, H) -> (n, m)."""
        return _unit(a) @ _unit(b).T

    def save_pretrained(self, directory: str | os.PathLike[str]) -> None:
        """Write model, tokenizer and settings as a folder that sentence-transformers and `from_pretrained` read."""
        self.model.save_pretrained(directory)
        self.save_settings(directory)

    def save_settings(self, directory: str | os.PathLike[str]) -> None:
        """Write all but the model into the folder where it is: tokenizer, pooling, normalising, length, prompt."""
        settings = self.pooling, self.normalize, self.max_length, self.lower_case, self.prompt
        write_folder(Path(directory), self.model.config.hidden_size, *settings)
        self.tokenizer.save_pretrained(directory)

    def _prepared(self, texts: Sequence[str]) -> list[str]:
        texts = list(texts)
        for i, text in enumerate(texts):
            if not isinstance(text, str):
                raise InputError(f"texts[{i}]: expected a string, got {type(text).__name__}")
        texts = [self.prompt + text for text in texts]
        return [text.lower() for text in texts] if self.lower_case else texts

    def tokenize(self, texts: Sequence[str]) -> list[array[int]]:
        """The ids of each text, as `encode` reads them. Of the windows that long ones are cut into, the first is read.

        A TruncationWarning says how many were cut.
        """
        texts = self._prepared(texts)
        rows: list[array[int]] = []
        cut = 0
        for start in range(0, len(texts), CHUNK):
            found = self.tokenizer(
                texts[start : start + CHUNK],
                truncation=True,
                max_length=self.max_length,
                return_overflowing_tokens=True,
                return_token_type_ids=False,
                return_attention_mask=False,
            )
            windows: dict[int, list[array[int]]] = {}
            for text, encoding in zip(found["overflow_to_sample_mapping"], found.encodings, strict=True):
                windows.setdefault(text, []).append(encoding.ids)
            rows += [first for first, *_ in windows.values()]
            cut += sum(len(parts) > 1 for parts in windows.values())
        if cut:
            message = f"{cut} of {len(texts)} texts were longer than {self.max_length} tokens; their ends were left out"
            warnings.warn(message, TruncationWarning, stacklevel=3)
        return rows

    def __repr__(self) -> str:
        return (
            f"SentenceEncoder({self.model!r}, pooling {'+'.join(self.pooling)}, "
            f"{'normalised, ' if self.normalize else ''}{self.max_length} tokens)"
        )


def _unit(x: Array) -> Array:
    """Every row divided by its length; a row of zeros stays one."""
    return x / np.maximum(np.linalg.norm(x, axis=-1, keepdims=True), 1e-12)


def _with_progress(batches: list[list[int]], total: int, progress: bool | None) -> Any:
    if progress is None:
        progress = sys.stderr.isatty() and len(batches) > 1
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
