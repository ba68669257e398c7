"""minibert fill-mask: guesses for every [MASK]."""

from __future__ import annotations

import json
from typing import Any

from ..locate import is_embedded
from ..tasks.pipeline import pipeline
from .inputs import decoded, model_of, texts_of


def run(args: Any) -> None:
    """Prints the guesses for each mask of each text, or for all its masks together."""
    texts = texts_of(args)
    targets = None if args.targets is None else decoded(args.targets).split(",")
    model = model_of(args)
    engine = "reference" if is_embedded(model) else "auto"  # done before a compiler is loaded
    fill = pipeline("fill-mask", model, engine=engine, top_k=args.top_k, targets=targets, joint=args.joint)
    for text in texts:
        found = fill(text)
        masks = found if isinstance(found[0], list) else [found]
        if args.json:
            print(
                json.dumps({"text": text, "joint": found} if args.joint else {"text": text, "masks": masks}), flush=True
            )
            continue
        for guesses in masks:
            words = [
                guess["token_str"] if isinstance(guess["token_str"], str) else " ".join(guess["token_str"])
                for guess in guesses
            ]
            width = max(map(len, words))
            for guess, word in zip(guesses, words, strict=True):
                print(f"{guess['score']:.4f}  {word:{width}}  {guess['sequence']}")
            print()
