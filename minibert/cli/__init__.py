"""The command line: `minibert VERB`, or `python -m minibert VERB`.

stdout is data, stderr is talk. Exit status: 0 done, 1 a check failed, 2 wrong usage, 3 model or file not found, 4 bad
input, 5 out of memory or device, 130 interrupted. An error is one line and a hint; the traceback comes with --debug.

Building the parser imports nothing but argparse, so that --help is instant; each verb imports what it needs.
"""

from __future__ import annotations

import argparse
import importlib
import os
import sys
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any, NoReturn

from .. import __version__
from ..errors import MinibertError
from .config_file import with_config

MODEL_VARIABLE = "MINIBERT_MODEL"
DEFAULT = f"default ${MODEL_VARIABLE}, else the one that comes with minibert"
FINE_TUNED = f"one that was trained for it; default ${MODEL_VARIABLE}"
PLACES = "folder, weight file, TensorFlow prefix, pkg:NAME/sub/dir or org/name on the hub"

EPILOG = f"""\
examples:
  minibert similarity --model MODEL "It rains." "It is wet." "I like cake."
  minibert embed --model MODEL --file lines.txt --format npy --output lines.npy
  minibert fill-mask "She opened the [MASK] and walked into the room."
  minibert classify --model MODEL "A good film."
  minibert tag --model MODEL "Wolfgang lives in Berlin."
  minibert answer --model MODEL --question "Who?" --context-file letter.txt
  minibert tokenize --model MODEL "unaffable"
  minibert inspect PATH
  minibert convert bert_model.ckpt NEW_FOLDER
  minibert diff NEW_FOLDER OTHER_FOLDER
  minibert download sentence-transformers/all-MiniLM-L6-v2
  minibert look --model MODEL "The capital of France is [MASK]."
  minibert gradcheck
  minibert explain layer_norm
  minibert exercise list
  minibert train-vocab corpus.txt --output vocab.txt
  minibert pretrain corpus.txt --vocab vocab.txt --out RUN
  minibert finetune classify --train train.tsv --dev dev.tsv --out RUN
  minibert evaluate classify --model RUN --data test.tsv
  minibert plot RUN

MODEL is a folder with weights and their config.json, a weight file, the
prefix of a TensorFlow checkpoint, pkg:NAME/sub/dir inside an installed Python
package, or org/name on the Hugging Face hub. Without --model it is the one
that ${MODEL_VARIABLE} names, else a small one that comes along: it fills masks
and may be looked at or trained further. classify, tag, answer and evaluate
need one that finetune, or somebody else, has trained for it."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:  # closed by whoever started us
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: SIM115
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):  # any text in the world may come out, on any terminal
            stream.reconfigure(encoding="utf-8", errors="backslashreplace")
    parser = build_parser()
    try:
        args = parser.parse_args(with_config(sys.argv[1:] if argv is None else argv, parser.verbs))
    except ValueError as error:
        parser.error(str(error))
    if getattr(args, "config", None) is not None:  # as --conf, which is no reason to pass it over
        parser.error("--config: expected to be spelled out")
    if args.verb is None:
        parser.print_help()
        return 0
    with _notices(), warnings.catch_warnings():  # which also puts back how they are shown
        warnings.showwarning = lambda message, *_rest, **_more: _say(f"minibert: note: {message}")
        return _run(args, args.debug or os.environ.get("MINIBERT_DEBUG", "0") not in ("", "0"))


@contextmanager
def _notices() -> Iterator[None]:
    """What the package logs, such as that it compiles for a while, is said; a library would leave that to its user."""
    import logging

    class Handler(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            _say(f"minibert: {record.getMessage()}")

    log, handler = logging.getLogger("minibert"), Handler(logging.INFO)
    level = log.level
    log.setLevel(logging.INFO)
    log.addHandler(handler)
    try:
        yield
    finally:
        log.removeHandler(handler)
        log.setLevel(level)


def _run(args: argparse.Namespace, debug: bool) -> int:
    """The verb's exit status, whatever happens in it."""
    try:
        status = importlib.import_module(f".{args.verb.replace('-', '_')}", __name__).run(args)
        sys.stdout.flush()
        return int(status or 0)
    except BrokenPipeError:  # the reader has seen enough, as `head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except KeyboardInterrupt:
        return 130
    except MemoryError:
        if debug:
            raise
        return _fail("out of memory", "fewer texts at a time, or a smaller --batch-size, need less", 5)
    except MinibertError as error:
        if debug:
            raise
        return _fail(error.message, error.hint, error.exit_code)
    except OSError as error:
        if debug:
            raise
        return _fail(str(error), "", 4)


