"""How alike texts are: cosines of sentence vectors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ..errors import InputError
from ..models.encoder import BertEncoder
from ..text.tokenizer import BertTokenizer
from .embed import SentenceEncoder
from .task import Options, Task


class SentenceSimilarity(Task):
    """{"source_sentence": text, "sentences": texts} -> the cosine of the source and each, a list of floats.

    The keys are those of the hub's service of that name, as Hugging Face has no pipeline for it. `encoder` is the
    SentenceEncoder: pooling, normalising, length and prompt are its own, and so is what happens to long texts.
    """

    needs = BertEncoder
    options_class = Options

    def __init__(self, model: Any, tokenizer: BertTokenizer | None = None, **options: Any) -> None:
        if not isinstance(model, SentenceEncoder):
            if not isinstance(model, BertEncoder) or tokenizer is None:
                raise InputError(f"model: expected a SentenceEncoder, got {type(model).__name__}")
            model = SentenceEncoder(model, tokenizer)
        super().__init__(model.model, model.tokenizer if tokenizer is None else tokenizer, **options)
        self.encoder = model

    def _is_one(self, inputs: Any, settings: Options) -> bool:
        return isinstance(inputs, Mapping)

    def _checked(self, item: Any, where: str, settings: Options) -> tuple[str, list[str]]:
        if not isinstance(item, Mapping) or set(item) != {"source_sentence", "sentences"}:
            got = f"keys {', '.join(map(str, item))}" if isinstance(item, Mapping) else type(item).__name__
            raise InputError(f'{where}: expected {{"source_sentence": text, "sentences": texts}}, got {got}')
        if isinstance(item["sentences"], str):
            raise InputError(f"{where}.sentences: expected a list of texts, got a string")
        source = super()._checked(item["source_sentence"], f"{where}.source_sentence", settings)
        others = [
            super(SentenceSimilarity, self)._checked(x, f"{where}.sentences[{i}]", settings)
            for i, x in enumerate(item["sentences"])
        ]
        return source, others

    def _results(self, items: Sequence[tuple[str, list[str]]], settings: Options) -> list[list[float]]:
        vectors = self.encoder.encode(
            [text for source, others in items for text in (source, *others)], settings.batch_size, progress=False
        )
        borders = np.cumsum([1 + len(others) for _, others in items])[:-1]
        return [self.encoder.similarity(part[:1], part[1:])[0].tolist() for part in np.split(vectors, borders)]
