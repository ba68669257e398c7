"""The settings in which mutants show: models that run the operators, since what is not run cannot be wrong; and the
bench on which a model and its gradients lie while they are checked."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

from ... import ops
from ...models.base import BertPreTrainedModel, Prepared
from ...models.crf import BertCrfForTokenClassification
from ...models.finetuning import BertForQuestionAnswering, BertForSequenceClassification
from ...models.parameters import Block, Keep
from ...models.pretraining import BertForPreTraining
from ...models.sentences import BertForSentencePairs, BertForSentenceRanking
from ...ops.losses import IGNORE_INDEX
from ...ops.xp import Array
from ..check import TINY, directions, gradients, scale_weights, specimen


class Setting(NamedTuple):
    """A model's class, what is special about its config, and the seed of its dropout, if that is on.

    labels     packed labels, where they are not those of the specimen
    padding    the specimen's repeated token is the padding token, and attended to
    adjust     what else is set on the model
    smooth     the loss has derivatives everywhere; at kinks differences see others than backward does
    """

    cls: type[BertPreTrainedModel] = BertForPreTraining
    config: tuple[tuple[str, Any], ...] = ()
    layers: int = 2
    dropout_seed: int | None = None
    labels: tuple[tuple[str, Any], ...] = ()
    padding: bool = False
    smooth: bool = True
    adjust: Callable[[Any], object] = lambda model: None

    def build(self, std: float, seed: int = 0) -> tuple[BertPreTrainedModel, Prepared]:
        """The model, its weights drawn at that scale, with the reference operators; and its batch."""
        config = dataclasses.replace(TINY, num_hidden_layers=self.layers, **dict(self.config))
        model = self.cls(config, dtype="float64")
        model.ops = ops
        scale_weights(model, std, seed)
        self.adjust(model)
        if isinstance(model, BertForSentencePairs):
            return model, specimen(model, seed)
        batch, labels = specimen(BertForPreTraining(config, dtype="float64"), seed)
        if self.padding:
            ids: Array = batch.input_ids
            batch = batch._replace(input_ids=np.where(ids == ids[1], config.pad_token_id, ids))
        return model, Prepared(batch, {name: np.array(values) for name, values in self.labels} or labels)


_START, _END = (1, 0, 3), (4, 2, IGNORE_INDEX)
_SEVERAL = (1.0, 0.0, 1.0), (0.0, 0.0, 1.0), (1.0, 1.0, 0.0)
_NUMBERS = (0.3, -1.2, 0.8), (2.0, 0.1, -0.4), (-0.7, 1.5, 0.6)
_TAGS = (
    *(IGNORE_INDEX, 0, 1, 1, 2, IGNORE_INDEX, 0, IGNORE_INDEX, 1, 0, 2, IGNORE_INDEX),
    *(IGNORE_INDEX, 1, IGNORE_INDEX, 2, 1, IGNORE_INDEX),
    *(IGNORE_INDEX, 2, 2, IGNORE_INDEX, 0, 1, 1, 2, IGNORE_INDEX, IGNORE_INDEX),
)
"""Of the three texts of the specimen, which have 12, 6 and 10 tokens. 0 is followed by 1 more often than 1 by 0."""
_THREE = (("num_labels", 3),)

SETTINGS: Mapping[str, Setting] = {
    "pre-training": Setting(layers=4),  # in which `call` counts
    "dropout": Setting(dropout_seed=7),
    "causal": Setting(config=(("is_decoder", True),)),
    "gelu_new": Setting(config=(("hidden_act", "gelu_new"),)),
    "relu": Setting(config=(("hidden_act", "relu"),), smooth=False),
    "silu": Setting(config=(("hidden_act", "silu"),)),
    "eps 1e-5": Setting(config=(("layer_norm_eps", 1e-5),)),
    "attended padding": Setting(padding=True),
    "question answering": Setting(
        BertForQuestionAnswering, labels=(("start_positions", _START), ("end_positions", _END))
    ),
    "tags on a path": Setting(BertCrfForTokenClassification, config=_THREE, labels=(("labels", _TAGS),)),
    "multi-label": Setting(
        BertForSequenceClassification, config=_THREE, labels=(("multi_label_classification", _SEVERAL),)
    ),
    "regression": Setting(BertForSequenceClassification, config=_THREE, labels=(("regression", _NUMBERS),)),
    "pairs": Setting(BertForSentencePairs),
    # with 20, its own scale, terms of the third order show at the first steps of Taylor's check
    "ranking": Setting(BertForSentenceRanking, adjust=lambda model: model.set_ranking(scale=5.0)),
}


class Bench:
    """A setting at one weight scale: its gradients by any engine, its losses, and what the checks made of them."""

    def __init__(self, setting: Setting, std: float, seed: int = 0) -> None:
        self.setting, self.seed = setting, seed
        self.model, self.prepared = setting.build(std, seed)
        self._found: dict[str, Any] = {}

    def once(self, name: str, compute: Callable[[Bench], Any]) -> Any:
        """What that function makes of the bench, computed when it is first asked for."""
        if name not in self._found:
            self._found[name] = compute(self)
        return self._found[name]

    def gradients(self, engine: Any = ops) -> dict[str, Array]:
        """By that engine, forward and backward."""
        self.model.ops = engine
        found = gradients(self.model, self.prepared, dropout_seed=self.setting.dropout_seed)
        self.model.ops = ops
        return found

    def loss(self, block: Block) -> float:
        """At those parameters."""
        return float(self.model.loss_at(block, self.prepared, Keep(), self.setting.dropout_seed)[0])

    def loss_of(self, name: str) -> Callable[[Array], float]:
        """The loss as a function of one tensor."""
        block = self.model.parameters.astype(np.float64)

        def along(x: Array) -> float:
            before = block[name].copy()
            block[name][...] = x
            loss = self.loss(block)
            block[name][...] = before
            return loss

        return along

    def moved(self, v: Block, h: float) -> float:
        """The loss at h times the direction v from the parameters, all of them together."""
        p = self.model.parameters
        return self.loss(Block(p.spec, p.flat.dtype, p.flat + h * v.flat))

    def random(self) -> np.random.Generator:
        """For directions, as those of `lab.check`."""
        return directions(self.seed)

    def direction(self) -> Block:
        """N(0, I) over all parameters."""
        v = self.model.parameters.like()
        v.flat[...] = self.random().standard_normal(v.flat.shape)
        return v
