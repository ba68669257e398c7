"""minibert classify: labels of texts, or of pairs."""

from __future__ import annotations

import json
from typing import Any

from ..tasks.pipeline import pipeline
from .inputs import chunks, model_of, printable, texts_of

CHUNK = 8
"""Times --batch-size: texts that are read, labelled and printed together."""


def run(args: Any) -> None:
    """Prints a line a label: score, label, text."""
    texts = texts_of(args)
    classify = pipeline(
        "text-classification", model_of(args), top_k=args.top_k, truncation=args.truncate, batch_size=args.batch_size
    )
    for chunk in chunks(texts, CHUNK * args.batch_size):
        inputs = [{"text": text, "text_pair": args.pair} for text in chunk] if args.pair else chunk
        for text, labels in zip(chunk, classify(inputs), strict=True):
            if args.json:
                row = {"text": text} if args.pair is None else {"text": text, "text_pair": args.pair}
                print(json.dumps({**row, "labels": labels}))
                continue
            for found in labels:
                print(printable(f"{found['score']:.4f}  {found['label']}  {text}"))
        print(end="", flush=True)
