"""Words for [MASK]: what BERT was trained to say."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..errors import InputError
from ..formats.files import quote
from ..models.pretraining import BertForMaskedLM
from ..ops import softmax
from ..text.tokenizer import BertTokenizer
from .vocabulary import check_vocabulary

Prediction = dict[str, Any]


def fill_mask(
    model: BertForMaskedLM,
    tokenizer: BertTokenizer,
    text: str,
    top_k: int = 5,
    targets: Sequence[str] | None = None,
) -> list[Any]:
    """The most probable words for every mask in a text, each mask on its own.

    -> for one mask a list of {"score", "token", "token_str", "sequence"}, best first; for several masks one such list
    each. score is the probability among the whole vocabulary, even if `targets` restricts the answers to some words of
    it. Only the masked places go through the vocabulary-sized head.
    Raises InputError if there is no mask, or a target is not one word of the vocabulary; InputTooLong.
    """
    if not isinstance(top_k, int) or top_k < 1:
        raise InputError(f"top_k: expected a positive integer, got {top_k!r}")
    if not isinstance(model, BertForMaskedLM):
        raise InputError(f"model: expected a BertForMaskedLM, got {type(model).__name__}")
    if not isinstance(text, str):
        raise InputError(f"text: expected a string, got {type(text).__name__}")
    if isinstance(targets, str):
        raise InputError(f"targets: expected a list of words, got the string {quote(targets)}")
    check_vocabulary(tokenizer, model.config)
    inputs = tokenizer(text, return_tensors="np")
    ids = inputs["input_ids"]
    where = ids == tokenizer.mask_token_id
    if not where.any():
        raise InputError(
            f"no {tokenizer.mask_token} in {quote(text)}", f"write {tokenizer.mask_token} for the missing word"
        )
    allowed = None if targets is None else _target_ids(tokenizer, targets)
    probs, _ = softmax(model.logits_at(where, **inputs))
    results = []
    for place, row in zip(np.flatnonzero(where).tolist(), probs, strict=True):
        candidates = np.arange(len(row)) if allowed is None else allowed
        best = candidates[_best(row[candidates], top_k)]
        results.append([_prediction(tokenizer, ids[0], place, int(token), float(row[token])) for token in best])
    return results[0] if len(results) == 1 else results


def _best(scores: Any, number: int) -> Any:
    """Places of the highest scores, of equal ones the first; NaN comes last. Sorting a vocabulary takes 50 times as
    long as finding the lowest score that is wanted."""
    costs = -scores
    last = min(number, len(costs)) - 1
    wanted = np.flatnonzero(~(costs > np.partition(costs, last)[last]))
    return wanted[np.argsort(costs[wanted], kind="stable")[:number]]


def _prediction(tokenizer: BertTokenizer, ids: Any, place: int, token: int, score: float) -> Prediction:
    filled = ids.copy()
    filled[place] = token
    keep = [i for i in filled.tolist() if i not in (tokenizer.cls_token_id, tokenizer.sep_token_id)]
    return {
        "score": score,
        "token": token,
        "token_str": tokenizer.decode([token]),
        "sequence": tokenizer.decode(keep),
    }


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
