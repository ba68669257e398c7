"""Labelled examples of a task, from the files that the arguments name."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from typing import Any, NamedTuple

from ..errors import LoadError, NotFound
from ..formats.files import quote
from ..models.base import BertPreTrainedModel
from ..models.config import BertConfig
from ..models.crf import BertCrfForTokenClassification
from ..models.finetuning import (
    BertForMultipleChoice,
    BertForQuestionAnswering,
    BertForSequenceClassification,
    BertForTokenClassification,
)
from ..text.tokenizer import BertTokenizer
from ..training.finetuning import Choices, Examples, Questions, Sentences, Texts
from ..training.readers import (
    QuestionExample,
    TextExample,
    column_names,
    read_choices,
    read_conll,
    read_squad,
    read_table,
)
from .inputs import UsageError
from .training_parser import TASKS

PROBLEMS = {
    "classify": "single_label_classification",
    "regress": "regression",
    "multilabel": "multi_label_classification",
}
CLASSES: dict[str, type[BertPreTrainedModel]] = {
    **dict.fromkeys(PROBLEMS, BertForSequenceClassification),
    "tag": BertForTokenClassification,
    "answer": BertForQuestionAnswering,
    "choose": BertForMultipleChoice,
}
OF_TABLES = *PROBLEMS, "choose"
ONLY = {
    "text": (*OF_TABLES, "tag", "embed"),
    "text_pair": (*PROBLEMS, "embed"),
    "label": (*OF_TABLES, "tag", "embed"),
    "dev_text": (*OF_TABLES, "tag"),
    "dev_text_pair": tuple(PROBLEMS),
    "dev_label": (*OF_TABLES, "tag"),
    "no_header": (*PROBLEMS, "embed"),
    "format": (*PROBLEMS, "embed"),
    "metric": (*CLASSES,),
    "predictions": (*CLASSES,),
    **dict.fromkeys(("loss", "pooling", "max_score", "least_score", "scale", "symmetric"), ("embed",)),
    "separator": ("multilabel",),
    "scheme": ("tag",),
    "stride": ("answer",),
    "decoding": ("answer",),
    "crf": ("tag",),
    "class_weights": ("classify", "tag"),
    "label_smoothing": ("classify", "tag"),
}
"""Option -> the tasks that it means something to."""


class Columns(NamedTuple):
    """Where text, second text and label are, as they were typed."""

    text: str | None
    text_pair: str | None
    label: str | None


class Read(NamedTuple):
    """What a file holds: examples of one of the readers' kinds; the labels, where they have names; what is wrong."""

    examples: list[Any]
    labels: tuple[str, ...]
    problems: tuple[str, ...] = ()


def task_of(args: Any) -> str:
    """The task by its first name. UsageError for an option that is of other tasks."""
    task = TASKS[args.task]
    for name, tasks in ONLY.items():
        if getattr(args, name, None) not in (None, False) and task not in tasks:
            raise UsageError(f"--{name.replace('_', '-')} is for {', '.join(tasks)}, not for {task}")
    return task


def class_of(task: str, args: Any) -> type[BertPreTrainedModel]:
    """The class of models that a task is trained with."""
    return BertCrfForTokenClassification if getattr(args, "crf", False) else CLASSES[task]


def columns_of(args: Any) -> Columns:
    """Those of the file that is learnt from, or of the only one."""
    return Columns(args.text, args.text_pair, args.label)


def dev_columns(args: Any, task: str) -> tuple[Columns, list[str]]:
    """Those of --dev, and notes: where its header lacks a name of --train's, the column in the same place is taken."""
    own = Columns(args.dev_text, args.dev_text_pair, args.dev_label)
    found = [mine or shared for mine, shared in zip(own, columns_of(args), strict=True)]
    notes = []
    if task in PROBLEMS and not args.no_header:
        names, others = (column_names(path, args.format) for path in (args.train, args.dev))
        default = Columns("text", None, "label")
        for i, name in enumerate(found):
            name = name or default[i]
            if own[i] or name is None or name in others or names.count(name) != 1 or len(names) != len(others):
                continue
            there = others[names.index(name)]
            if there in [found[k] or default[k] for k in range(3) if k != i]:
                continue  # it has a part of its own
            found[i] = there
            notes.append(f"{args.dev} has no column {name!r}; {found[i]!r}, in the same place, is taken for it")
    return Columns(*found), notes


