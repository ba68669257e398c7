"""Sentence vectors: pairs of texts -> batches to train on, cosines and how well they follow people's scores.

model, encoder = open_sentences(path, "cosine")
train, dev = (Pairs(scaled(read_table(file, ...).examples, 5), encoder) for file in files)
Trainer(model, AdamW(model, lr=2e-5), schedule(2e-5, steps, 0.1), PairBatches(train, 32), evaluate=dev.evaluate,
        metric="spearman", larger=True, others=encoder.save_settings).train()
encoder.save_pretrained(folder)
"""

from __future__ import annotations

import copy
import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

import numpy as np

from ...errors import InputError
from ...locate import locate
from ...models.base import BertPreTrainedModel
from ...models.sentences import POOLINGS, BertForSentencePairs, BertForSentenceRanking
from ...ops.xp import Array
from ...tasks.embed import SentenceEncoder
from ...tasks.sentence_folder import read_folder
from ...text.tokenizer import BertTokenizer
from .. import metrics
from ..readers import TextExample

__all__ = ["SENTENCE_LOSSES", "PairBatches", "Pairs", "open_sentences", "positives", "scaled"]

SENTENCE_LOSSES: Mapping[str, type[BertForSentencePairs]] = MappingProxyType(
    {"cosine": BertForSentencePairs, "ranking": BertForSentenceRanking}
)


def open_sentences(
    path: str | os.PathLike[str],
    loss: str = "cosine",
    *,
    pooling: str | None = None,
    max_length: int | None = None,
    dropout: float | None = None,
) -> tuple[BertForSentencePairs, SentenceEncoder]:
    """A model to train with that loss, and a SentenceEncoder with the very same parameters, to measure and to save.

    path         a folder as sentence-transformers saves it, or any BERT folder; see SentenceEncoder.from_pretrained
    loss         "cosine" or "ranking"
    pooling      "mean" or "cls"; None: as the folder says
    max_length   tokens read of a text; None: as the folder says
    dropout      rate of all dropout in the encoder; None: as its config says
    """
    if loss not in SENTENCE_LOSSES:
        raise InputError(f"loss: expected one of {', '.join(SENTENCE_LOSSES)}, got {loss!r}")
    body, options = read_folder(locate(path, parts=("config", "tokenizer", "sentence", "weights")))
    own = "+".join(options.get("pooling", ["mean"]))
    chosen = own if pooling is None else pooling
    if chosen not in POOLINGS:
        hint = "" if pooling else f"the pooling of {path} is not one that is trained; choose another"
        raise InputError(f"pooling: expected one of {', '.join(POOLINGS)}, got {chosen!r}", hint)
    options = {**options, "pooling": (chosen,), "max_length": max_length or options["max_length"]}
    names = () if dropout is None else ("hidden_dropout_prob", "attention_probs_dropout_prob")
    rates: dict[str, Any] = dict.fromkeys(names, dropout)
    model = SENTENCE_LOSSES[loss].from_pretrained(body, **rates)
    model.set_pooling(chosen)
    return model, SentenceEncoder(model.encoder(), BertTokenizer.from_pretrained(body), **options)


def scaled(examples: Sequence[TextExample], highest: float, lowest: float = 0.0) -> list[TextExample]:
    """The examples with their scores, from lowest to highest, as numbers from 0 to 1.

    >>> scaled([TextExample("a plane", "an air plane", 4.0)], 5)
    [TextExample(text='a plane', text_pair='an air plane', label=0.8)]
    """
    if not lowest < highest:
        raise InputError(f"highest: expected a score above the lowest, {lowest}, got {highest}")
    result = []
    for i, example in enumerate(examples):
        score = _score(example, i)
        if not lowest <= score <= highest:
            raise InputError(f"examples[{i}]: expected a score from {lowest} to {highest}, got {score}")
        result.append(example._replace(label=(score - lowest) / (highest - lowest)))
    return result


def positives(examples: Sequence[TextExample], least: float) -> list[TextExample]:
    """The examples with at least that score, without it: pairs that belong together, to be ranked."""
    return [each._replace(label=None) for i, each in enumerate(examples) if _score(each, i) >= least]


