"""Which tokens are hidden, drawn anew for every batch: single tokens, whole words, or spans of words.

Of each row's tokens 15 % are chosen. Of these 80 % become [MASK], 10 % a random token, and 10 % stay as they are, but
are asked for like the others (Devlin et al. 2019, §3.1). Rows are worked on together; the same generator gives the
same masks.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..errors import InputError
from ..ops.losses import IGNORE_INDEX
from ..ops.xp import Array

__all__ = ["KINDS", "Masking"]

KINDS = ("token", "whole-word", "span")

_SPAN_P, _SPAN_MAX = 0.2, 10  # of the geometric distribution of the words in a span (Joshi et al. 2020, §3.1)


class Masking:
    """The rule by which tokens are chosen and hidden.

    kind: "token"; "whole-word", all pieces of a word or none; "span", neighbouring words, as many as a geometric
    distribution says (p = 0.2, cut at 10), whose tokens are hidden, replaced or kept together (SpanBERT).
    mask_id: [MASK]. vocabulary (V,): the ids that random tokens are drawn from. continues (any size): by id, whether a
    piece continues a word, as ##s does. prob: the part of a row that is chosen, special tokens counted in its length
    as in the original, but never fewer than one token nor more than max_predictions.
    """

    def __init__(
        self,
        kind: str,
        *,
        mask_id: int,
        vocabulary: Array,
        continues: Array,
        prob: float = 0.15,
        max_predictions: int | None = None,
    ) -> None:
        if kind not in KINDS:
            raise InputError(f"masking: expected one of {', '.join(KINDS)}, got {kind!r}")
        if not 0 < prob <= 1:
            raise InputError(f"masked_lm_prob: expected a number above 0 and up to 1, got {prob!r}")
        if max_predictions is not None and max_predictions < 1:
            raise InputError(f"max_predictions: expected at least 1, got {max_predictions!r}")
        self.kind = kind
        self.mask_id = mask_id
        self.vocabulary = vocabulary
        self.continues = continues
        self.prob = prob
        self.max_predictions = max_predictions

    def __call__(self, input_ids: Array, ordinary: Array, rng: np.random.Generator) -> tuple[Array, Array]:
        """input_ids (B, T); ordinary (B, T), where no special token nor padding stands; -> input_ids, labels (B, T).

        Labels are the chosen tokens' ids, -100 elsewhere.
        """
        fates = rng.random(input_ids.shape)
        numbers = self._numbers(ordinary)
        if self.kind == "token":
            chosen = _first(_keys(ordinary, rng), numbers)
        elif self.kind == "whole-word":
            chosen = _words(self._starts(input_ids, ordinary), ordinary, numbers, rng)
        else:
            chosen, spans = _spans(self._starts(input_ids, ordinary), ordinary, numbers, rng)
            fates = np.take_along_axis(fates, spans, axis=1)  # one for all tokens of a span
        labels = np.where(chosen, input_ids, IGNORE_INDEX)
        hidden = np.where(chosen & (fates < 0.8), self.mask_id, input_ids)
        replaced = chosen & (fates >= 0.9)
        hidden[replaced] = rng.choice(self.vocabulary, np.count_nonzero(replaced))
        return hidden, labels

    def _numbers(self, ordinary: Array) -> Array:
        """(B,) how many tokens of each row are chosen."""
        count = ordinary.sum(axis=1)
        special = np.where((ordinary[:, 1:] & ~ordinary[:, :-1]).sum(axis=1) > 1, 3, 2)  # around a pair, or one segment
        numbers = np.maximum(np.rint((count + special) * self.prob), 1).astype(np.int64)
        most = count if self.max_predictions is None else np.minimum(count, self.max_predictions)
        return np.minimum(numbers, most)

    def _starts(self, input_ids: Array, ordinary: Array) -> Array:
        """(B, T) where a word begins: at a piece that continues none, and after a special token."""
        after = np.zeros_like(ordinary)
        after[:, 1:] = ordinary[:, :-1]
        return ordinary & ~(self.continues[input_ids] & after)


def _keys(ordinary: Array, rng: np.random.Generator) -> Array:
    """(B, T) random numbers that order the tokens, those that may not be chosen last."""
    return np.where(ordinary, rng.random(ordinary.shape), np.inf)


def _first(keys: Array, numbers: Array) -> Array:
    """(B, T) whether a key is among the `numbers` smallest of its row."""
    ranks = np.argsort(np.argsort(keys, axis=1), axis=1)
    return np.asarray(ranks < numbers[:, None])


def _words(starts: Array, ordinary: Array, numbers: Array, rng: np.random.Generator) -> Array:
    """Words in random order, those passed over that would exceed the number, as the original does."""
    rows, size = starts.shape
    word = np.where(ordinary, np.cumsum(starts, axis=1), 0)  # 0: special tokens and padding
    sizes = np.zeros((rows, size + 1), np.int64)
    np.add.at(sizes, (np.arange(rows)[:, None], word), ordinary)
    keys = np.where(sizes > 0, rng.random(sizes.shape), np.inf)
    order = np.argsort(keys, axis=1)
    lengths = np.take_along_axis(sizes, order, axis=1)
    taken = np.zeros(rows, np.int64)
    takes = np.zeros(sizes.shape, bool)
    for at in range(int((sizes > 0).sum(axis=1).max(initial=0))):
        fits = (lengths[:, at] > 0) & (taken + lengths[:, at] <= numbers)
        takes[np.arange(rows), order[:, at]] = fits
        taken += np.where(fits, lengths[:, at], 0)
        if np.array_equal(taken, numbers):
            break
    chosen = np.take_along_axis(takes, word, axis=1)
    if (left := (taken == 0) & (numbers > 0)).any():  # each word is longer than the number: pieces of the first then
        inside = (word == order[:, :1]) & left[:, None]
        chosen |= inside & (np.cumsum(inside, axis=1) <= numbers[:, None])
    return chosen


def _spans(starts: Array, ordinary: Array, numbers: Array, rng: np.random.Generator) -> tuple[Array, Array]:
    """The chosen tokens, and for each the place its span began at. The last span is cut where the number is reached."""
    rows, size = starts.shape
    places = np.arange(size)
    word = np.cumsum(starts, axis=1)
    segment = np.cumsum(~ordinary, axis=1)  # a span crosses no special token
    probabilities = (1 - _SPAN_P) ** np.arange(_SPAN_MAX)
    probabilities /= probabilities.sum()
    chosen = np.zeros(starts.shape, bool)
    spans = np.broadcast_to(places, starts.shape).copy()
    missing = numbers.copy()
    while missing.any():
        anchor = np.argmin(_keys(ordinary & ~chosen, rng), axis=1)[:, None]
        words = rng.choice(_SPAN_MAX, size=(rows, 1), p=probabilities)  # beyond the anchor's
        first = np.take_along_axis(word, anchor, axis=1)
        new = ordinary & ~chosen & (word >= first) & (word <= first + words)
        new &= segment == np.take_along_axis(segment, anchor, axis=1)
        new &= np.cumsum(new, axis=1) <= missing[:, None]
        spans = np.where(new, np.argmax(new, axis=1)[:, None], spans)
        chosen |= new
        missing -= new.sum(axis=1)
    return chosen, spans


def masking_for(tokenizer: Any, kind: str, prob: float, max_predictions: int | None) -> Masking:
    """The masking with a tokenizer's [MASK], vocabulary and mark of pieces; InputError if it has no [MASK]."""
    if tokenizer.mask_token_id is None:
        raise InputError(
            "tokenizer: expected a mask token in the vocabulary, got none",
            "put [MASK] into vocab.txt, or name the vocabulary's own with mask_token=…",
        )
    vocab = tokenizer.get_vocab()
    prefix = tokenizer.continuing_subword_prefix
    continues = np.zeros(max(vocab.values()) + 1, bool)
    continues[[number for piece, number in vocab.items() if piece.startswith(prefix)]] = True
    return Masking(
        kind,
        mask_id=tokenizer.mask_token_id,
        vocabulary=np.sort(np.fromiter(vocab.values(), np.int64, len(vocab))),
        continues=continues,
        prob=prob,
        max_predictions=max_predictions,
    )
