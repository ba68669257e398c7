"""The arguments of the verbs that train. As light as the rest of the parser."""

from __future__ import annotations

import argparse
import math
from argparse import RawDescriptionHelpFormatter
from contextlib import suppress
from functools import partial
from textwrap import indent
from typing import Any

from . import DEFAULT, FINE_TUNED, PLACES, _natural, _positive, _verb

TASKS = {
    "classify": "classify",
    "regress": "regress",
    "multilabel": "multilabel",
    "tag": "tag",
    "answer": "answer",
    "choose": "choose",
    "embed": "embed",
    "text-classification": "classify",
    "sentiment-analysis": "classify",
    "token-classification": "tag",
    "ner": "tag",
    "question-answering": "answer",
    "multiple-choice": "choose",
    "sentence-similarity": "embed",
}
"""Names of tasks for fine-tuning, the pipelines' among them -> the verb that uses such a model, or nearly so."""
TASKS_HELP = """\
classify     a class for a text or a pair; text-classification
regress      a number for it
multilabel   any number of classes for it
tag          a tag for every word: names, parts of speech;
             token-classification, ner
answer       passages of texts; question-answering
choose       which of several endings; multiple-choice
embed        sentence vectors, from pairs with scores or of one meaning;
             sentence-similarity"""

METRICS_HELP = """\
classify     accuracy, f1 (of two classes) or macro_f1, matthews
regress      spearman, pearson
multilabel   micro_f1, macro_f1
tag          f1, precision, recall, accuracy; of --scheme any: accuracy
answer       f1, exact_match; where some have no answer: f1, exact
choose       accuracy
embed        spearman"""


def add_training_verbs(verbs: Any) -> None:
    """train-vocab, pretrain, finetune, evaluate, plot."""
    _vocab(verbs)
    _pretrain(verbs)
    _finetune(verbs)
    _evaluate(verbs)
    _plot(verbs)


def _vocab(verbs: Any) -> None:
    vocab = _verb(verbs, "train-vocab", "make a WordPiece vocabulary from text files", model=None)
    vocab.add_argument("corpus", nargs="+", metavar="CORPUS", help="text files in UTF-8")
    vocab.add_argument("--output", required=True, metavar="FILE", help="the vocabulary, one piece a line; - is stdout")
    vocab.add_argument("--size", type=_positive, default=8192, metavar="N", help="pieces to make (default 8192)")
    vocab.add_argument(
        "--method",
        choices=("bpe", "likelihood"),
        default="bpe",
        help="merge the most frequent pair (default), or the one that is least by chance",
    )
    vocab.add_argument("--cased", action="store_true", help="keep capitals and accents")
    vocab.add_argument(
        "--min-frequency", type=_positive, default=2, metavar="N", help="of a pair, or a character (default 2)"
    )
    vocab.add_argument("--unused", type=_natural, default=0, metavar="N", help="pieces to leave free: [unused0] ...")
    vocab.add_argument("--json", action="store_true", help="print the report as JSON")


def _pretrain(verbs: Any) -> None:
    pretrain = _verb(verbs, "pretrain", "train a BERT from text, by masked words and next sentences", model=None)
    pretrain.add_argument(
        "corpus", nargs="*", metavar="CORPUS", help="text files in UTF-8, a sentence or paragraph a line"
    )
    data = pretrain.add_argument_group("data")
    data.add_argument("--vocab", metavar="FILE", help="vocabulary, as train-vocab makes it")
    data.add_argument("--cased", action="store_true", help="keep capitals and accents")
    data.add_argument(
        "--documents",
        choices=("empty-line", "file", "line"),
        default="empty-line",
        help="what ends a document, besides the end of a file (default empty-line)",
    )
    data.add_argument("--split-sentences", action="store_true", help="lines are paragraphs: cut them into sentences")
    data.add_argument("--max-length", type=_positive, default=128, metavar="N", help="tokens a pair (default 128)")
    data.add_argument("--short", type=float, default=0.1, metavar="P", help="share of shorter pairs (default 0.1)")
    data.add_argument(
        "--masking", choices=("token", "whole-word", "span"), default="token", help="what is hidden (default token)"
    )
    data.add_argument("--mask", type=float, default=0.15, metavar="P", help="share that is hidden (default 0.15)")
    data.add_argument(
        "--normaliser",
        choices=("mean", "google"),
        default="mean",
        help="the loss of masked words over their number (default), or over that + 1e-5",
    )
    data.add_argument("--no-next-sentence", action="store_true", help="masked words alone, of single segments")
    data.add_argument(
        "--hold-out", type=float, default=0.01, metavar="P", help="share of the text to evaluate on (default 0.01)"
    )
    data.add_argument("--cache", metavar="DIR", help="where the tokens are kept (default: DIR/cache of --out)")
    model = pretrain.add_argument_group("model")
    model.add_argument("--model", metavar="MODEL", help=f"go on from this one: {PLACES}")
    model.add_argument(
        "--layers", type=_positive, metavar="N", help="(default 4); with --model: new ones begin as copies of its own"
    )
    model.add_argument("--hidden", type=_positive, metavar="N", help="(default 256)")
    model.add_argument("--heads", type=_positive, metavar="N", help="(default: as many as have 64 features each)")
    model.add_argument("--intermediate", type=_positive, metavar="N", help="(default: 4 times --hidden)")
    model.add_argument(
        "--positions", type=_positive, metavar="N", help="tokens that it can read (default: --max-length)"
    )
    model.add_argument(
        "--repeat-positions",
        type=_positive,
        metavar="N",
        help="with --model: those after the first N begin as copies of them, of which --max-length may need more",
    )
    model.add_argument("--activation", metavar="NAME", help="gelu (default), gelu_new, relu, silu, tanh")
    model.add_argument("--dropout", type=float, default=0.1, metavar="P", help="(default 0.1)")
    _run(pretrain, lr=5e-4, batch_size=32, steps=True)


