"""The heads that BERT is fine-tuned with (Devlin et al. 2019, §4 and Figure 4)."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from ..errors import InputError
from ..ops.xp import Array, namespace
from .base import BertPreTrainedModel, Labels, Logits
from .batch import Batch, as_array, numbers, unpack
from .bert import Dropout, linear_spec
from .class_loss import ClassLoss
from .config import BertConfig
from .heads import (
    NO_DROP,
    classifier,
    classifier_backward,
    classifier_drop,
    pooled_classifier,
    pooled_classifier_backward,
)
from .labels import position_labels, sequence_labels, token_labels
from .parameters import Param, Scope


class BertForSequenceClassification(ClassLoss):
    """One answer a text or pair: logits = W drop(pooled) + b. Result: .logits (B, C).

    config.problem_type says which loss; where it is null the labels do, afresh at every call:
        regression                      mean squared error; labels (B,) or (B, C) numbers; the rule when C = 1
        single_label_classification     cross-entropy; labels (B,) integers; see `set_loss_options`
        multi_label_classification      binary cross-entropy; labels (B, C) numbers from 0 to 1
    """

    LOSSES: ClassVar = {
        "regression": "mean_squared_error",
        "single_label_classification": "cross_entropy",
        "multi_label_classification": "binary_cross_entropy",
    }

    @classmethod
    def head_spec(cls, config: BertConfig) -> list[Param]:
        return linear_spec("classifier", _classes(config), config.hidden_size)

    def _check_labels(self, batch: Batch, labels: dict[str, Any]) -> Labels:
        classes = _classes(self.config)
        values = as_array("labels", labels["labels"])
        problem = self.config.problem_type
        if problem is None:
            several = "single_label" if values.dtype.kind in "iu" else "multi_label"
            problem = "regression" if classes == 1 else f"{several}_classification"
        if problem == "single_label_classification":
            return {problem: sequence_labels("labels", values, batch, classes)}
        if self.loss_options:
            raise InputError(f"labels: class weights and label smoothing are for single labels, got {problem}")
        if not np.isfinite(numbers("labels", values)).all():
            raise InputError(f"labels: expected finite numbers for {problem}, got {values[~np.isfinite(values)][0]}")
        if values.shape == (batch.shape[0],) and classes == 1:
            values = values[:, None]
        if values.shape != (batch.shape[0], classes):
            raise InputError(f"labels: expected shape ({batch.shape[0]}, {classes}) for {problem}, got {values.shape}")
        outside = (values < 0) | (values > 1)
        if problem == "multi_label_classification" and outside.any():
            raise InputError(f"labels: expected numbers from 0 to 1 for {problem}, got {values[outside][0]}")
        return {problem: values[batch.sequences].astype(self.dtype)}

    def _asked(self, batch: Batch, rows: Array | None) -> Array | None:
        return batch.first_tokens

    def _logits(self, p: Scope, c: Scope, x: Array, batch: Batch, drop: Dropout, rows: Array | None = None) -> Logits:
        rate_and_key = classifier_drop(self.config, drop)
        return {"logits": pooled_classifier(self.ops, p, c, x, batch, "classifier", rate_and_key)}

    def _logits_backward(self, g: Scope, c: Scope, dlogits: Logits) -> Array:
        return pooled_classifier_backward(self.ops, g, c, dlogits["logits"], "classifier")

    def _loss(self, c: Scope, logits: Logits, labels: Labels, batch: Batch) -> Array:
        ((problem, targets),) = labels.items()
        if problem == "single_label_classification":
            return super()._loss(c, logits, {"labels": targets}, batch)
        loss, cache = getattr(self.ops, self.LOSSES[problem])(logits["logits"], targets)
        c["loss"] = self.LOSSES[problem], cache
        return loss

    def _present(self, logits: Logits, batch: Batch) -> dict[str, Array]:
        return {"logits": unpack(logits["logits"], batch.sequences, batch.shape[:1])}


class BertForMultipleChoice(BertPreTrainedModel):
    """Which of K endings? Inputs (B, K, T), one row a (question, ending) pair; labels (B,). Result: .logits (B, K)."""

    @classmethod
    def head_spec(cls, config: BertConfig) -> list[Param]:
        return linear_spec("classifier", 1, config.hidden_size)

    def _pack(self, **inputs: Any) -> Batch:
        name = "input_ids" if inputs["input_ids"] is not None else "inputs_embeds"
        shape = as_array(name, inputs[name]).shape
        if len(shape) != (3 if name == "input_ids" else 4) or not shape[1]:
            raise InputError(f"{name}: expected shape (batch, choices, length) with choices, got {shape}")
        batch = super()._pack(**{k: v if v is None else _merge_choices(k, v, shape) for k, v in inputs.items()})
        if len(batch.sequences) < batch.shape[0]:
            raise InputError("attention_mask: a choice has no token at all, so it cannot be chosen")
        return batch._replace(choices=shape[1])

    def _check_labels(self, batch: Batch, labels: dict[str, Any]) -> Labels:
        count = batch.shape[0] // batch.choices
        questions = batch._replace(sequences=np.arange(count), shape=(count, batch.shape[1]))
        return {"labels": sequence_labels("labels", labels["labels"], questions, batch.choices)}

    def _asked(self, batch: Batch, rows: Array | None) -> Array | None:
        return batch.first_tokens

    def _logits(self, p: Scope, c: Scope, x: Array, batch: Batch, drop: Dropout, rows: Array | None = None) -> Logits:
        rate_and_key = classifier_drop(self.config, drop)
        scores = pooled_classifier(self.ops, p, c, x, batch, "classifier", rate_and_key)
        return {"logits": scores.reshape(-1, batch.choices)}

    def _logits_backward(self, g: Scope, c: Scope, dlogits: Logits) -> Array:
        return pooled_classifier_backward(self.ops, g, c, dlogits["logits"].reshape(-1, 1), "classifier")

    def _present(self, logits: Logits, batch: Batch) -> dict[str, Array]:
        return dict(logits)


class BertForTokenClassification(ClassLoss):
    """One tag a token: labels (B, T), -100 where none is asked. Result: .logits (B, T, C). See `set_loss_options`."""

    pooled = False

    @classmethod
    def head_spec(cls, config: BertConfig) -> list[Param]:
        return linear_spec("classifier", _classes(config), config.hidden_size)

    def _check_labels(self, batch: Batch, labels: dict[str, Any]) -> Labels:
        return {"labels": token_labels("labels", labels["labels"], batch, _classes(self.config))}

    def _logits(self, p: Scope, c: Scope, x: Array, batch: Batch, drop: Dropout, rows: Array | None = None) -> Logits:
        return {"logits": classifier(self.ops, p, c, x, "classifier", classifier_drop(self.config, drop))}

    def _logits_backward(self, g: Scope, c: Scope, dlogits: Logits) -> Array:
        return classifier_backward(self.ops, g, c, dlogits["logits"], "classifier")

    def _present(self, logits: Logits, batch: Batch) -> dict[str, Array]:
        return {"logits": unpack(logits["logits"], batch.rows, batch.shape)}


class BertForQuestionAnswering(BertPreTrainedModel):
    """Where does the answer start and end? start_positions and end_positions (B,), places in the (B, T) input.

    Results: .start_logits and .end_logits (B, T). The loss is the mean of the two cross-entropies. Its softmax runs
    over the real tokens; Hugging Face's runs over padding too, so its loss depends on what a row was padded to. A
    position of T or more (the answer was truncated away) counts as not labelled, and so does -100, which Hugging Face
    takes for place 0.
    """

    pooled = False
    label_names = ("start_positions", "end_positions")

    @classmethod
    def head_spec(cls, config: BertConfig) -> list[Param]:
        return linear_spec("qa_outputs", 2, config.hidden_size)

    def _check_labels(self, batch: Batch, labels: dict[str, Any]) -> Labels:
        return {name: position_labels(name, labels[name], batch) for name in self.label_names}

    def _logits(self, p: Scope, c: Scope, x: Array, batch: Batch, drop: Dropout, rows: Array | None = None) -> Logits:
        return {"logits": classifier(self.ops, p, c, x, "qa_outputs", NO_DROP)}

    def _logits_backward(self, g: Scope, c: Scope, dlogits: Logits) -> Array:
        return classifier_backward(self.ops, g, c, dlogits["logits"], "qa_outputs")

    def _loss(self, c: Scope, logits: Logits, labels: Labels, batch: Batch) -> Array:
        start, end = logits["logits"].T
        first, c["loss.start"] = self.ops.span_cross_entropy(start, labels["start_positions"], batch.cu_seqlens)
        last, c["loss.end"] = self.ops.span_cross_entropy(end, labels["end_positions"], batch.cu_seqlens)
        both = first + last
        return (both / 2).astype(both.dtype)  # NumPy 1 makes float64 of a float32 scalar over 2

    def _loss_backward(self, c: Scope, dloss: float) -> Logits:
        dstart = self.ops.span_cross_entropy_backward(dloss / 2, c["loss.start"])
        dend = self.ops.span_cross_entropy_backward(dloss / 2, c["loss.end"])
        return {"logits": namespace(dstart).stack([dstart, dend], axis=1)}

    def _present(self, logits: Logits, batch: Batch) -> dict[str, Array]:
        full = unpack(logits["logits"], batch.rows, batch.shape)
        return {"start_logits": full[..., 0], "end_logits": full[..., 1]}


def _classes(config: BertConfig) -> int:
    return len(config.id2label or {})


def _merge_choices(name: str, values: Any, shape: tuple[int, ...]) -> Array:
    array = as_array(name, values)
    if array.shape[:3] != shape[:3]:
        raise InputError(f"{name}: expected shape {shape[:3]} as the input, got {array.shape}")
    return array.reshape(shape[0] * shape[1], *array.shape[2:])
