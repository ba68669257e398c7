"""Words for [MASK]: what BERT was trained to say."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..errors import InputError
from ..formats.files import quote
from ..models.pretraining import BertForMaskedLM
from ..ops import softmax
from ..ops.xp import Array
from ..text.tokenizer import BertTokenizer
from .batches import Row, batches_of, inputs_of
from .task import Options, Task, check_whole

Prediction = dict[str, Any]

MASK_COST = 64
"""Tokens that a mask counts for when batches are made: its row of the vocabulary takes that much memory and more."""


@dataclass(frozen=True)
class FillMaskOptions(Options):
    """top_k    guesses a mask, or a text if they are joint
    targets  choose among these words only; scores remain shares of the whole vocabulary
    joint    fill all masks of a text together
    beams    of joint guesses: how many beginnings are followed, top_k at least
    """

    top_k: int = 5
    targets: Sequence[str] | None = None
    joint: bool = False
    beams: int = 10

    def __post_init__(self) -> None:
        super().__post_init__()
        check_whole("top_k", self.top_k)
        check_whole("beams", self.beams)
        if isinstance(self.targets, str):
            raise InputError(f"targets: expected a list of words, got the string {quote(self.targets)}")


class FillMask(Task):
    """Text -> the most probable words for its masks: [{"score", "token", "token_str", "sequence"}], best first.

    Several masks give such a list each, every mask on its own, the others staying masked: Hugging Face's pipeline does
    that, and the best words need not fit together. With joint=True there is one list, in which token and token_str are
    lists with a word for every mask, and score is their joint probability, masks filled from left to right:

        P(w₁, ..., wₙ) = Π P(wᵢ | the text, w₁, ..., wᵢ₋₁, the other masks still masked)

    found by a beam search, so that a better filling may be missed whose beginning is not among the `beams` best. BERT's
    conditionals belong to no one joint distribution, so another order of the masks gives other numbers.

    Only the masked places go through the vocabulary-sized head. A list of texts always gives a list of results, where
    Hugging Face's pipeline unwraps a list of one. A target that is not one word of the vocabulary is an InputError,
    where the original takes its first piece.
    """

    model: BertForMaskedLM
    needs = BertForMaskedLM
    options_class = FillMaskOptions

    def _results(self, items: Sequence[str], settings: FillMaskOptions) -> list[Any]:
        if self.tokenizer.mask_token_id is None:
            raise InputError("tokenizer: its vocabulary has no mask token", "name one with mask_token=… when loading")
        allowed = None if settings.targets is None else _target_ids(self.tokenizer, settings.targets)
        rows = self._rows(items, truncation=False, hint="take a passage around the masks")
        places = [np.flatnonzero(np.asarray(row.ids) == self.tokenizer.mask_token_id).tolist() for row in rows]
        for text, masks in zip(items, places, strict=True):
            if not masks:
                mask = self.tokenizer.mask_token
                raise InputError(f"no {mask} in {quote(text)}", f"write {mask} for the missing word")
        if settings.joint:
            return [self._jointly(*each, allowed, settings) for each in zip(rows, places, strict=True)]
        results: list[Any] = [None] * len(rows)
        costs = [len(row.ids) + MASK_COST * len(masks) for row, masks in zip(rows, places, strict=True)]
        for batch in batches_of(costs, self._room(settings)):
            probs = iter(softmax(self._logits([rows[i] for i in batch]))[0])
            for i in batch:
                found = [self._guesses(rows[i], place, next(probs), allowed, settings.top_k) for place in places[i]]
                results[i] = found[0] if len(found) == 1 else found
        return results

    def _logits(self, rows: list[Row], place: int | None = None) -> Array:
        """Of all masks of the rows, or of the one at `place` in each."""
        inputs = inputs_of(rows)
        where = inputs["input_ids"] == self.tokenizer.mask_token_id
        if place is not None:
            where[:, np.arange(where.shape[1]) != place] = False
        return self.model.logits_at(where, **inputs)

    def _guesses(self, row: Row, place: int, probs: Array, allowed: Array | None, top_k: int) -> list[Prediction]:
        candidates = np.arange(len(probs)) if allowed is None else allowed
        best = candidates[_best(probs[candidates], top_k)].tolist()
        return [
            {
                "score": float(probs[token]),
                "token": token,
                "token_str": self.tokenizer.decode([token]),
                "sequence": self._sequence(row.ids, [(place, token)]),
            }
            for token in best
        ]

    def _jointly(
        self, row: Row, places: list[int], allowed: Array | None, settings: FillMaskOptions
    ) -> list[Prediction]:
        """The best fillings of all masks together, by a beam search from left to right."""
        width = max(settings.beams, settings.top_k)
        beams: list[tuple[float, list[int]]] = [(0.0, [])]  # log-probability, words so far
        for place in places:
            filled = []
            for _, words in beams:
                ids = list(row.ids)
                for place_before, word in zip(places, words, strict=False):
                    ids[place_before] = word
                filled.append(row._replace(ids=ids))
            logits = np.concatenate(list(self._in_parts(filled, place, settings))).astype(np.float64)
            candidates = np.arange(logits.shape[1]) if allowed is None else allowed
            totals = _log_softmax(logits)[:, candidates] + np.array([score for score, _ in beams])[:, None]
            best = _best(totals.ravel(), width).tolist()
            origins = [divmod(i, len(candidates)) for i in best]
            beams = [(float(totals[b, c]), [*beams[b][1], int(candidates[c])]) for b, c in origins]
        return [
            {
                "score": float(np.exp(score)),
                "token": words,
                "token_str": [self.tokenizer.decode([word]) for word in words],
                "sequence": self._sequence(row.ids, list(zip(places, words, strict=True))),
            }
            for score, words in beams[: settings.top_k]
        ]

    def _in_parts(self, rows: list[Row], place: int, settings: FillMaskOptions) -> Iterator[Array]:
        """Logits (n, V) at the place, so many rows of one length at a time as a batch has room for, in order."""
        number = max(1, self._room(settings) // (len(rows[0].ids) + MASK_COST))
        for start in range(0, len(rows), number):
            yield self._logits(rows[start : start + number], place)

    def _sequence(self, ids: Sequence[int], words: list[tuple[int, int]]) -> str:
        filled = list(ids)
        for place, token in words:
            filled[place] = token
        special = (self.tokenizer.cls_token_id, self.tokenizer.sep_token_id)
        return str(self.tokenizer.decode([int(i) for i in filled if i not in special]))


def fill_mask(
    model: BertForMaskedLM,
    tokenizer: BertTokenizer,
    text: str,
    top_k: int = 5,
    targets: Sequence[str] | None = None,
) -> list[Any]:
    """The most probable words for every mask in a text, each mask on its own: `FillMask` for one text.

    -> for one mask a list of {"score", "token", "token_str", "sequence"}, best first; for several masks one such list
    each. score is the probability among the whole vocabulary, even if `targets` restricts the answers to some words of
    it. Only the masked places go through the vocabulary-sized head.
    Raises InputError if there is no mask, or a target is not one word of the vocabulary; InputTooLong.
    """
    if not isinstance(text, str):
        raise InputError(f"text: expected a string, got {type(text).__name__}")
    found: list[Any] = FillMask(model, tokenizer, top_k=top_k, targets=targets)(text)
    return found


def _log_softmax(logits: Array) -> Array:
    shifted = logits - logits.max(axis=-1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))


def _best(scores: Any, number: int) -> Any:
    """Places of the highest scores, of equal ones the first; NaN comes last. Sorting a vocabulary takes 50 times as
    long as finding the lowest score that is wanted."""
    costs = -scores
    last = min(number, len(costs)) - 1
    wanted = np.flatnonzero(~(costs > np.partition(costs, last)[last]))
    return wanted[np.argsort(costs[wanted], kind="stable")[:number]]


def _target_ids(tokenizer: BertTokenizer, targets: Sequence[str]) -> Any:
    ids = []
    for target in targets:
        found = tokenizer.encode(target, add_special_tokens=False)
        if len(found) != 1 or found[0] == tokenizer.unk_token_id:
            pieces = ", ".join(tokenizer.tokenize(target)) or "nothing"
            raise InputError(f"target {quote(target)} is not one word of the vocabulary, but {pieces}")
        ids += found
    if not ids:
        raise InputError("targets: expected at least one word")
    return np.array(sorted(set(ids)))