def _finetune(verbs: Any) -> None:
    finetune = _task_verb(verbs, "finetune", "train a model for a task, from labelled examples")
    finetune.add_argument("--model", metavar="MODEL", help=f"to begin with: {PLACES} ({DEFAULT})")
    data = _columns(finetune)
    data.add_argument("--train", required=True, metavar="FILE", help="examples to learn from")
    data.add_argument("--dev", metavar="FILE", help="examples to measure by, at the end of each epoch; the best stays")
    for name, what in (("text", "texts"), ("text-pair", "second texts"), ("label", "labels")):
        data.add_argument(f"--dev-{name}", metavar="COLUMN", help=f"{what} of --dev, if it is another one there")
    model = finetune.add_argument_group("model")
    model.add_argument("--crf", action="store_true", help="tag: choose the tags of a sentence together")
    model.add_argument("--dropout", type=float, metavar="P", help="(default: as the model has it)")
    model.add_argument(
        "--class-weights", metavar="W,...", help="classify, tag: what each label counts, by id, or 'balanced'"
    )
    model.add_argument(
        "--label-smoothing", type=float, metavar="E", help="classify, tag: share of a label dealt out to all"
    )
    model.add_argument("--metric", metavar="NAME", help="of --dev, by which the best is chosen; see below")
    add_embed_arguments(finetune)
    _run(finetune, lr=5e-5, batch_size=32, steps=False)


def _evaluate(verbs: Any) -> None:
    evaluate = _task_verb(verbs, "evaluate", "measure a model of a task on labelled examples")
    evaluate.add_argument("--model", metavar="MODEL", help=f"{PLACES} ({FINE_TUNED})")
    data = _columns(evaluate)
    data.add_argument("--data", required=True, metavar="FILE", help="examples")
    evaluate.add_argument("--predictions", metavar="FILE", help="write every example and its prediction as JSON lines")
    evaluate.add_argument("--json", action="store_true", help="print JSON")


def _task_verb(verbs: Any, name: str, summary: str) -> Any:
    verb = _verb(verbs, name, summary, model=None)
    verb.formatter_class = partial(RawDescriptionHelpFormatter, max_help_position=18)
    verb.epilog = f"tasks:\n{indent(TASKS_HELP, '  ')}\n\nmetrics, the first by default:\n{indent(METRICS_HELP, '  ')}"
    verb.add_argument("task", choices=TASKS, metavar="TASK", help=f"{', '.join(dict.fromkeys(TASKS.values()))}")
    return verb


def _columns(verb: Any) -> Any:
    """How examples are read."""
    data = verb.add_argument_group("data", "a table, JSON lines, CoNLL's columns for tag, SQuAD's JSON for answer")
    data.add_argument("--text", metavar="COLUMN", help="of the texts (default text); for tag, of the words (default 1)")
    data.add_argument("--text-pair", metavar="COLUMN", help="of second texts")
    data.add_argument("--label", metavar="COLUMN", help="(default label); for tag, of the tags (default -1, the last)")
    data.add_argument(
        "--no-header", action="store_true", help="the first row is an example; columns are numbers from 1"
    )
    data.add_argument(
        "--format", choices=("csv", "tsv", "quoted-tsv", "jsonl"), help="(default: as the file's name ends)"
    )
    data.add_argument("--separator", metavar="TEXT", help="multilabel: between the labels of a text (default ,)")
    data.add_argument(
        "--scheme",
        choices=("BIO", "IOB1", "any"),
        help="how tags mark entities: B- where they begin (default), I- there, too, or any tags, no entities",
    )
    data.add_argument(
        "--max-length",
        type=_positive,
        metavar="N",
        help="tokens (default: as the model was made or trained; answer: at most 384)",
    )
    data.add_argument(
        "--stride",
        type=_natural,
        metavar="N",
        help="answer: tokens from window to window (default: 128, or half of --max-length)",
    )
    data.add_argument("--decoding", choices=("google", "hf"), help="answer: how answers are chosen (default google)")
    return data


