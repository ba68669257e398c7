"""minibert embed: texts -> vectors, as JSON lines or one .npy array."""

from __future__ import annotations

import io
import json
import sys
from contextlib import ExitStack
from typing import Any

import numpy as np

from ..formats.atomic import write_atomic
from ..tasks.embed import SentenceEncoder
from .inputs import UsageError, chunks, model_of, texts_of

CHUNK = 64
"""Batches that are read, sorted by length and written together: results flow while stdin is still open."""


def run(args: Any) -> None:
    if args.format == "npy" and args.output is None and sys.stdout.isatty():
        raise UsageError("an array is not for a terminal", "--output vectors.npy, or redirect stdout")
    texts = texts_of(args)
    encoder = SentenceEncoder.from_pretrained(model_of(args))
    if args.format == "npy":
        _write_array(encoder.encode(list(texts), args.batch_size), args.output)
        return
    with ExitStack() as stack:
        out = stack.enter_context(open(args.output, "w", encoding="utf-8")) if args.output else sys.stdout
        index = 0
        for chunk in chunks(texts, CHUNK * args.batch_size):
            for text, vector in zip(chunk, encoder.encode(chunk, args.batch_size), strict=True):
                print(json.dumps({"index": index, "text": text, "embedding": _shortest(vector)}), file=out)
                index += 1
            out.flush()


def _shortest(vector: Any) -> list[float]:
    """The shortest decimals that read back as the same float32 numbers."""
    return [float(x) for x in vector.astype(str)]


def _write_array(vectors: Any, output: str | None) -> None:
    buffer = io.BytesIO()
    np.save(buffer, vectors, allow_pickle=False)
    if output:
        write_atomic(output, buffer.getvalue())
    else:
        sys.stdout.buffer.write(buffer.getvalue())
