"""What the symbols of an entry's equations stand for, in a run."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from ..ops.crf import crf_log_partition, crf_marginals
from ..ops.dropout import dropout
from ..ops.xp import Array
from .registry import Entry
from .tracer import arguments

if TYPE_CHECKING:
    from .trace import Trace


class Symbols(Mapping[str, Any]):
    """Symbol -> array or number: tensors and their gradients ("d" + symbol), inputs, constants, dropout's factors.

    Of one sequence where the entry's tensor is of one; the tokens of all sequences where it is of all.
    """

    def __init__(self, trace: Trace, entry: Entry, sequence: int = 0) -> None:
        self._trace, self._names = trace, entry.symbols
        self._sequence = sequence if "T" in entry.axes else None

    def __getitem__(self, symbol: str) -> Any:
        if symbol in self._names:
            return self._of(self._names[symbol], self._trace.parts)
        if symbol[:1] == "d" and symbol[1:] in self._names:
            return self._of(self._names[symbol[1:]], self._trace.gradient_parts)
        raise KeyError(symbol)

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)

    def _of(self, name: str, parts_of: Callable[[Entry], list[Array]]) -> Any:
        entry = self._trace.entries.get(name)
        if entry is None:
            return self._given(name)
        parts, sequence = parts_of(entry), self._sequence
        if len(parts) > 1:  # of all sequences, the tokens one after another: nobody asks for scores or probs of all
            return np.concatenate(parts, axis=1) if sequence is None else parts[sequence]
        if sequence is None or entry.axes[:1] != ("N",):
            return parts[0]
        start, end = self._trace.prepared.batch.cu_seqlens[sequence : sequence + 2]
        return parts[0][start:end]

    def _given(self, name: str) -> Any:
        """What is neither computed nor learned."""
        model, (batch, labels), calls = self._trace.model, self._trace.prepared, self._trace.call
        place, _, part = name.rpartition(".")
        match place, part:
            case "", "H":
                return model.config.hidden_size
            case "", "D":
                return model.config.hidden_size // model.config.num_attention_heads
            case "", "ε":
                return model.config.layer_norm_eps
            case "", "π":
                return np.pi
            case "", "scale":
                return getattr(model, part)
            case "", "texts":
                return np.repeat(np.arange(len(batch.sequences)), np.diff(batch.cu_seqlens))
            case "", "lengths":
                return np.diff(batch.cu_seqlens)
            case "", "K":
                return batch.choices
            case "", "F":
                length = int(np.diff(batch.cu_seqlens)[self._sequence or 0])
                return np.triu(np.full((length, length), -np.inf), 1)
            case "", "rows":
                return calls("cls.predictions.rows").args[1]
            case "", "answer":
                return np.array([labels[end][0] for end in model.label_names])
            case "", "targets":
                return next(iter(labels.values()))
            case "targets", "size":
                return next(iter(labels.values())).size
            case "cotangents", _:
                return labels[part]
            case "loss", "label" | "first" | "last" | "from" | "to" | "S" | "log_partition" | "marginals" | "rows":
                return self._chain(part)
            case _, "labels" | "weights" | "targets":
                return getattr(calls(place).cache, part)
            case _, "mask":
                return self._mask(place)
        return getattr(batch, name)  # input_ids and its like

    def _chain(self, part: str) -> Any:
        """Of the paths of a conditional random field: labels, where sequences begin and end, sums over all paths."""
        if part == "rows":
            return self._trace.call("crf.emissions").args[1]
        emissions, transitions, start, end, labels, cu_seqlens = self._trace.call("loss").args
        borders = np.unique(cu_seqlens)  # of the sequences that have a token
        tokens = np.arange(len(labels))
        match part:
            case "label":
                return labels
            case "first":
                return borders[:-1]
            case "last":
                return borders[1:] - 1
            case "from":
                return np.setdiff1d(tokens, borders[1:] - 1)
            case "to":
                return np.setdiff1d(tokens, borders)
            case "S":
                return len(borders) - 1
            case "log_partition":
                return crf_log_partition(emissions, transitions, start, end, cu_seqlens)
        return crf_marginals(emissions, transitions, start, end, cu_seqlens)

    def _mask(self, name: str) -> Array:
        """What dropout multiplies by, 0 or 1/(1 - rate), in a call of its own or within another operator."""
        own = name in self._trace.number
        call = self._trace.call(name if own else name.removesuffix(".dropout"))
        if call.operator == "attention":
            sequence = self._sequence or 0
            return dropout(np.ones_like(call.inner["probs"][sequence]), *call.cache.drops[sequence])[0]
        given = dict(zip(arguments(call.operator), call.args, strict=False))
        rate, key = (given["rate"], given["key"]) if own else (given["dropout_rate"], given["dropout_key"])
        return dropout(np.ones_like(call.y), rate, key)[0]