def build_parser() -> _Parser:
    """The parser of all verbs."""
    from . import parsers

    parser = _Parser(
        prog="minibert",
        description="BERT in NumPy: masked words, vectors, training, proof of every gradient.",
        epilog=EPILOG,
        formatter_class=lambda prog: argparse.RawDescriptionHelpFormatter(prog, max_help_position=18),
    )
    parser.add_argument("--version", action="version", version=f"minibert {__version__}")
    parser.set_defaults(verb=None, debug=False)
    verbs = parser.add_subparsers(dest="verb", metavar="VERB")

    parser.verbs = verbs.choices
    parsers.add_task_verbs(verbs)

    tokenize = _verb(verbs, "tokenize", "show tokens, ids and offsets", texts=True)
    tokenize.add_argument("--pair", metavar="TEXT", help="a second text for every text")
    tokenize.add_argument("--json", action="store_true", help="print JSON lines")

    inspect = _verb(verbs, "inspect", "say what a weight file or model folder is, and list its tensors", model=None)
    inspect.add_argument("path", nargs="?", metavar="PATH", help=f"{PLACES} ({DEFAULT})")
    inspect.add_argument("--json", action="store_true", help="print JSON")

    convert = _verb(verbs, "convert", "convert a checkpoint of any format, and report every tensor", model=None)
    convert.add_argument("source", metavar="SRC", help=PLACES)
    convert.add_argument("target", metavar="DST", help="a new folder")
    convert.add_argument(
        "--to", choices=("safetensors", "npz", "tf"), default="safetensors", help="(default %(default)s)"
    )
    convert.add_argument("--drop-unknown", action="store_true", help="leave out tensors that are no part of BERT")
    convert.add_argument("--json", action="store_true", help="print the report as JSON")

    diff = _verb(verbs, "diff", "compare two checkpoints, of whatever formats, tensor by tensor", model=None)
    diff.add_argument("a", metavar="A", help=PLACES)
    diff.add_argument("b", metavar="B", help="the other one")
    diff.add_argument("--json", action="store_true", help="print JSON")

    download = _verb(verbs, "download", "fetch or update a model of the Hugging Face hub, print its folder", model=None)
    download.add_argument("name", metavar="NAME", help="org/name on the hub")
    download.add_argument("--revision", metavar="R", help="branch, tag or commit (default: the branch main)")

    look = _verb(verbs, "look", "show every tensor of a text's way through a model, and back", texts=True)
    look.add_argument("--pair", metavar="TEXT", help="a second text")
    look.add_argument(
        "--target", metavar="WORD", help="word for [MASK], or class, that the loss is of (default: the model's answer)"
    )
    look.add_argument(
        "-t", "--tensor", metavar="NAME", help="one tensor's card: equations, code, pictures, checks; NAME[2]: head 2"
    )
    look.add_argument("--unfold", metavar="NAME[i,j]", help="the sum that made a number; d:NAME[i,j] of a gradient")
    look.add_argument("--all", action="store_true", help="unfold every layer of the map")
    look.add_argument("--whole", action="store_true", help="check from each tensor to the loss, not one step")
    look.add_argument("--dropout-seed", type=_natural, metavar="N", help="with dropout on")
    look.add_argument("--html", metavar="FILE.html", help="write all of it as one page for a browser")
    look.add_argument("--max-mb", type=float, default=12.0, metavar="MB", help="that the page may take (default 12)")
    look.add_argument("--curve", metavar="NAME", help="of the page: show this tensor's error against step")
    look.add_argument("--save", metavar="FILE.npz", help="write every activation and its gradient")
    look.add_argument("--json", action="store_true", help="print JSON")

    check = _verb(
        verbs,
        "gradcheck",
        "prove every gradient of a model against the complex step",
        model="a small one of random weights",
    )
    check.add_argument("--layers", type=_positive, default=2, metavar="N", help="of the model made here (default 2)")
    check.add_argument(
        "--std", type=float, default=0.15, help="spread of its weights (default 0.15; BERT starts at 0.02)"
    )
    check.add_argument("--dropout-seed", type=_natural, metavar="N", help="check with dropout on")
    check.add_argument(
        "--seed", type=_natural, default=0, metavar="N", help="of weights, input and directions (default 0)"
    )
    check.add_argument("--mutants", action="store_true", help="plant bugs instead: which check catches which?")
    check.add_argument(
        "--seeds", type=_positive, metavar="N", help="check N seeds at five weight scales: is any alarm false?"
    )
    check.add_argument("--references", action="store_true", help="every tensor by five references, activations too")
    check.add_argument("--plant", metavar="BUG", help="plant a bug, find it, say what is wrong; 'list' lists them")
    check.add_argument("--curve", metavar="NAME", help="error against step, differentiating by one tensor")
    check.add_argument("--png", metavar="FILE", help="of --curve, a picture")
    check.add_argument("--second-order", action="store_true", help="rates of Taylor's remainders, symmetric Hessian")
    check.add_argument("--json", action="store_true", help="print JSON")

    explain = _verb(verbs, "explain", "print a chapter of the mathematics, or list the chapters", model=None)
    explain.add_argument("name", nargs="?", metavar="NAME", help="a chapter, or an operator, whose source is shown")

    exercise = _verb(verbs, "exercise", "exercises in backpropagation, checked against the complex step", model=None)
    exercise.set_defaults(folder=".")
    exercise.epilog = (
        "start writes a file, you edit it, check says what is right; progress.json keeps what you have done. "
        "check runs your file as a program, with your rights, and ends it if it takes too long. Nothing else runs it."
    )
    actions = exercise.add_subparsers(dest="action", metavar="ACTION")
    _action(actions, "list", "the exercises, and which are solved (default)").add_argument(
        "--json", action="store_true", help="print JSON"
    )
    start = _action(actions, "start", "write the file of an exercise, NAME.py", named=True)
    start.add_argument("--again", action="store_true", help="begin anew; the old file is kept as NAME.bak.py")
    summary = "run NAME.py, which is your own code, and check its gradients: 1 if not solved yet"
    check = _action(actions, "check", summary, latest=True)
    check.add_argument("--limit", type=float, default=30, metavar="S", help="seconds it may take (default 30)")
    _action(actions, "hint", "one more hint", latest=True)
    reveal = _action(actions, "reveal", "the solution, once you have checked a try of your own", latest=True)
    reveal.add_argument("--yes", action="store_true", help="without a try")

    from .training_parser import add_training_verbs  # it needs what stands below

    add_training_verbs(verbs)
    return parser


