"""Cross-entropy over classes, with class weights and label smoothing where a trainer asks for them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from ..errors import InputError
from ..ops.xp import Array
from .base import BertPreTrainedModel, Labels, Logits
from .batch import Batch, numbers
from .parameters import Scope


class LossOptions(NamedTuple):
    """What `weighted_cross_entropy` is given beside logits and labels."""

    class_weights: tuple[float, ...] | None
    label_smoothing: float


class ClassLoss(BertPreTrainedModel):
    """A model whose loss is the cross-entropy of classes. Plain, unless `set_loss_options` said otherwise."""

    loss_options: LossOptions | None = None

    def set_loss_options(
        self, class_weights: Sequence[float] | Array | None = None, label_smoothing: float = 0.0
    ) -> None:
        """What labels count for from now on, in every call that is given labels.

        class_weights      (C,) numbers of at least 0: how much a label of each class counts; None for all alike
        label_smoothing    from 0 to 1: how much of every label is dealt out to all classes

        The formula is that of PyTorch's cross_entropy (`minibert explain weighted`). Without arguments the loss is the
        plain one again. They belong to a training, not to the model: `save_pretrained` does not store them.
        """
        if class_weights is not None:
            classes = len(self.config.id2label or {})
            weights = numbers("class_weights", class_weights)
            if weights.shape != (classes,):
                raise InputError(f"class_weights: expected shape ({classes},), one a class, got {weights.shape}")
            bad = ~(np.isfinite(weights) & (weights >= 0))
            if bad.any():
                raise InputError(f"class_weights: expected finite numbers of at least 0, got {weights[bad][0]}")
            if not weights.any():
                raise InputError("class_weights: expected one above 0; with zeros alone there is nothing to learn")
            class_weights = tuple(float(weight) for weight in weights)
        smoothing = numbers("label_smoothing", label_smoothing)
        if smoothing.shape != () or not 0 <= smoothing <= 1:
            raise InputError(f"label_smoothing: expected a number from 0 to 1, got {label_smoothing!r}")
        options = LossOptions(class_weights, float(smoothing))
        self.loss_options = None if options == LossOptions(None, 0.0) else options

    def _class_loss(self, logits: Array, labels: Array) -> tuple[Array, tuple[str, Any]]:
        """The loss, and what its backward pass needs: the operator's name and its cache."""
        name, options = ("weighted_cross_entropy", self.loss_options) if self.loss_options else ("cross_entropy", ())
        loss, cache = getattr(self.ops, name)(logits, labels, *options)
        return loss, (name, cache)

    def _loss(self, c: Scope, logits: Logits, labels: Labels, batch: Batch) -> Array:
        loss, c["loss"] = self._class_loss(logits["logits"], labels["labels"])
        return loss

    def _loss_backward(self, c: Scope, dloss: float) -> Logits:
        name, cache = c["loss"]
        return {"logits": getattr(self.ops, f"{name}_backward")(dloss, cache)}
