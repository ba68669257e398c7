"""BERT in NumPy: every forward and backward line written by hand, every gradient proved to machine precision.

    import minibert as mb

    tok = mb.BertTokenizer.from_pretrained(path)
    model = mb.BertModel.from_pretrained(path)
    out = model(**tok("Hello, my dog is cute", return_tensors="np"))
    out.last_hidden_state                                   # (1, 8, 768)

Names are loaded when they are first used, so that `import minibert` costs nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

_HOME = {
    "BertConfig": "models.config",
    "BertModel": "models.encoder",
    "BertForPreTraining": "models.pretraining",
    "BertForMaskedLM": "models.pretraining",
    "BertForNextSentencePrediction": "models.pretraining",
    "BertForSequenceClassification": "models.finetuning",
    "BertForMultipleChoice": "models.finetuning",
    "BertForTokenClassification": "models.finetuning",
    "BertCrfForTokenClassification": "models.crf",
    "BertForQuestionAnswering": "models.finetuning",
    "BertForSentencePairs": "models.sentences",
    "BertForSentenceRanking": "models.sentences",
    "BertTokenizer": "text.tokenizer",
    "SentenceEncoder": "tasks.embed",
    "fill_mask": "tasks.fill_mask",
    "load_trace": "lab.tensors",
    "pipeline": "tasks.pipeline",
    "MinibertError": "errors",
    "ConfigError": "errors",
    "InputError": "errors",
    "InputTooLong": "errors",
    "LoadError": "errors",
    "NotFound": "errors",
}
_MODULES = ("gradcheck", "ops")

__all__ = [
    "BertConfig",
    "BertCrfForTokenClassification",
    "BertForMaskedLM",
    "BertForMultipleChoice",
    "BertForNextSentencePrediction",
    "BertForPreTraining",
    "BertForQuestionAnswering",
    "BertForSentencePairs",
    "BertForSentenceRanking",
    "BertForSequenceClassification",
    "BertForTokenClassification",
    "BertModel",
    "BertTokenizer",
    "ConfigError",
    "InputError",
    "InputTooLong",
    "LoadError",
    "MinibertError",
    "NotFound",
    "SentenceEncoder",
    "fill_mask",
    "gradcheck",
    "load_trace",
    "ops",
    "pipeline",
]

if TYPE_CHECKING:
    from . import gradcheck, ops
    from .errors import ConfigError, InputError, InputTooLong, LoadError, MinibertError, NotFound
    from .lab.tensors import load_trace
    from .models.config import BertConfig
    from .models.crf import BertCrfForTokenClassification
    from .models.encoder import BertModel
    from .models.finetuning import (
        BertForMultipleChoice,
        BertForQuestionAnswering,
        BertForSequenceClassification,
        BertForTokenClassification,
    )
    from .models.pretraining import BertForMaskedLM, BertForNextSentencePrediction, BertForPreTraining
    from .models.sentences import BertForSentencePairs, BertForSentenceRanking
    from .tasks.embed import SentenceEncoder
    from .tasks.fill_mask import fill_mask
    from .tasks.pipeline import pipeline
    from .text.tokenizer import BertTokenizer


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(importlib.import_module(f".{_HOME[name]}", __name__), name)
    if name in _MODULES:
        return importlib.import_module(f".{name}", __name__)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return [*globals(), *__all__]