class _Parser(argparse.ArgumentParser):
    verbs: Mapping[str, argparse.ArgumentParser]

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"minibert: error: {message}\nhint: {self.prog} --help\n")


def _verb(verbs: Any, name: str, summary: str, texts: bool = False, model: str | None = DEFAULT) -> Any:
    """A verb; `model` is what --model falls back to, None for a verb without --model."""
    parser = verbs.add_parser(name, help=summary, description=summary[0].upper() + summary[1:] + ".")
    if model:
        parser.add_argument("--model", metavar="MODEL", help=f"{PLACES} ({model})")
    parser.add_argument("--debug", action="store_true", help="show the traceback of an error")
    if texts:
        parser.add_argument("texts", nargs="*", metavar="TEXT", help="texts; without any, or with -, lines of stdin")
        parser.add_argument("--file", metavar="FILE", help="read texts from a file, one a line")
    return parser


def _action(actions: Any, name: str, summary: str, named: bool = False, latest: bool = False) -> Any:
    """An action of `minibert exercise`: about a named exercise, or one that is the latest unless it is named."""
    parser = actions.add_parser(name, help=summary, description=summary[0].upper() + summary[1:] + ".")
    parser.add_argument("--folder", default=".", metavar="DIR", help="where your files are (default: here)")
    parser.add_argument(
        "--debug", action="store_true", default=argparse.SUPPRESS, help="show the traceback of an error"
    )
    if named:
        parser.add_argument("name", metavar="NAME", help="an exercise")
    if latest:
        parser.add_argument("name", nargs="?", metavar="NAME", help="an exercise (default: the latest)")
    return parser


def _encoding(parser: Any) -> None:
    parser.add_argument(
        "--batch-size",
        type=_positive,
        default=32,
        metavar="N",
        help="full-length texts at a time; more if shorter (default 32)",
    )


def _positive(text: str) -> int:
    return _at_least(1, text, "a positive integer")


def _natural(text: str) -> int:
    return _at_least(0, text, "0 or a positive integer")


def _at_least(least: int, text: str, expected: str) -> int:
    with suppress(ValueError):
        if least <= (value := int(text)) < 2**31:
            return value
    raise argparse.ArgumentTypeError(f"expected {expected}, got {text}")


def _fail(message: str, hint: str, status: int) -> int:
    _say(f"minibert: error: {message}")
    if hint:
        _say(f"hint: {hint}")
    return status


def _say(line: str) -> None:
    from .outputs import say

    say(line)
