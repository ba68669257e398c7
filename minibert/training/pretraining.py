"""Batches for pre-training, made as they are asked for: pairs drawn anew every epoch, masks anew every time."""

from __future__ import annotations

import copy
import hashlib
import json
import random
from typing import Any

import numpy as np

from ..errors import InputError, InputTooLong
from ..ops.xp import Array
from ..text.tokenizer import BertTokenizer
from .corpus import Corpus
from .masking import Masking, masking_for
from .pairs import document_pairs, document_segments

__all__ = ["BLOCK", "PretrainingData", "check_options"]

BLOCK = 128  # sentences
_ORDER, _MASKS = 1, 2  # sites of random numbers; the plan has generators of its own
_HELD_OUT_SEED = 0  # whatever the run's seed: runs are compared on the same batches


def check_options(
    tokenizer: BertTokenizer,
    *,
    batch_size: int,
    max_seq_length: int = 128,
    short_seq_prob: float = 0.1,
    next_sentence: bool = True,
    masking: str = "token",
    masked_lm_prob: float = 0.15,
    max_predictions: int | None = None,
    hold_out: float = 0.0,
    seed: int = 0,
) -> Masking:
    """InputError for what `PretrainingData` would refuse, whatever the corpus.    -> its masking"""
    least = 5 if next_sentence else 4  # two tokens and the special ones
    if batch_size < 1:
        raise InputError(f"batch_size: expected at least 1, got {batch_size!r}")
    if max_seq_length < least:
        raise InputError(f"max_seq_length: expected at least {least}, got {max_seq_length!r}")
    if max_seq_length > tokenizer.model_max_length:
        raise InputTooLong(
            f"max_seq_length: expected at most {tokenizer.model_max_length}, the tokenizer's model_max_length, "
            f"got {max_seq_length}"
        )
    if not 0 <= short_seq_prob <= 1:
        raise InputError(f"short_seq_prob: expected a number from 0 to 1, got {short_seq_prob!r}")
    if not 0 <= hold_out < 1:
        raise InputError(f"hold_out: expected a number from 0 to below 1, got {hold_out!r}")
    if seed < 0:
        raise InputError(f"seed: expected at least 0, got {seed!r}")
    return masking_for(tokenizer, masking, masked_lm_prob, max_predictions)