class Pairs:
    """Pairs of texts, tokenised once, for the models of pairs.

    examples    text, text_pair, and a score from -1 to 1 as label, in all of them or in none
    encoder     by its tokenizer, prompt and length the texts are read, and its settings are measured
    """

    metrics = "spearman", "pearson"

    def __init__(self, examples: Sequence[TextExample], encoder: SentenceEncoder) -> None:
        if not examples:
            raise InputError("examples: expected at least one pair, got none")
        for i, example in enumerate(examples):
            if example.text_pair is None:
                raise InputError(f"examples[{i}]: expected two texts, got one")
        self.examples = list(examples)
        self.encoder = encoder
        self.has_scores = any(example.label is not None for example in examples)
        self.scores = np.array([_score(each, i) for i, each in enumerate(examples)]) if self.has_scores else None
        self.texts = [[each.text for each in examples], [each.text_pair or "" for each in examples]]
        self.rows = [*zip(*(encoder.tokenize(texts) for texts in self.texts), strict=True)]

    @property
    def fingerprint(self) -> str:
        """sha256 of all that a model is shown."""
        rows = [[first.tolist(), second.tolist()] for first, second in self.rows]
        scores = None if self.scores is None else self.scores.tolist()
        return hashlib.sha256(json.dumps([rows, scores]).encode()).hexdigest()

    def batch(self, chosen: Sequence[int]) -> dict[str, Array]:
        """input_ids and attention_mask (B, 2, T) of those pairs, filled up to the longest text."""
        rows = [self.rows[i] for i in chosen]
        longest = max(len(ids) for pair in rows for ids in pair)
        inputs = {name: np.zeros((len(rows), 2, longest), np.int64) for name in ("input_ids", "attention_mask")}
        for place in np.ndindex(len(rows), 2):
            ids = rows[place[0]][place[1]]
            inputs["input_ids"][place][: len(ids)] = ids
            inputs["attention_mask"][place][: len(ids)] = 1
        return inputs

    def cosines(self, model: BertForSentencePairs) -> Array:
        """(n,) of every pair, as a SentenceEncoder of that model computes them."""
        encoder = copy.copy(self.encoder)
        encoder.model = model.encoder()
        a, b = (encoder.encode(texts, normalize=True, progress=False) for texts in self.texts)
        cosines: Array = (a.astype(np.float64) * b).sum(axis=1)
        return cosines

    def evaluate(self, model: BertPreTrainedModel) -> dict[str, float]:
        """Spearman's and Pearson's correlation of the cosines with the scores."""
        if self.scores is None or not isinstance(model, BertForSentencePairs):
            raise InputError("evaluate: expected pairs with scores, and a model of pairs")
        cosines = self.cosines(model)
        return {name: getattr(metrics, name)(self.scores, cosines) for name in self.metrics}


class PairBatches:
    """A source of batches for the training loop, in the order that default_rng([seed, epoch]) gives.

    ranked     for BertForSentenceRanking: no scores, and no batch has a text twice, which would be right and wrong at
               once. What has no place in an epoch's full batches is left out of it; in another order it is something
               else. Otherwise scores go along, and the last batch of an epoch may be smaller.
    """

    def __init__(self, pairs: Pairs, batch_size: int, *, ranked: bool = False, seed: int = 0) -> None:
        count = len(pairs.examples)
        if batch_size < 1 + ranked:
            raise InputError(f"batch_size: expected at least {1 + ranked}, got {batch_size!r}")
        if seed < 0:
            raise InputError(f"seed: expected at least 0, got {seed!r}")
        if ranked and count < 2:
            raise InputError("examples: expected at least two pairs to be ranked, got one")
        if not ranked and not pairs.has_scores:
            raise InputError("examples: expected a score each, got none", "without scores pairs can be ranked")
        self.pairs, self.batch_size, self.ranked, self.seed = pairs, batch_size, ranked, seed
        self.per_epoch = max(1, count // batch_size) if ranked else -(-count // batch_size)
        whole = json.dumps([pairs.fingerprint, batch_size, ranked, seed])
        self.fingerprint = hashlib.sha256(whole.encode()).hexdigest()
        self._texts = [{ids.tobytes() for ids in pair} for pair in pairs.rows]  # what differs in case may be the same
        self._current: tuple[int, list[list[int]]] | None = None
        if ranked and max(map(len, self._plan(0))) < 2:
            raise InputError("examples: expected pairs that share no text, got one text that is in all of them")

    def batch(self, i: int) -> dict[str, Array]:
        """Batch i, counted over all epochs; depends on i and the arguments only."""
        if i < 0:
            raise InputError(f"batch: expected a number of at least 0, got {i}")
        epoch, at = divmod(i, self.per_epoch)
        current = self._current  # kept for the batches that follow
        if current is None or current[0] != epoch:
            current = self._current = epoch, self._plan(epoch)
        chosen = current[1][at]
        inputs = self.pairs.batch(chosen)
        if not self.ranked:
            assert self.pairs.scores is not None
            inputs["labels"] = self.pairs.scores[chosen]
        return inputs

    def _plan(self, epoch: int) -> list[list[int]]:
        """The pairs of each batch of an epoch."""
        order = np.random.default_rng([self.seed, epoch]).permutation(len(self.pairs.examples)).tolist()
        size = self.batch_size
        if not self.ranked:
            return [order[at : at + size] for at in range(0, len(order), size)]
        batches: list[list[int]] = [[] for _ in range(self.per_epoch)]
        seen: list[set[bytes]] = [set() for _ in batches]
        first = 0  # batch with room
        for i in order:
            while first < len(batches) and len(batches[first]) == size:
                first += 1
            for batch, texts in zip(batches[first:], seen[first:], strict=True):
                if len(batch) < size and not texts & self._texts[i]:
                    batch.append(i)
                    texts |= self._texts[i]
                    break
        return batches


def _score(example: TextExample, i: int) -> float:
    if not isinstance(example.label, int | float):
        raise InputError(f"examples[{i}]: expected a score, got {example.label!r}")
    return float(example.label)
