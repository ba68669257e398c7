"""`pipeline`: the task by name, the model from a path."""

from __future__ import annotations

import os
from typing import Any

from ..errors import InputError
from ..locate import embedded
from ..models import auto
from ..models.base import BertPreTrainedModel
from ..models.encoder import BertEncoder
from ..text.tokenizer import BertTokenizer
from .embed import SentenceEncoder
from .feature_extraction import FeatureExtraction
from .fill_mask import FillMask
from .question_answering import QuestionAnswering
from .sentence_similarity import SentenceSimilarity
from .task import Task
from .text_classification import TextClassification
from .token_classification import TokenClassification

__all__ = ["ALIASES", "TASKS", "pipeline"]

TASKS: dict[str, type[Task]] = {
    "fill-mask": FillMask,
    "text-classification": TextClassification,
    "token-classification": TokenClassification,
    "question-answering": QuestionAnswering,
    "feature-extraction": FeatureExtraction,
    "sentence-similarity": SentenceSimilarity,
}
ALIASES = {"sentiment-analysis": "text-classification", "ner": "token-classification"}
_VERBS = {
    "fill-mask": "fill-mask",
    "text-classification": "classify",
    "token-classification": "tag",
    "question-answering": "answer",
    "feature-extraction": "embed",
}
"""Which verb of the command line does the same."""
_OF_ANY = (FeatureExtraction, SentenceSimilarity)  # they need the encoder, which every class has


def pipeline(
    task: str | None = None,
    model: str | os.PathLike[str] | BertPreTrainedModel | SentenceEncoder | None = None,
    *,
    tokenizer: BertTokenizer | str | os.PathLike[str] | None = None,
    revision: str | None = None,
    dtype: Any = "float32",
    engine: str = "auto",
    **options: Any,
) -> Task:
    """A task, ready to be called with one text or many, as Hugging Face's `pipeline` makes it.

        tag = pipeline("token-classification", model="dslim/bert-base-NER", aggregation_strategy="simple")
        tag("Wolfgang lives in Berlin")

    task         a name among TASKS or ALIASES; None: what the model's head is for
    model        a model, or where it is: a folder, a weight file, pkg:NAME/sub/dir, org/name on the hub; None: the
                 small one that comes with minibert, which can fill masks
    tokenizer    by default the one where the model was loaded from
    revision, dtype, engine     of loading, see `from_pretrained`
    options      of the task: see its class

    Raises InputError for an unknown task, and for a model that has no such head, saying which it has.
    """
    cls = None if task is None else TASKS[_name(task)]
    if task is None and model is None:
        raise InputError("pipeline: expected a task, a model or both, got neither", 'pipeline("fill-mask")')
    if model is None:
        model = embedded()
    if isinstance(model, SentenceEncoder) or (cls is SentenceSimilarity and not isinstance(model, BertPreTrainedModel)):
        return _similarity(cls, model, tokenizer, options, revision=revision, dtype=dtype, engine=engine)
    if isinstance(model, BertPreTrainedModel):
        cls = _able(cls, (type(model),), "the model")
        return cls(model, _tokenizer(tokenizer, model.name_or_path, revision), **options)
    classes = auto.classes(model, revision)
    cls = _able(cls, classes, os.fspath(model))
    body = BertEncoder if cls in _OF_ANY else _fitting(classes, cls)[0]
    loaded = body.from_pretrained(model, revision=revision, dtype=dtype, engine=engine)
    return cls(loaded, _tokenizer(tokenizer, model, revision), **options)


def _similarity(cls: type[Task] | None, model: Any, tokenizer: Any, options: Any, **loading: Any) -> SentenceSimilarity:
    if cls not in (None, SentenceSimilarity):
        raise InputError("model: a SentenceEncoder is for sentence-similarity only", "give encoder.model")
    if tokenizer is not None:
        raise InputError("tokenizer: a SentenceEncoder has its own, got another", "SentenceEncoder(model, tokenizer)")
    encoder = model if isinstance(model, SentenceEncoder) else SentenceEncoder.from_pretrained(model, **loading)
    return SentenceSimilarity(encoder, **options)


def _name(task: str) -> str:
    name = ALIASES.get(task, task) if isinstance(task, str) else task
    if name in TASKS:
        return str(name)
    known = ", ".join([*TASKS, *(f"{alias} ({name})" for alias, name in ALIASES.items())])
    raise InputError(f"task: expected one of {known}, got {task!r}", "a model goes by name: pipeline(model=PATH)")


def _able(cls: type[Task] | None, classes: tuple[type[BertPreTrainedModel], ...], where: str) -> type[Task]:
    """The class of a task, or where none is asked for that of what the model's head is for; InputError if it has none.

    classes: what the model is, or may be read as, the likeliest first.
    """
    if cls in _OF_ANY and cls is not None:
        return cls
    own = {name: task for name, task in TASKS.items() if task not in _OF_ANY and _fitting(classes, task)}
    if cls is None and issubclass(classes[0], BertEncoder):
        return FeatureExtraction
    if cls is None and own:
        return min(own.values(), key=lambda task: classes.index(_fitting(classes, task)[0]))
    if cls in own.values() and cls is not None:
        return cls
    able = " or ".join(f"pipeline({name!r}), minibert {_VERBS[name]}" for name in own or ["feature-extraction"])
    kind = " or ".join(each.__name__ for each in classes)
    if cls is None:
        raise InputError(f"{where}: there is no task for a {kind}", f"what it can do: {able}")
    name = next(name for name, task in TASKS.items() if task is cls)
    raise InputError(f"{where}: {name} needs a {cls.needs.__name__}, this is a {kind}", f"what it can do: {able}")


def _fitting(classes: tuple[type[BertPreTrainedModel], ...], task: type[Task]) -> list[type[BertPreTrainedModel]]:
    """Those of the classes that a task can work with, in their order."""
    return [each for each in classes if issubclass(each, task.needs)]


def _tokenizer(tokenizer: Any, place: str | os.PathLike[str] | None, revision: str | None) -> BertTokenizer:
    if isinstance(tokenizer, BertTokenizer):
        return tokenizer
    source = place if tokenizer is None else tokenizer
    if source is None:
        raise InputError("tokenizer: this model was not loaded from anywhere, so it has none", "give tokenizer=…")
    return BertTokenizer.from_pretrained(source, revision=revision)
