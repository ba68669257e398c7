"""minibert finetune: labelled examples -> a model for a task."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..models.base import BertPreTrainedModel
from ..models.class_loss import ClassLoss
from ..models.config import BertConfig
from ..text.tokenizer import BertTokenizer
from ..training.finetuning import Batches, Examples, balanced_weights, open_model, own_labels
from . import finetune_embed
from .examples import (
    PROBLEMS,
    Read,
    check_answers,
    check_files,
    check_scores,
    class_of,
    columns_of,
    dev_columns,
    encoded,
    read_file,
    remarks,
    task_of,
)
from .inputs import UsageError, model_of
from .outputs import say
from .training import check, say_result, train


def run(args: Any) -> int:
    """Read and tokenise, train, write the model: the one that did best on --dev, if there is one."""
    task, args.model = task_of(args), model_of(args)
    args.task = task  # by its first name, whichever was typed
    if args.dev is None:
        _refuse_without_dev(args)
    check_files(args.train, args.dev)
    if args.steps is None and args.epochs is None:
        args.epochs = 1.0 if task == "embed" else 3.0
    check(args)
    if task == "embed":
        return finetune_embed.run(args)
    tokenizer = BertTokenizer.from_pretrained(args.model)
    config = BertConfig.from_pretrained(args.model)
    cls, problem = class_of(task, args), PROBLEMS.get(task)
    read = _training_file(task, args, own_labels(cls, args.model, problem))
    dev_read, notes = _dev_file(task, args, read.labels)
    examples = encoded(task, read, args, tokenizer, config)
    dev = encoded(task, dev_read, args, tokenizer, config) if dev_read else None
    if args.max_length:
        tokenizer.model_max_length = args.max_length  # the model's folder tells: evaluation, pipelines read as much
    notes += remarks(args.train, read, examples)
    if dev_read and dev:
        notes += remarks(args.dev, dev_read, dev)
    for note in notes:
        say(note)
    metric = _metric(args, dev)
    data = Batches(examples, args.batch_size, args.seed)
    if args.eval_every is None:
        args.eval_every = max(1, round(data.per_epoch / args.accumulate))
    rates = {"hidden_dropout_prob": args.dropout, "attention_probs_dropout_prob": args.dropout}
    given = {} if args.dropout is None else {**rates, "classifier_dropout": None}  # None: as hidden_dropout_prob
    model = open_model(cls, args.model, read.labels, problem, seed=args.seed, **given)
    _set_loss(model, args, examples, task)
    say(f"{model}")
    say(f"{len(read.examples)} examples, {data.per_epoch} batches an epoch, dropout {model.config.classifier_rate:g}")
    if read.labels:
        say(f"labels: {', '.join(read.labels)}")
    same = {"dev data": dev.fingerprint} if dev else {}
    result = train(args, model, tokenizer, data, dev.evaluate if dev else None, metric, larger=True, same=same)
    return say_result(result, args.out, metric)


def _refuse_without_dev(args: Any) -> None:
    for name in ("dev_text", "dev_text_pair", "dev_label", "eval_every", "patience", "metric"):
        if getattr(args, name):
            raise UsageError(f"--{name.replace('_', '-')}: expected examples to measure by, got none", "--dev FILE")


def _training_file(task: str, args: Any, own: tuple[str, ...]) -> Read:
    """The examples; with the ids that the model's own head has for their labels, if it has them all."""
    read = read_file(task, args.train, args, columns_of(args))
    if own and set(read.labels) <= set(own):
        read = read_file(task, args.train, args, columns_of(args), own)
    if task in ("classify", "tag") and len(read.labels) < 2:
        raise UsageError(f"{args.train}: expected two labels or more, got only {read.labels[0]!r}")
    if task == "multilabel" and not read.labels:
        raise UsageError(f"{args.train}: expected labels, got none in all of it")
    return read


def _dev_file(task: str, args: Any, labels: tuple[str, ...]) -> tuple[Read | None, list[str]]:
    if args.dev is None:
        return None, []
    columns, notes = dev_columns(args, task)
    read = read_file(task, args.dev, args, columns, labels)._replace(labels=labels)
    if task == "regress":
        check_scores(args.dev, read.examples)
    if task == "answer":
        check_answers(args.dev, read.examples)
    return read, notes


def _metric(args: Any, dev: Examples | None) -> str:
    if dev is None:
        return "loss"
    if args.metric not in (None, *dev.metrics):
        raise UsageError(f"--metric: expected one of {', '.join(dev.metrics)}, got {args.metric!r}")
    return args.metric or dev.metrics[0]


def _set_loss(model: BertPreTrainedModel, args: Any, examples: Examples, task: str) -> None:
    if args.class_weights is None and args.label_smoothing is None:
        return
    assert isinstance(model, ClassLoss)
    weights: Any = None
    if args.class_weights == "balanced":
        targets = examples.targets if task == "classify" else [tag for row in examples.targets for tag in row]
        weights = balanced_weights(targets, len(model.config.id2label or {}))
    elif args.class_weights is not None:
        try:
            weights = np.array([float(weight) for weight in args.class_weights.split(",")])
        except ValueError:
            raise UsageError(
                f"--class-weights: expected numbers with commas between them, or balanced, got {args.class_weights!r}"
            ) from None
    model.set_loss_options(weights, args.label_smoothing or 0.0)