def _plot(verbs: Any) -> None:
    plot = _verb(verbs, "plot", "draw what runs have measured, step by step", model=None)
    plot.add_argument("folders", nargs="+", metavar="DIR", help="the folder of a run, which may still be going on")
    plot.add_argument("--png", metavar="FILE", help="a picture, instead of one in the terminal")
    plot.add_argument("--json", action="store_true", help="print the records as JSON")


def _run(verb: Any, lr: float, batch_size: int, steps: bool) -> None:
    """What all training has in common. steps: by default a length is in steps, not in epochs."""
    run = verb.add_argument_group("run")
    run.add_argument(
        "--out", required=True, type=_folder, metavar="DIR", help="the folder of the run, and of the model in the end"
    )
    run.add_argument("--resume", action="store_true", help="go on with the run in DIR, bit for bit")
    run.add_argument("--config", metavar="FILE.toml", help="options from a file; those typed here win")
    length = run.add_mutually_exclusive_group()
    length.add_argument("--steps", type=_positive, metavar="N", help="updates in all")
    length.add_argument(
        "--epochs",
        type=_times,
        metavar="N",
        help=f"or times through the data (default {'1' if steps else '3; embed: 1'})",
    )
    run.add_argument("--batch-size", type=_positive, default=batch_size, metavar="N", help=f"(default {batch_size})")
    run.add_argument(
        "--accumulate",
        type=_positive,
        default=1,
        metavar="N",
        help="batches an update, whose losses are averaged (default 1)",
    )
    run.add_argument("--lr", type=float, default=lr, metavar="RATE", help=f"at its peak (default {lr:g})")
    run.add_argument("--warmup", type=float, default=0.1, metavar="N", help="steps, or a share of them (default 0.1)")
    run.add_argument(
        "--schedule", choices=("linear", "google", "constant"), default="linear", help="of the rate (default linear)"
    )
    run.add_argument(
        "--optimiser", choices=("adamw", "bert-adam", "lamb", "sgd"), default="adamw", help="(default adamw)"
    )
    run.add_argument("--weight-decay", type=float, default=0.01, metavar="L", help="(default 0.01)")
    run.add_argument("--clip", type=float, default=1.0, metavar="C", help="longest gradient, 0: any (default 1)")
    run.add_argument("--layer-decay", type=float, default=1.0, metavar="F", help="rate of a layer to that above it")
    run.add_argument("--freeze", action="append", default=[], metavar="NAME", help="tensors to leave; * is any text")
    run.add_argument("--seed", type=_natural, default=0, metavar="N", help="of weights, data and dropout (default 0)")
    run.add_argument(
        "--eval-every",
        type=_natural,
        default=0 if steps else None,
        metavar="N",
        help=f"steps; 0: at the end {'(default)' if steps else '(default: an epoch)'}",
    )
    run.add_argument("--save-every", type=_natural, default=0, metavar="N", help="steps; 0: at evaluations (default)")
    run.add_argument("--log-every", type=_positive, default=10, metavar="N", help="steps (default 10)")
    run.add_argument("--keep", type=_positive, default=2, metavar="N", help="checkpoints, beside the best (default 2)")
    run.add_argument(
        "--patience", type=_natural, default=0, metavar="N", help="evaluations without improvement; 0: any"
    )
    run.add_argument("--spike", type=float, default=0.0, metavar="K", help="skip gradients K times as long as usual")
    run.add_argument(
        "--on-bad", choices=("stop", "skip"), default="stop", help="what is not finite: stop (default), or skip it"
    )
    run.add_argument("--tensorboard", action="store_true", help="write TensorBoard's files into DIR, too")


def _folder(text: str) -> str:
    if not text:
        raise argparse.ArgumentTypeError("expected the name of a folder, got an empty one")
    return text


def _times(text: str) -> float:
    with suppress(ValueError):
        if 0 < (value := float(text)) < math.inf:
            return value
    raise argparse.ArgumentTypeError(f"expected a positive number, got {text}")


def add_embed_arguments(verb: Any) -> None:
    """Those that only sentence vectors have."""
    embed = verb.add_argument_group("embed")
    embed.add_argument(
        "--loss", choices=("cosine", "ranking"), help="cosines are to be the scores (default), or rank within a batch"
    )
    embed.add_argument("--pooling", choices=("mean", "cls"), help="of tokens to a vector (default: as the model does)")
    embed.add_argument("--max-score", type=float, metavar="S", help="the highest there is, 5 of STS-B (default 1)")
    embed.add_argument("--least-score", type=float, metavar="S", help="ranking: pairs with less are left out")
    embed.add_argument("--scale", type=float, metavar="L", help="ranking: of cosines (default 20)")
    embed.add_argument("--symmetric", action="store_true", help="ranking: rank the first texts, too")
