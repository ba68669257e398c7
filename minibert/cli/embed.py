"""minibert embed: texts -> vectors, as JSON lines or one .npy array."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Iterable, Iterator
from itertools import count
from typing import Any

import numpy as np

from ..tasks.embed import SentenceEncoder
from .inputs import UsageError, chunks, model_of, texts_of
from .outputs import check_output, write

CHUNK = 8
"""Times --batch-size: texts that are read, encoded and written together. Results flow while stdin is still open."""


def run(args: Any) -> None:
    """Writes the vectors to stdout as they come, or to a file, which appears when it is whole."""
    check_output(args.output)
    if args.format == "npy" and args.output in (None, "-") and sys.stdout.isatty():
        raise UsageError("an array is not for a terminal", "--output vectors.npy, or redirect stdout")
    texts = texts_of(args)
    encoder = SentenceEncoder.from_pretrained(model_of(args))
    content = _array if args.format == "npy" else _lines
    write(content(encoder, texts, args.batch_size), args.output)


def _lines(encoder: SentenceEncoder, texts: Iterable[str], batch_size: int) -> Iterator[bytes]:
    index = count()
    for chunk in chunks(texts, CHUNK * batch_size):
        found = zip(chunk, encoder.encode(chunk, batch_size), strict=True)
        yield "".join(_line(next(index), text, vector) for text, vector in found).encode()


def _line(index: int, text: str, vector: Any) -> str:
    """{"index": …, "text": …, "embedding": […]}"""
    start = json.dumps({"index": index, "text": text})
    return f'{start[:-1]}, "embedding": {_numbers(vector)}}}\n'


def _numbers(vector: Any) -> str:
    """A JSON array of the shortest decimals that read back as the same float32 numbers."""
    if not np.isfinite(vector).all():  # NumPy writes nan where JSON's readers know NaN
        return json.dumps(vector.tolist())
    return f"[{', '.join(vector.astype(str).tolist())}]"


def _array(encoder: SentenceEncoder, texts: Iterable[str], batch_size: int) -> Iterator[bytes]:
    buffer = io.BytesIO()
    np.save(buffer, encoder.encode(list(texts), batch_size), allow_pickle=False)
    yield buffer.getvalue()
