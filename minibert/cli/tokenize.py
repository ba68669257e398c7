"""minibert tokenize: tokens, ids and where in the text they stand."""

from __future__ import annotations

import json
from typing import Any

from ..text.tokenizer import BertTokenizer
from .inputs import decoded, model_of, printable, texts_of


def run(args: Any) -> None:
    """Prints a line a token: id, token, offsets, and the characters of the text it stands for."""
    texts, pair = texts_of(args), args.pair and decoded(args.pair)
    tokenizer = BertTokenizer.from_pretrained(model_of(args))
    for text in texts:
        enc = tokenizer(text, pair, return_offsets_mapping=True)
        ids, offsets, segments = enc["input_ids"], enc["offset_mapping"], enc["token_type_ids"]
        tokens = tokenizer.convert_ids_to_tokens(ids)
        if args.json:
            row = {"text": text, "tokens": tokens, "ids": ids, "offsets": offsets, "token_type_ids": segments}
            print(json.dumps({**row, "text_pair": pair} if pair is not None else row), flush=True)
            continue
        width = max(len(token) for token in tokens)
        for token, number, (start, end), segment in zip(tokens, ids, offsets, segments, strict=True):
            source = pair if segment else text
            print(f"{number:6}  {token:{width}}  {start:4}:{end:<4}  {printable(source[start:end])}".rstrip())
        print()
