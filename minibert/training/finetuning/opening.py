"""The model that a fine-tuning begins with: a checkpoint, with its own head if that is for the same, or a new one."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any, TypeVar

from ...models import auto
from ...models.base import BertPreTrainedModel
from ...models.config import BertConfig
from ...models.finetuning import BertForMultipleChoice, BertForQuestionAnswering, BertForSequenceClassification

__all__ = ["is_for", "open_model", "own_labels"]

Model = TypeVar("Model", bound=BertPreTrainedModel)
PathLike = str | os.PathLike[str]

_UNNAMED = BertForQuestionAnswering, BertForMultipleChoice
"""Classes whose answers have no names."""


def is_for(cls: type[BertPreTrainedModel], path: PathLike, problem_type: str | None = None) -> bool:
    """Whether a checkpoint has the head of a class, and for texts, whether it was for such labels.

    A tagger's head is one with a CRF as well as without: the transitions are then new, or left out.
    """
    if not any(issubclass(cls, kind) or issubclass(kind, cls) for kind in auto.classes(path)):
        return False
    if cls is not BertForSequenceClassification or problem_type is None:
        return True
    config = BertConfig.from_pretrained(path)
    usual = "regression" if config.num_labels == 1 else "single_label_classification"
    return problem_type == (config.problem_type or usual)


def own_labels(cls: type[BertPreTrainedModel], path: PathLike, problem_type: str | None = None) -> tuple[str, ...]:
    """The labels of a checkpoint's head, in their order; () if it has no such head, or one without names."""
    if problem_type == "regression" or cls in _UNNAMED or not is_for(cls, path, problem_type):
        return ()
    return tuple((BertConfig.from_pretrained(path).id2label or {}).values())


def open_model(
    cls: type[Model],
    path: PathLike,
    labels: Sequence[str] = (),
    problem_type: str | None = None,
    *,
    seed: int = 0,
    **overrides: Any,
) -> Model:
    """A checkpoint with a head for these labels: its own, if it has one for them, else a new one, drawn by `seed`.

    labels          names of the classes, the place of each its id; none for regression, questions and choices
    problem_type    of texts, goes into the config
    overrides       of the config, see `from_pretrained`
    """
    given: dict[str, Any] = {"problem_type": problem_type, **overrides}
    if cls is BertForQuestionAnswering:
        given["num_labels"] = 2  # its start and its end, as transformers counts
    elif cls is BertForMultipleChoice or problem_type == "regression":
        given["num_labels"] = 1
    else:
        given["id2label"] = dict(enumerate(labels))
    kept = is_for(cls, path, problem_type) and own_labels(cls, path, problem_type) in ((), tuple(labels))
    return cls.from_pretrained(path, new_head=not kept, seed=seed, **given)
