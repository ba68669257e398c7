"""Text to token ids and back: BERT's tokenizers, equal to the published ones in ids and offsets.

One text crosses these rooms once: `normalizer` (clean, fold, keep track of every character) → `wordpiece` (words,
pieces) → `encoding` (special tokens, truncation, padding) → `batch` (what the caller gets). `profiles` lists what
distinguishes the published tokenizers, `unicode` what they mean by their classes of characters.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

_HOME = {"AddedToken": "added", "BatchEncoding": "batch", "BertTokenizer": "tokenizer", "PROFILES": "profiles"}

__all__ = ["PROFILES", "AddedToken", "BatchEncoding", "BertTokenizer"]

if TYPE_CHECKING:
    from .added import AddedToken
    from .batch import BatchEncoding
    from .profiles import PROFILES
    from .tokenizer import BertTokenizer


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(importlib.import_module(f".{_HOME[name]}", __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
