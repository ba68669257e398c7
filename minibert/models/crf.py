"""Token classification with a conditional random field on top: the tags of a sentence are chosen together."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..errors import InputError
from ..ops.losses import IGNORE_INDEX
from ..ops.xp import Array, added, host
from .base import Labels, Logits
from .batch import Batch, flags, numbers
from .bert import Dropout
from .config import BertConfig
from .finetuning import BertForTokenClassification
from .parameters import Param, Scope

SCORES = "transitions", "start_transitions", "end_transitions"
"""Parameters of the field by the names of the package pytorch-crf, in the order of the operator's arguments."""


class BertCrfForTokenClassification(BertForTokenClassification):
    """One tag a word, as a path. Result: .logits (B, T, C); .loss, with labels; `decode` gives the best path.

    labels (B, T), -100 where none is asked: at [CLS] and [SEP], and at all pieces of a word but the first. These tokens
    are no part of the chain: a word's tag follows that of the word before, whatever stands between them. The loss is
    the mean of -log p(tags) over the texts that have a label.

    The classifier's weights are those of BertForTokenClassification, so that its checkpoints load; crf.transitions
    (C, C) from row to column, crf.start_transitions and crf.end_transitions (C,) are then new. New ones are 0, with
    which every tag is on its own. Transitions decay as any matrix does.
    """

    @classmethod
    def head_spec(cls, config: BertConfig) -> list[Param]:
        classes = len(config.id2label or {})
        shapes = (classes, classes), (classes,), (classes,)
        crf = [Param(f"crf.{name}", shape, "zeros") for name, shape in zip(SCORES, shapes, strict=True)]
        return super().head_spec(config) + crf

    @classmethod
    def fresh_names(cls, config: BertConfig) -> set[str]:
        return {f"crf.{name}" for name in SCORES}

    def set_loss_options(self, class_weights: Any = None, label_smoothing: float = 0.0) -> None:
        """Refused: the loss is of whole paths, not of single labels."""
        raise InputError("class weights and label smoothing are of cross-entropy; the loss of a CRF has neither")

    def decode(self, logits: Any, word_starts: Any) -> Array:
        """The best path of tags through the tokens that have one.

        logits       (B, T, C) of a call
        word_starts  (B, T) 1 where a word starts, 0 at its other pieces, [CLS], [SEP] and padding: by
                     `labels.word_starts` from the tokenizer's word_ids; where there are labels, labels != -100
        -> (B, T) tags, -100 where word_starts is 0; as labels look. Ties: see `minibert explain crf`.
        """
        scores, starts = self._checked(logits, word_starts)
        tags = np.full(starts.shape, IGNORE_INDEX)
        best, _ = self.ops.crf_decode(*self._chain(scores, starts))
        tags[starts] = host(best)
        return tags

    def marginals(self, logits: Any, word_starts: Any) -> Array:
        """The probability of every tag at every word, over all paths; arguments as of `decode`.

        -> (B, T, C), 0 where word_starts is 0. The best path need not have the likeliest tag at every word.
        """
        scores, starts = self._checked(logits, word_starts)
        probs = np.zeros(scores.shape, self.dtype)
        probs[starts] = host(self.ops.crf_marginals(*self._chain(scores, starts)))
        return probs

    def _checked(self, logits: Any, word_starts: Any) -> tuple[Array, Array]:
        scores = numbers("logits", logits)
        classes = len(self.config.id2label or {})
        if scores.ndim != 3 or scores.shape[2] != classes:
            raise InputError(f"logits: expected shape (batch, length, {classes}), got {scores.shape}")
        return scores, flags("word_starts", word_starts, scores.shape[:2])

    def _chain(self, scores: Array, starts: Array) -> tuple[Array, ...]:
        """The arguments of the operators: emissions of the words, the field's parameters, where sentences begin."""
        own = [self.readable[f"crf.{name}"] for name in SCORES]
        cu_seqlens = np.concatenate([[0], np.cumsum(starts.sum(axis=1))])
        return scores[starts].astype(self.dtype), *own, cu_seqlens

    def _logits(self, p: Scope, c: Scope, x: Array, batch: Batch, drop: Dropout, rows: Array | None = None) -> Logits:
        """The field's parameters go along: the loss is a function of them, too."""
        return {**super()._logits(p, c, x, batch, drop, rows), **{name: p[f"crf.{name}"] for name in SCORES}}

    def _logits_backward(self, g: Scope, c: Scope, dlogits: Logits) -> Array:
        added([g[f"crf.{name}"] for name in SCORES], *(dlogits[name] for name in SCORES))
        return super()._logits_backward(g, c, dlogits)

    def _loss(self, c: Scope, logits: Logits, labels: Labels, batch: Batch) -> Array:
        rows = np.flatnonzero(labels["labels"] != IGNORE_INDEX)
        emissions, c["crf.emissions"] = self.ops.gather_rows(logits["logits"], rows)
        scores, cu_seqlens = (logits[name] for name in SCORES), np.searchsorted(rows, batch.cu_seqlens)
        loss, c["loss"] = self.ops.crf(emissions, *scores, labels["labels"][rows], cu_seqlens)
        return loss

    def _loss_backward(self, c: Scope, dloss: float) -> Logits:
        demissions, *dscores = self.ops.crf_backward(dloss, c["loss"])
        dlogits = self.ops.gather_rows_backward(demissions, c["crf.emissions"])
        return {"logits": dlogits, **dict(zip(SCORES, dscores, strict=True))}