class PretrainingData:
    """A data source for BertForPreTraining, or with next_sentence=False for BertForMaskedLM.

    corpus                   tokenised with this very tokenizer
    batch_size               instances a batch
    max_seq_length           tokens of an instance, special ones included
    short_seq_prob           how often instances are to be shorter, which models must know, too
    next_sentence            pairs by `document_pairs`, or else single segments by `document_segments`
    masking, masked_lm_prob, max_predictions      see `Masking`; None: no bound but the probability
    hold_out                 the part of the corpus that `held_out` gets, at least a block, and this source never sees
    seed                     everything drawn depends on it alone, except for what is held out

    Documents are cut into blocks of 128 sentences, each a document of its own for the pairs: with whole books, of which
    a corpus has few, the one target length drawn for a document would rule a good part of an epoch. So a random B may
    be of the same book. Google draws it for half of the pairs, and for all that have but one sentence: somewhat more
    than half are random. Tokens stay on disk; in memory is the plan of an epoch, 20 bytes an instance (of up to 4
    billion tokens). Which blocks are held out is decided by the hash of their tokens, so neither the order of the files
    nor other text matters, and equal blocks are on the same side.

    batch(i) depends on i and the arguments only. Each epoch has its own pairs in an order of its own, over the whole
    corpus; per_epoch is the number of whole batches in the first. An epoch with fewer pairs starts again from its
    first, one with more is cut. held_out is a source with one epoch, the same whenever it is asked and for every seed;
    its last batch is smaller, so that no instance counts twice. It is None without hold_out.
    """

    def __init__(
        self,
        corpus: Corpus,
        tokenizer: BertTokenizer,
        *,
        batch_size: int,
        max_seq_length: int = 128,
        short_seq_prob: float = 0.1,
        next_sentence: bool = True,
        masking: str = "token",
        masked_lm_prob: float = 0.15,
        max_predictions: int | None = None,
        hold_out: float = 0.0,
        seed: int = 0,
    ) -> None:
        self._masking = check_options(
            tokenizer,
            batch_size=batch_size,
            max_seq_length=max_seq_length,
            short_seq_prob=short_seq_prob,
            next_sentence=next_sentence,
            masking=masking,
            masked_lm_prob=masked_lm_prob,
            max_predictions=max_predictions,
            hold_out=hold_out,
            seed=seed,
        )
        if corpus.tokenizer != tokenizer.fingerprint:
            raise InputError(
                "corpus: expected one tokenised with this tokenizer, got one of another",
                "make it again with Corpus.from_files and this tokenizer",
            )
        self.corpus = corpus
        self.batch_size = batch_size
        self.max_seq_length = max_seq_length
        self.short_seq_prob = short_seq_prob
        self.next_sentence = next_sentence
        self.seed = seed
        self._special = tokenizer.cls_token_id, tokenizer.sep_token_id, tokenizer.pad_token_id or 0
        options = {
            "corpus": corpus.fingerprint,
            "batch_size": batch_size,
            "max_seq_length": max_seq_length,
            "short_seq_prob": short_seq_prob,
            "next_sentence": next_sentence,
            "masking": [masking, masked_lm_prob, max_predictions],
            "hold_out": hold_out,
            "seed": seed,
        }
        blocks = _blocks(corpus)
        aside = _held_out(corpus, blocks, hold_out)
        self.held_out: PretrainingData | None = self._rest(blocks[aside], options) if hold_out else None
        self._settle(blocks[~aside], options, fixed=False)

    def _rest(self, blocks: Array, options: dict[str, Any]) -> PretrainingData:
        """The source of what is held out: this one but for its blocks and its seed."""
        other = copy.copy(self)
        other.seed = _HELD_OUT_SEED
        other.held_out = None
        other._settle(blocks, {**options, "seed": _HELD_OUT_SEED, "side": "held out"}, fixed=True)
        return other

    def _settle(self, blocks: Array, options: dict[str, Any], fixed: bool) -> None:
        """Draws the first epoch's plan, which fixes how long all are."""
        name = "held out" if fixed else "corpus"
        if not len(blocks):
            raise InputError(
                f"hold_out: expected blocks of {BLOCK} sentences on both sides, got none {'' if fixed else 'not '}"
                "held out",
                "the corpus is small: hold out another part, or nothing: hold_out=0, --hold-out 0",
            )
        if self.next_sentence and np.all(np.diff(blocks, axis=1) < 2):
            raise InputError(
                f"{name}: expected documents of two sentences and more, got {len(blocks)} of one each: nothing follows",
                "read it with documents='file' or split_sentences=True, or train with next_sentence=False",
            )
        self._blocks = blocks
        self._fixed = fixed
        self.fingerprint = hashlib.sha256(json.dumps(options, sort_keys=True).encode()).hexdigest()
        self._current: tuple[int, Array] | None = None
        count = len(self._plan(0))
        self.per_epoch = -(-count // self.batch_size) if fixed else max(1, count // self.batch_size)

    # --- plans --------------------------------------------------------------------------------------------------------

    def _plan(self, epoch: int) -> Array:
        """(n, 5): the ranges of A and B in tokens and whether B is random, in the order of the epoch."""
        current = self._current  # another thread may put its own epoch here meanwhile
        if current is None or current[0] != epoch:
            rows = self._drawn(random.Random(f"{self.seed} {epoch}"))
            order = np.random.default_rng([self.seed, _ORDER, epoch]).permutation(len(rows))
            current = self._current = epoch, rows[order]
        return current[1]

    def _drawn(self, rng: random.Random) -> Array:
        borders, blocks = self.corpus.sentences, self._blocks
        options: dict[str, Any] = {"max_seq_length": self.max_seq_length, "short_seq_prob": self.short_seq_prob}
        numbers = (
            number
            for index in range(len(blocks))
            for row in (
                document_pairs(borders, blocks, index, rng, **options)
                if self.next_sentence
                else ((*segment, 0, 0, 0) for segment in document_segments(borders, blocks, index, rng, **options))
            )
            for number in row
        )
        kind = np.min_scalar_type(len(self.corpus.tokens))  # as small as may be: this is what grows with the corpus
        return np.fromiter(numbers, kind).reshape(-1, 5)

    # --- batches ------------------------------------------------------------------------------------------------------

    def batch(self, i: int) -> dict[str, Array]:
        """Batch i, counted over all epochs: input_ids, attention_mask, token_type_ids, labels (B, T) and, with pairs,
        next_sentence_label (B,), 0 = B follows A, 1 = random. int64 all."""
        if i < 0:
            raise InputError(f"batch: expected a number of at least 0, got {i}")
        epoch, at = divmod(i, self.per_epoch)
        if self._fixed:
            epoch, i = 0, at
        plan = self._plan(epoch)
        places = np.arange(at * self.batch_size, (at + 1) * self.batch_size)
        rows = plan[places[places < len(plan)] if self._fixed else places % len(plan)]
        rows = rows.astype(np.int64)
        input_ids, real, second, ordinary = self._gathered(rows)
        rng = np.random.default_rng([self.seed, _MASKS, i])
        input_ids, labels = self._masking(input_ids, ordinary, rng)
        batch = {
            "input_ids": input_ids,
            "attention_mask": real.astype(np.int64),
            "token_type_ids": second.astype(np.int64),
            "labels": labels,
        }
        if self.next_sentence:
            batch["next_sentence_label"] = rows[:, 4].copy()
        return batch

    def _gathered(self, rows: Array) -> tuple[Array, Array, Array, Array]:
        """(B, T) each: ids of [CLS] A [SEP] B [SEP] or [CLS] A [SEP]; no padding; segment B; no special token."""
        cls, sep, pad = self._special
        a_start, a_end, b_start, b_end = (rows[:, column, None] for column in range(4))
        at = np.arange(self.max_seq_length)[None]
        middle = a_end - a_start + 1  # where the first [SEP] stands
        end = middle + (b_end - b_start + 1 if self.next_sentence else 0)  # and the last
        in_a, in_b = (at >= 1) & (at < middle), (at > middle) & (at < end)
        source = np.where(in_a, a_start + at - 1, 0) + np.where(in_b, b_start + at - middle - 1, 0)
        ids = np.full(source.shape, pad, np.int64)
        ordinary = in_a | in_b
        ids[ordinary] = self.corpus.tokens[source[ordinary]]
        ids[:, 0] = cls
        ids[(at == middle) | (at == end)] = sep
        return ids, at <= end, (at > middle) & (at <= end), ordinary


def _blocks(corpus: Corpus) -> Array:
    """(n, 2) the first and one past the last sentence of each block; the last one of a document may be short."""
    first, last = corpus.documents[:-1], corpus.documents[1:]
    counts = -(-(last - first) // BLOCK)
    document = np.repeat(np.arange(len(counts)), counts)
    number = np.arange(len(document)) - np.repeat(np.cumsum(counts) - counts, counts)
    starts = first[document] + number * BLOCK
    return np.stack([starts, np.minimum(starts + BLOCK, last[document])], axis=1)


def _held_out(corpus: Corpus, blocks: Array, part: float) -> Array:
    """(n,) whether a block is held out: where its hash, read as a number from 0 to 1, is below `part`; if it is so
    nowhere, and there are several blocks, where it is lowest of those that pairs can be made of."""
    if not part:
        return np.zeros(len(blocks), bool)
    borders = corpus.sentences[blocks]
    hashes = (
        int.from_bytes(hashlib.blake2b(corpus.tokens[start:end].tobytes(), digest_size=8).digest(), "big")
        for start, end in borders.tolist()
    )
    numbers = np.fromiter(hashes, np.uint64, len(blocks))
    aside: Array = numbers < np.uint64(part * 2**64)
    if aside.any() or len(blocks) < 2:
        return aside
    pairs: Array = blocks[:, 1] - blocks[:, 0] > 1
    return pairs & (numbers == numbers[pairs].min(initial=np.iinfo(np.uint64).max))