def read_file(task: str, path: str, args: Any, columns: Columns, labels: tuple[str, ...] = ()) -> Read:
    """Examples of a file. labels: the names that are expected; without any, those of the file."""
    given = labels or None
    if task == "tag":
        places = {"word": columns.text, "tag": columns.label}
        numbers = {name: _number(value, name) for name, value in places.items() if value is not None}
        return Read(*read_conll(path, scheme=args.scheme or "BIO", labels=given, **numbers))
    if task == "answer":
        squad = read_squad(path, strict=False)
        return Read(squad.examples, (), squad.problems)
    if task == "choose":
        return Read(read_choices(path, text=columns.text or "text", label=columns.label or "label"), ())
    text, pair, label = (_column(name, args.no_header) for name in columns)
    table = read_table(
        path,
        "text" if text is None else text,
        pair,
        "label" if label is None else label,
        format=args.format,
        header=not args.no_header,
        problem_type=PROBLEMS[task],
        labels=given,
        separator=args.separator or ",",
    )
    return Read(*table)


def check_files(*paths: str | None) -> None:
    """NotFound unless each is a file, or None."""
    for path in paths:
        if path is not None and not os.path.exists(path):
            raise NotFound(f"{path}: no such file")
        if path is not None and os.path.isdir(path):
            raise NotFound(f"{path}: expected a file of examples, got a folder")


def check_scores(path: str, examples: Sequence[TextExample]) -> None:
    """UsageError where there is no correlation with the scores: there are fewer than two, or they are all the same."""
    if len({example.label for example in examples}) < 2:
        raise UsageError(f"{path}: expected numbers that differ, for correlations, got {len(examples)} alike")


def check_answers(path: str, examples: Sequence[QuestionExample]) -> None:
    """LoadError for a question that nothing can be measured by: its answers are not told, nor that it has none."""
    untold = [example.id for example in examples if not (example.answers or example.is_impossible)]
    if untold:
        more = f" and {len(untold) - 1} more" * (len(untold) > 1)
        raise LoadError(
            f"{path}: question {quote(untold[0])}{more}: expected answers to measure by, got none",
            'where the text does not answer it, say "is_impossible": true',
        )


def remarks(path: str, read: Read, examples: Examples) -> list[str]:
    """What people should know of a file: what is wrong with it, the first of many, and what was cut."""
    more = [f"{len(read.problems) - 1} more such faults"] if len(read.problems) > 1 else []
    return [*read.problems[:1], *(f"{path}: {note}" for note in (*more, *examples.notes))]


def encoded(task: str, read: Read, args: Any, tokenizer: BertTokenizer, config: BertConfig) -> Examples:
    """The examples as rows of tokens."""
    if task == "tag":
        return Sentences(read.examples, tokenizer, config, read.labels, args.max_length)
    if task == "answer":
        decoding = args.decoding or "google"
        return Questions(read.examples, tokenizer, config, args.max_length, args.stride, decoding)
    if task == "choose":
        return Choices(read.examples, tokenizer, config, args.max_length)
    return Texts(read.examples, tokenizer, config, read.labels, PROBLEMS[task], args.max_length)


def _column(name: str | None, numbered: bool) -> str | int | None:
    return _number(name, "column") if numbered and name is not None else name


def _number(text: str, what: str) -> int:
    if not re.fullmatch(r"-?[0-9]{1,6}", text):
        raise UsageError(f"{what}: expected the number of a column, from 1, or from the end with -1, got {text!r}")
    return int(text)
