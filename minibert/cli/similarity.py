"""minibert similarity: cosines of all pairs of texts."""

from __future__ import annotations

import json
import shutil
import unicodedata
from bisect import bisect_right
from itertools import accumulate
from typing import Any

from ..tasks.embed import SentenceEncoder
from .inputs import UsageError, model_of, printable, texts_of

COLUMN = 8


def run(args: Any) -> None:
    """Prints the matrix, the texts cut to fit the terminal's width."""
    texts = list(texts_of(args))
    if len(texts) < 2:
        raise UsageError(
            f"expected at least two texts to compare, got {len(texts)}", "give each in quotes, or one a line"
        )
    encoder = SentenceEncoder.from_pretrained(model_of(args))
    vectors = encoder.encode(texts, args.batch_size)
    matrix = encoder.similarity(vectors, vectors)
    if args.json:
        print(json.dumps({"texts": texts, "similarity": [[round(float(x), 6) for x in row] for row in matrix]}))
        return
    number = len(str(len(texts)))
    width = max(12, shutil.get_terminal_size().columns - number - 2 - COLUMN * len(texts))
    labels = [_fit(text, width) for text in texts]
    width = max(map(_width, labels))
    print(" " * (number + 2 + width) + "".join(f"{j:{COLUMN}}" for j in range(1, len(texts) + 1)))
    for i, (label, row) in enumerate(zip(labels, matrix, strict=True), 1):
        pad = " " * (width - _width(label))
        print(f"{i:{number}}  {label}{pad}" + "".join(f"{x:{COLUMN}.4f}" for x in row))


def _fit(text: str, width: int) -> str:
    """On one line, in at most `width` columns."""
    text = printable(" ".join(text.split()))
    if _width(text) <= width:
        return text
    widths = list(accumulate(map(_width, text)))  # of text[:1], text[:2], ...
    return text[: bisect_right(widths, width - 1)] + "…"


def _width(text: str) -> int:
    """Columns on a terminal: Chinese and the like take two, combining marks none."""
    wide = sum(unicodedata.east_asian_width(c) in "WF" for c in text)
    return len(text) + wide - sum(unicodedata.combining(c) != 0 for c in text)
