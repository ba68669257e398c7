"""Models of pairs of texts: one vector a text, and the cosine of two. What sentence vectors are trained with."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from typing import Any

import numpy as np

from ..errors import InputError
from ..ops.xp import Array, namespace
from .base import BertPreTrainedModel, Labels, Logits, Prepared
from .batch import Batch, as_array, numbers
from .bert import Dropout
from .encoder import BertEncoder
from .finetuning import _merge_choices
from .parameters import Block, Scope

POOLINGS = "mean", "cls"
"""Ways to one vector a text that have a backward pass here."""


class BertForSentencePairs(BertPreTrainedModel):
    """How alike are two texts? Inputs (B, 2, T), labels (B,) scores from -1 to 1. Result: .cosines (B,).

    The vector of a text is the mean of its tokens, or that of its first token after `set_pooling("cls")`. The loss is
    the mean squared error of the cosines against the scores: CosineSimilarityLoss of sentence-transformers.

    There is no head: the parameters are those of an encoder without a pooler. `encoder` gives it, and what is saved is
    one.
    """

    body = ""
    pooled = False
    pooling = "mean"

    def set_pooling(self, pooling: str) -> None:
        """How the vectors of tokens become one: "mean" or "cls", the first token's."""
        if pooling not in POOLINGS:
            raise InputError(f"pooling: expected one of {', '.join(POOLINGS)}, got {pooling!r}")
        self.pooling = pooling

    def encoder(self) -> BertEncoder:
        """The encoder alone, with the very same parameters: what is trained here is trained there."""
        twin = BertEncoder.__new__(BertEncoder)._assemble(self.config, self.engine, self.parameters)
        twin.name_or_path = self.name_or_path
        return twin

    def save_pretrained(self, directory: str | os.PathLike[str]) -> None:
        """Write the encoder. How its vectors are pooled, `SentenceEncoder.save_pretrained` writes beside it."""
        self.encoder().save_pretrained(directory)

    def _pack(self, **inputs: Any) -> Batch:
        name = "input_ids" if inputs["input_ids"] is not None else "inputs_embeds"
        shape = as_array(name, inputs[name]).shape
        if len(shape) != (3 if name == "input_ids" else 4) or shape[1] != 2:
            raise InputError(f"{name}: expected shape (batch, 2, length), two texts each, got {shape}")
        batch = super()._pack(**{k: v if v is None else _merge_choices(k, v, shape) for k, v in inputs.items()})
        if len(batch.sequences) < batch.shape[0]:
            raise InputError("attention_mask: a text has no token at all, so it has no vector")
        return batch._replace(choices=2)

    def _check_labels(self, batch: Batch, labels: dict[str, Any]) -> Labels:
        scores = numbers("labels", labels["labels"])
        if scores.shape != (batch.shape[0] // 2,):
            raise InputError(f"labels: expected shape ({batch.shape[0] // 2},), one score a pair, got {scores.shape}")
        outside = ~(np.abs(scores) <= 1)
        if outside.any():
            raise InputError(
                f"labels: expected scores from -1 to 1, as cosines are, got {scores[outside][0]}",
                "divide them by the highest one there is, as by 5 where people scored from 0 to 5",
            )
        return {"labels": scores.astype(self.dtype)}

    def _asked(self, batch: Batch, rows: Array | None) -> Array | None:
        return batch.first_tokens if self.pooling == "cls" else rows

    def _vectors(self, c: Scope, x: Array, batch: Batch) -> tuple[Array, Array]:
        """(N, H) -> one vector a text: of the first of each pair (B, H), and of the second"""
        if self.pooling == "cls":
            pooled, c["pooling"] = self.ops.gather_rows(x, batch.places(batch.first_tokens))
        else:
            pooled, c["pooling"] = self.ops.mean_pool(x, batch.cu_seqlens)
        return pooled[0::2], pooled[1::2]

    def _vectors_backward(self, c: Scope, da: Array, db: Array) -> Array:
        """-> dx (N, H)"""
        dpooled = namespace(da).stack([da, db], axis=1).reshape(-1, da.shape[-1])
        backward = self.ops.gather_rows_backward if self.pooling == "cls" else self.ops.mean_pool_backward
        return backward(dpooled, c["pooling"])

    def _logits(self, p: Scope, c: Scope, x: Array, batch: Batch, drop: Dropout, rows: Array | None = None) -> Logits:
        cosines, c["cosine"] = self.ops.cosine(*self._vectors(c, x, batch))
        return {"cosines": cosines}

    def _logits_backward(self, g: Scope, c: Scope, dlogits: Logits) -> Array:
        return self._vectors_backward(c, *self.ops.cosine_backward(dlogits["cosines"], c["cosine"]))

    def _loss(self, c: Scope, logits: Logits, labels: Labels, batch: Batch) -> Array:
        loss, c["loss"] = self.ops.mean_squared_error(logits["cosines"], labels["labels"])
        return loss

    def _loss_backward(self, c: Scope, dloss: float) -> Logits:
        return {"cosines": self.ops.mean_squared_error_backward(dloss, c["loss"])}

    def _present(self, logits: Logits, batch: Batch) -> dict[str, Array]:
        return dict(logits)

    def _present_grads(self, grads: Block, dwords: Array, batch: Batch) -> Mapping[str, Array]:
        found = super()._present_grads(grads, dwords, batch)
        if "inputs_embeds" not in found:
            return found
        return {**found, "inputs_embeds": found["inputs_embeds"].reshape(-1, 2, *found["inputs_embeds"].shape[1:])}


class BertForSentenceRanking(BertForSentencePairs):
    """Which text of the batch belongs to which? Inputs (B, 2, T); no labels. Result: .logits (B, B), scaled cosines.

    The second text of a pair is the right answer to the first, and the second ones of all other pairs are wrong ones:
    MultipleNegativesRankingLoss of sentence-transformers. So a larger batch is a harder question, and two pairs of a
    batch should not share a text. The loss is there at every call.
    """

    label_names = ()
    scale = 20.0
    symmetric = False

    def set_ranking(self, scale: float = 20.0, symmetric: bool = False) -> None:
        """scale: what cosines are multiplied by to be logits; symmetric: each second text picks its first one, too,
        and the loss is the mean of the two."""
        number = numbers("scale", scale)
        if number.shape != () or not 0 < number < math.inf:
            raise InputError(f"scale: expected a finite number above 0, got {scale!r}")
        self.scale, self.symmetric = float(number), bool(symmetric)

    def prepare(self, *args: Any, **inputs: Any) -> Prepared:
        """As of every model; the label of a pair is its own number."""
        batch, _ = super().prepare(*args, **inputs)
        return Prepared(batch, {"labels": np.arange(batch.shape[0] // 2)})

    def _logits(self, p: Scope, c: Scope, x: Array, batch: Batch, drop: Dropout, rows: Array | None = None) -> Logits:
        logits, c["cosines"] = self.ops.cosine_matrix(*self._vectors(c, x, batch), self.scale)
        return {"logits": logits}

    def _logits_backward(self, g: Scope, c: Scope, dlogits: Logits) -> Array:
        return self._vectors_backward(c, *self.ops.cosine_matrix_backward(dlogits["logits"], c["cosines"]))

    def _loss(self, c: Scope, logits: Logits, labels: Labels, batch: Batch) -> Array:
        if not self.symmetric:
            return BertPreTrainedModel._loss(self, c, logits, labels, batch)
        rows, c["loss.rows"] = self.ops.cross_entropy(logits["logits"], labels["labels"])
        columns, c["loss.columns"] = self.ops.cross_entropy(logits["logits"].T, labels["labels"])
        both = rows + columns
        return (both / 2).astype(both.dtype)  # NumPy 1 makes float64 of a float32 scalar over 2

    def _loss_backward(self, c: Scope, dloss: float) -> Logits:
        if not self.symmetric:
            return BertPreTrainedModel._loss_backward(self, c, dloss)
        drows = self.ops.cross_entropy_backward(dloss / 2, c["loss.rows"])
        dlogits = drows + self.ops.cross_entropy_backward(dloss / 2, c["loss.columns"]).T
        return {"logits": dlogits}
