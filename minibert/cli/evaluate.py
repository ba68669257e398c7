"""minibert evaluate: how good a model is at its task."""

from __future__ import annotations

import json
import math
import os
import sys
from collections.abc import Mapping
from typing import Any

from ..errors import InputError, NotFound
from ..models import auto
from ..models.base import BertPreTrainedModel
from ..text.tokenizer import BertTokenizer
from ..training.finetuning import is_for
from . import finetune_embed
from .examples import CLASSES, PROBLEMS, check_answers, check_files, columns_of, encoded, read_file, remarks, task_of
from .inputs import UsageError, model_of, printable
from .outputs import check_output, write


def run(args: Any) -> None:
    """Prints the metrics, a line each, and writes the predictions where --predictions says."""
    if args.predictions == "-":
        raise UsageError("--predictions: expected a file, as the metrics go to stdout")
    check_output(args.predictions, "--predictions")
    check_files(args.data)
    folder = os.path.dirname(args.predictions or "")
    if folder and not os.path.isdir(folder):
        raise NotFound(f"--predictions {args.predictions}: there is no folder {folder}")
    task, place = task_of(args), model_of(args)
    if task == "embed":
        scores, number = finetune_embed.evaluate(args, place)
        _print(args, scores, task=task, examples=number)
        return
    _check_head(task, place)
    tokenizer = BertTokenizer.from_pretrained(place)
    model = _model(task, place)
    labels = () if task in ("regress", "answer", "choose") else tuple((model.config.id2label or {}).values())
    read = read_file(task, args.data, args, columns_of(args), labels)._replace(labels=labels)
    if task == "answer":
        check_answers(args.data, read.examples)
    examples = encoded(task, read, args, tokenizer, model.config)
    for note in remarks(args.data, read, examples):
        print(printable(note), file=sys.stderr)
    predictions = examples.predict(model)
    scores = examples.scores(predictions)
    if args.predictions:
        write((f"{json.dumps(record)}\n".encode() for record in examples.records(predictions)), args.predictions)
    _print(args, scores, task=task, examples=len(read.examples))


def _print(args: Any, scores: Mapping[str, float], **about: Any) -> None:
    if args.json:
        numbers = {name: None if math.isnan(value) else value for name, value in scores.items()}
        print(json.dumps({**about, **numbers}))
        return
    width = max(map(len, scores))
    for name, value in scores.items():
        print(f"{name:<{width}}  {value:8.4f}")


def _model(task: str, place: str) -> BertPreTrainedModel:
    cls = next(kind for kind in auto.classes(place) if issubclass(kind, CLASSES[task]))
    return cls.from_pretrained(place)


def _check_head(task: str, place: str) -> None:
    if is_for(CLASSES[task], place, PROBLEMS.get(task)):
        return
    able = [name for name, cls in CLASSES.items() if is_for(cls, place, PROBLEMS.get(name))]
    hint = f"it is for: minibert evaluate {' or '.join(able)}" if able else f"minibert finetune {task} trains one"
    raise InputError(f"{place}: {task} needs a {CLASSES[task].__name__} that was trained for it, this is none", hint)
