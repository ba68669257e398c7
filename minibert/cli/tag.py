"""minibert tag: words and their labels."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from typing import Any

from ..tasks.pipeline import pipeline
from ..tasks.token_classification import TokenClassification
from .inputs import chunks, model_of, printable, texts_of

CHUNK = 8
"""Times --batch-size: texts that are read, tagged and printed together."""
COLOURS = ("cyan", "magenta", "yellow", "green", "red", "blue")


def run(args: Any) -> None:
    """On a terminal the texts with their entities underlined; else a line a word, word TAB label, and an empty line
    after each text."""
    texts = texts_of(args)
    tag = pipeline("token-classification", model_of(args), batch_size=args.batch_size)
    assert isinstance(tag, TokenClassification)
    stride = (tag.longest - 2) // 4 if args.stride is None else args.stride
    options = {"aggregation_strategy": args.aggregation, "stride": stride}
    for chunk in chunks(texts, CHUNK * args.batch_size):
        if args.json:
            for text, entities in zip(chunk, tag(chunk, **options), strict=True):
                print(json.dumps({"text": text, "entities": entities}))
        elif sys.stdout.isatty():
            _show(chunk, tag(chunk, **options), tag.model.config.id2label or {})
        else:
            pieces = args.aggregation in ("none", "simple")
            for text, words in zip(chunk, tag.words(chunk, **options), strict=True):
                shown = [word["word"] if pieces else text[word["start"] : word["end"]] for word in words]
                print("".join(f"{printable(s)}\t{word['entity']}\n" for s, word in zip(shown, words, strict=True)))
        print(end="", flush=True)


def _show(texts: Sequence[str], found: Sequence[Any], names: dict[int, str]) -> None:
    """Every text with its entities in their kind's colour, and the kind behind."""
    from rich.console import Console
    from rich.text import Text

    kinds = list(dict.fromkeys(name.split("-", 1)[-1] for name in names.values()))
    console = Console(highlight=False)
    for text, entities in zip(texts, found, strict=True):
        shown, done = Text(), 0
        for entity in entities:
            kind = entity.get("entity_group", entity.get("entity", "")).split("-", 1)[-1]
            style = COLOURS[kinds.index(kind) % len(COLOURS)]
            shown.append(printable(text[done : entity["start"]]))
            shown.append(printable(text[entity["start"] : entity["end"]]), style=f"{style} underline")
            shown.append(f"[{printable(kind)}]", style=f"{style} dim")
            done = entity["end"]
        shown.append(printable(text[done:]))
        console.print(shown, soft_wrap=True)
