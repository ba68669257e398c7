"""minibert answer: passages of texts that answer a question."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any, BinaryIO

from ..errors import InputError, NotFound
from ..tasks.pipeline import pipeline
from .inputs import UsageError, model_of, printable, texts_of


def run(args: Any) -> None:
    """Prints a line an answer: score, answer, where it stands; an empty line between texts."""
    contexts = _contexts(args)
    answer = pipeline(
        "question-answering",
        model_of(args),
        handle_impossible_answer=args.no_answer,
        decoding="google" if args.google else "hf",
        batch_size=args.batch_size,
    )
    for number, context in enumerate(contexts):
        found = answer(question=args.question, context=context, top_k=args.top_k)
        answers = [found] if args.top_k == 1 else found
        if args.json:
            print(json.dumps({"question": args.question, "answers": answers}), flush=True)
            continue
        if number:
            print()
        for each in answers:
            words = printable(" ".join(each["answer"].split())) or "(no answer)"
            print(f"{each['score']:.4f}  {words}  {each['start']}:{each['end']}", flush=True)


def _contexts(args: Any) -> list[str]:
    if args.context_file is not None:
        if args.texts:
            raise UsageError("texts were given both as arguments and with --context-file", "give one of the two")
        path = Path(args.context_file)
        if not path.is_file():
            raise NotFound(f"--context-file {args.context_file!r}: no such file")
        with path.open("rb") as file:
            return [_whole(file, str(path))]
    if args.texts and args.texts != ["-"]:
        return list(texts_of(args))
    if not args.texts and sys.stdin.isatty():
        raise UsageError("no text given", 'minibert answer --model MODEL --question "Who?" "a text", or pipe one in')
    return [_whole(sys.stdin.buffer, "stdin")]


def _whole(file: BinaryIO, where: str) -> str:
    data = file.read()
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(f"{where}: byte 0x{data[error.start]:02x} at {error.start} is not UTF-8") from None
