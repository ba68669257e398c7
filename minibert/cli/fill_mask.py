"""minibert fill-mask: guesses for every [MASK]."""

from __future__ import annotations

import json
from typing import Any

from ..models.pretraining import BertForMaskedLM
from ..tasks.fill_mask import fill_mask
from ..text.tokenizer import BertTokenizer
from .inputs import decoded, model_of, texts_of


def run(args: Any) -> None:
    """Prints the guesses for each mask of each text."""
    texts = texts_of(args)
    path = model_of(args)
    tokenizer = BertTokenizer.from_pretrained(path)
    model = BertForMaskedLM.from_pretrained(path)
    targets = None if args.targets is None else decoded(args.targets).split(",")
    for text in texts:
        found = fill_mask(model, tokenizer, text, args.top_k, targets)
        masks = found if found and isinstance(found[0], list) else [found]
        if args.json:
            print(json.dumps({"text": text, "masks": masks}), flush=True)
            continue
        for guesses in masks:
            width = max(len(guess["token_str"]) for guess in guesses)
            for guess in guesses:
                print(f"{guess['score']:.4f}  {guess['token_str']:{width}}  {guess['sequence']}")
            print()
