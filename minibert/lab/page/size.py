"""How large a page is at least, by the shapes of its tensors: what cannot fit is refused before it is computed."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from ...errors import InputError
from ...models.base import BertPreTrainedModel, Prepared
from ...models.batch import Batch
from ..registry import Entry, registry
from .blocks import TOP_LOGITS, WHOLE, layer_of, too_large

TEXT, MOST_TEXT = 3500, 5000
"""Characters that a tensor takes without its numbers: at least, and in a large model at most."""


def check_size(model: BertPreTrainedModel, batch: Batch, max_mb: float, dropout: bool = False) -> None:
    """PageTooLarge if a page of a trace of the model on the batch takes more than max_mb megabytes in any case."""
    if not 0 < max_mb < math.inf:
        raise InputError(f"max_mb: expected a positive number of megabytes, got {max_mb}")
    labels = dict.fromkeys(list(getattr(model, "LOSSES", ()))[:1])  # a kind of loss, whichever: they are of one size
    entries = registry(model, Prepared(batch, labels), dropout)
    numbers, text = least(entries, model.config, batch), TEXT * len(entries)
    if numbers + text > max_mb * 1e6:
        raise too_large(len(batch.rows), numbers, text, max_mb * 1e6, MOST_TEXT * len(entries))


def least(entries: Mapping[str, Entry], config: Any, batch: Batch) -> int:
    """Characters of the numbers that are stored when all is left out that can be."""
    ends = {0, config.num_hidden_layers - 1, None}
    return sum(
        60 + math.ceil(4 * n / 3) * 4
        for entry in entries.values()
        if layer_of(entry.name) in ends or entry.is_parameter
        if (n := numbers(entry, config, batch))
    )


def numbers(entry: Entry, config: Any, batch: Batch) -> int:
    """Of a tensor's value and gradient: 0 of a weight matrix, of large tables and logits what the text asks for."""
    seen = {
        "V": len(set(batch.input_ids.tolist())) if batch.input_ids is not None else 0,
        "P": len(set(batch.position_ids.tolist())),
        "S": len(set(batch.token_type_ids.tolist())),
    }
    heads = config.num_attention_heads
    sizes = {
        "N": len(batch.rows), "A": heads, "D": config.hidden_size // heads, "H": config.hidden_size, "M": 1,
        "I": config.intermediate_size, "V": config.vocab_size, "P": config.max_position_embeddings,
        "S": config.type_vocab_size, "C": 1, "B": 1, "Q": 1, "Q′": 1,
    }  # fmt: skip
    first = entry.axes[:1]
    if entry.is_parameter and len(entry.axes) == 2 and first[0] not in seen:
        return 0
    lengths = batch.cu_seqlens[1:] - batch.cu_seqlens[:-1] if "T" in entry.axes else [0]
    number = sum(math.prod(int(t) if axis[0] == "T" else sizes[axis] for axis in entry.axes) for t in lengths)
    if len(entry.axes) == 2 and number > WHOLE:
        if entry.is_parameter:
            number = seen[first[0]] * sizes[entry.axes[1]]
        elif entry.axes[1] == "V":
            number = min(config.vocab_size, TOP_LOGITS)
    return number if entry.is_parameter and len(entry.axes) == 2 else 2 * number
