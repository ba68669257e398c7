"""The two tasks BERT was pre-trained on (Devlin et al. 2019, §3.1), together and one by one."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..errors import InputError
from ..ops.losses import IGNORE_INDEX
from ..ops.xp import Array, host
from .base import BertPreTrainedModel, Labels, Logits
from .batch import Batch, flags, unpack
from .bert import Dropout, linear_spec
from .config import BertConfig
from .heads import (
    NO_DROP,
    masked_lm,
    masked_lm_backward,
    masked_lm_spec,
    pooled_classifier,
    pooled_classifier_backward,
)
from .labels import sequence_labels, token_labels
from .parameters import Keep, Param, Scope

NSP = "cls.seq_relationship"


class MaskedLoss(BertPreTrainedModel):
    """A model with a masked-LM loss: the mean of the labelled tokens' losses, or nearly.

    label_epsilon is added to their number, by which the sum is divided. Google's code adds 1e-5, lest a batch without a
    label has the loss 0/0, which is 0 here in any case. It belongs to a training, not to the model: `save_pretrained`
    does not store it.
    """

    label_epsilon: float = 0.0

    def _masked_loss(self, c: Scope, name: str, logits: Array, labels: Array) -> Array:
        """The logits are those of all rows, or of the labelled ones only."""
        labelled = labels[labels != IGNORE_INDEX]
        loss, c[name] = self.ops.cross_entropy(logits, labels if logits.shape[0] == labels.shape[0] else labelled)
        c[f"{name}.share"] = share = len(labelled) / (len(labelled) + self.label_epsilon) if self.label_epsilon else 1.0
        return loss * share

    def _masked_backward(self, g: Scope, c: Scope, dloss: float, name: str) -> Array:
        return masked_lm_backward(self.ops, g, c, dloss * c[f"{name}.share"], c[name], self.config)


class BertForPreTraining(MaskedLoss):
    """Masked LM and next-sentence prediction.

    labels (B, T), -100 where nothing is asked; next_sentence_label (B,), 0 = B follows A, 1 = random. The loss is the
    sum of the two means and needs both. Results: .prediction_logits (B, T, V), .seq_relationship_logits (B, 2).
    """

    label_names = ("labels", "next_sentence_label")

    @classmethod
    def head_spec(cls, config: BertConfig) -> list[Param]:
        return masked_lm_spec(config) + linear_spec(NSP, 2, config.hidden_size)

    def _check_labels(self, batch: Batch, labels: dict[str, Any]) -> Labels:
        return {
            "labels": token_labels("labels", labels["labels"], batch, self.config.vocab_size),
            "next_sentence_label": sequence_labels("next_sentence_label", labels["next_sentence_label"], batch, 2),
        }

    def _wanted_rows(self, labels: Labels) -> Array | None:
        return np.flatnonzero(labels["labels"] != IGNORE_INDEX)

    def _asked(self, batch: Batch, rows: Array | None) -> Array | None:
        return None if rows is None else np.union1d(rows, batch.first_tokens)

    def _logits(self, p: Scope, c: Scope, x: Array, batch: Batch, drop: Dropout, rows: Array | None = None) -> Logits:
        rows = np.arange(x.shape[0]) if rows is None else batch.places(rows)
        return {
            "prediction_logits": masked_lm(self.ops, p, c, x, rows, self.config),
            "seq_relationship_logits": pooled_classifier(self.ops, p, c, x, batch, NSP, NO_DROP),
        }

    def _loss(self, c: Scope, logits: Logits, labels: Labels, batch: Batch) -> Array:
        masked = self._masked_loss(c, "loss.masked_lm", logits["prediction_logits"], labels["labels"])
        following, c["loss.next_sentence"] = self.ops.cross_entropy(
            logits["seq_relationship_logits"], labels["next_sentence_label"]
        )
        return masked + following

    def _head_backward(self, g: Scope, c: Scope, dloss: float) -> Array:
        dx = self._masked_backward(g, c, dloss, "loss.masked_lm")
        dlogits = self.ops.cross_entropy_backward(dloss, c["loss.next_sentence"])
        return dx + pooled_classifier_backward(self.ops, g, c, dlogits, NSP)

    def _present(self, logits: Logits, batch: Batch) -> dict[str, Array]:
        following = logits["seq_relationship_logits"]
        return {
            "prediction_logits": unpack(logits["prediction_logits"], batch.rows, batch.shape),
            "seq_relationship_logits": unpack(following, batch.sequences, batch.shape[:1]),
        }


class BertForMaskedLM(MaskedLoss):
    """Masked LM alone: labels (B, T), -100 where nothing is asked. Result: .logits (B, T, V)."""

    pooled = False

    @classmethod
    def head_spec(cls, config: BertConfig) -> list[Param]:
        return masked_lm_spec(config)

    def _check_labels(self, batch: Batch, labels: dict[str, Any]) -> Labels:
        return {"labels": token_labels("labels", labels["labels"], batch, self.config.vocab_size)}

    def _wanted_rows(self, labels: Labels) -> Array | None:
        return np.flatnonzero(labels["labels"] != IGNORE_INDEX)

    def _logits(self, p: Scope, c: Scope, x: Array, batch: Batch, drop: Dropout, rows: Array | None = None) -> Logits:
        rows = np.arange(x.shape[0]) if rows is None else batch.places(rows)
        return {"logits": masked_lm(self.ops, p, c, x, rows, self.config)}

    def _loss(self, c: Scope, logits: Logits, labels: Labels, batch: Batch) -> Array:
        return self._masked_loss(c, "loss", logits["logits"], labels["labels"])

    def _head_backward(self, g: Scope, c: Scope, dloss: float) -> Array:
        return self._masked_backward(g, c, dloss, "loss")

    def _present(self, logits: Logits, batch: Batch) -> dict[str, Array]:
        return {"logits": unpack(logits["logits"], batch.rows, batch.shape)}

    def logits_at(self, where: Any, *args: Any, **inputs: Any) -> Array:
        """Logits at the asked places only: the whole vocabulary is a quarter of BERT-base's work at every place.

        where (B, T) true or 1 where logits are wanted; inputs as in the call -> (number of places, V), row-major.
        """
        batch = self.prepare(*args, **inputs).batch
        asked = flags("where", where, batch.shape)
        rows = np.flatnonzero(asked.reshape(-1)[batch.rows])
        if len(rows) != asked.sum():
            raise InputError("where: asks for logits at a place that attention_mask takes out")
        p, c = Scope(self.readable), Scope(Keep())
        batch = self._ask(batch, rows)
        return host(self._logits(p, c, self._infer(p, batch), batch, Dropout(), rows)["logits"])


class BertForNextSentencePrediction(BertPreTrainedModel):
    """Does B follow A? labels (B,), 0 = it follows, 1 = random. Result: .logits (B, 2)."""

    @classmethod
    def head_spec(cls, config: BertConfig) -> list[Param]:
        return linear_spec(NSP, 2, config.hidden_size)

    def _check_labels(self, batch: Batch, labels: dict[str, Any]) -> Labels:
        return {"labels": sequence_labels("labels", labels["labels"], batch, 2)}

    def _asked(self, batch: Batch, rows: Array | None) -> Array | None:
        return batch.first_tokens

    def _logits(self, p: Scope, c: Scope, x: Array, batch: Batch, drop: Dropout, rows: Array | None = None) -> Logits:
        return {"logits": pooled_classifier(self.ops, p, c, x, batch, NSP, NO_DROP)}

    def _logits_backward(self, g: Scope, c: Scope, dlogits: Logits) -> Array:
        return pooled_classifier_backward(self.ops, g, c, dlogits["logits"], NSP)

    def _present(self, logits: Logits, batch: Batch) -> dict[str, Array]:
        return {"logits": unpack(logits["logits"], batch.sequences, batch.shape[:1])}
