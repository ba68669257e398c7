"""Which class a checkpoint is of."""

from __future__ import annotations

import os
from typing import Any

from ..checkpoint import open_pretrained
from ..checkpoint.inference import architecture
from ..errors import LoadError
from .base import BertPreTrainedModel
from .crf import BertCrfForTokenClassification
from .encoder import BertEncoder, BertModel
from .finetuning import (
    BertForMultipleChoice,
    BertForQuestionAnswering,
    BertForSequenceClassification,
    BertForTokenClassification,
)
from .pretraining import BertForMaskedLM, BertForNextSentencePrediction, BertForPreTraining

_CLASSIFIERS = BertForSequenceClassification, BertForTokenClassification, BertForMultipleChoice
_BY_NAME: dict[str, type[BertPreTrainedModel]] = {
    cls.__name__: cls
    for cls in (
        *_CLASSIFIERS,
        BertModel,
        BertForPreTraining,
        BertForMaskedLM,
        BertForNextSentencePrediction,
        BertForQuestionAnswering,
        BertCrfForTokenClassification,
    )
}


def classes(path: str | os.PathLike[str], revision: str | None = None) -> tuple[type[BertPreTrainedModel], ...]:
    """The classes that the tensors of a checkpoint make complete, the likeliest first.

    Tensors tell the class, but for a classifier, whose tensors are the same in three: there the config does, if it
    names one of them. Raises LoadError where nothing is known of BERT.
    """
    source = open_pretrained(path, revision)
    name = architecture(source.sources)
    if name is None:
        raise LoadError(f"{path}: no BERT that is known here")
    cls = _BY_NAME[name]
    if cls in _CLASSIFIERS:
        named = _BY_NAME.get(str((source.config.get("architectures") or [""])[0]), cls)
        return (named,) if named in _CLASSIFIERS and source.config.get("architectures") else _CLASSIFIERS
    if cls is BertForPreTraining:
        return BertForPreTraining, BertForMaskedLM, BertForNextSentencePrediction
    if cls is BertModel and "bert.pooler.dense.weight" not in source.sources:
        return (BertEncoder,)
    return (cls,)


def load(path: str | os.PathLike[str], **options: Any) -> BertPreTrainedModel:
    """The model of a checkpoint, with all heads it has. options are those of `from_pretrained`."""
    return classes(path, options.get("revision"))[0].from_pretrained(path, **options)
