"""Sentence vectors, as sentence-transformers computes them: encode, pool over the tokens, normalise."""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..errors import InputError
from ..locate import locate
from ..models.encoder import BertEncoder
from ..ops.xp import Array
from ..text.tokenizer import BertTokenizer
from .sentence_folder import read_folder
from .vocabulary import check_vocabulary

# Each takes hidden states (B, T, H), 0 at padding, and mask (B, T, 1) -> (B, H). The sums need no mask because padding
# is 0.
POOLINGS: dict[str, Callable[[Array, Array], Array]] = {
    "cls": lambda x, mask: x[:, 0],
    "max": lambda x, mask: np.where(mask, x, -np.inf).max(axis=1),
    "mean": lambda x, mask: x.sum(axis=1) / mask.sum(axis=1),
    "mean_sqrt_len": lambda x, mask: x.sum(axis=1) / np.sqrt(mask.sum(axis=1)),
}


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

        normalize   None: as the model was trained
        progress    a bar on stderr; None: only on a terminal and for more than two batches
        Texts of similar length share a batch, which changes no vector. A text of more than max_length tokens is cut,
        and a TruncationWarning says how many were.
        """
        if isinstance(texts, str):
            return self.encode([texts], batch_size, normalize, progress)[0]
        if not isinstance(batch_size, int) or batch_size < 1:
            raise InputError(f"batch_size: expected a positive integer, got {batch_size!r}")
        texts = self._prepared(texts)
        vectors = np.empty((len(texts), self.dimension), dtype=self.model.dtype)
        if not texts:
            return vectors
        ids = self._tokenize(texts)
        order = sorted(range(len(ids)), key=lambda i: -len(ids[i]))
        batches = [order[i : i + batch_size] for i in range(0, len(order), batch_size)]
        for batch in _with_progress(batches, len(texts), progress):
            rows = {"input_ids": [ids[i] for i in batch]}
            # on the right, where padding moves no token to another position, whatever the tokenizer would do
            inputs = self.tokenizer.pad(rows, padding_side="right", return_tensors="np")
            hidden = self.model(**inputs).last_hidden_state
            mask = inputs["attention_mask"][:, :, None] == 1
            vectors[batch] = np.concatenate([POOLINGS[name](hidden, mask) for name in self.pooling], axis=1)
        if self.normalize if normalize is None else normalize:
            vectors = _unit(vectors)
        return vectors

    def similarity(self, a: Array, b: Array) -> Array:
        """Cosine of the angle between every vector of a (n, H) and every one of b (m, H) -> (n, m)."""
        return _unit(a) @ _unit(b).T

    def _prepared(self, texts: Sequence[str]) -> list[str]:
        texts = list(texts)
        for i, text in enumerate(texts):
            if not isinstance(text, str):
                raise InputError(f"texts[{i}]: expected a string, got {type(text).__name__}")
        texts = [self.prompt + text for text in texts]
        return [text.lower() for text in texts] if self.lower_case else texts

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


def _unit(x: Array) -> Array:
    """Every row divided by its length; a row of zeros stays one."""
    return x / np.maximum(np.linalg.norm(x, axis=-1, keepdims=True), 1e-12)


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
