"""A language of arithmetic for tests of training: small enough to be learned in seconds, and never the same twice."""

import hashlib

import numpy as np

from minibert import BertConfig, BertForPreTraining

CONFIG = BertConfig(
    vocab_size=12, hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32,
    max_position_embeddings=16, hidden_dropout_prob=0.1, attention_probs_dropout_prob=0.1,
)  # fmt: skip
PAD, CLS, SEP, MASK, FIRST = 0, 1, 2, 3, 4


class ToyData:
    """Pairs of arithmetic progressions: of the second, whether it goes on where the first ended."""

    per_epoch = 50

    def __init__(self, seed=0, batch_size=4, per_epoch=50):
        self.seed, self.batch_size, self.per_epoch = seed, batch_size, per_epoch
        self.fingerprint = hashlib.sha256(f"{seed} {batch_size} {per_epoch}".encode()).hexdigest()

    def batch(self, i):
        rng = np.random.default_rng([self.seed, i])
        size, words = self.batch_size, CONFIG.vocab_size - FIRST
        lengths = rng.integers(3, 7, (size, 2))
        starts, steps = rng.integers(0, words, (size, 2)), np.ones(size, int)
        apart = rng.integers(0, 2, size)
        ids, segments = np.zeros((2, size, 16), int)
        mask = np.zeros((size, 16), int)
        for n in range(size):
            first, second = lengths[n]
            a = starts[n, 0] + steps[n] * np.arange(first)
            b = (starts[n, 1] if apart[n] else a[-1] + steps[n]) + steps[n] * np.arange(second)
            row = [CLS, *(a % words + FIRST), SEP, *(b % words + FIRST), SEP]
            ids[n, : len(row)], mask[n, : len(row)], segments[n, first + 2 : len(row)] = row, 1, 1
        hidden = (rng.random(ids.shape) < 0.2) & (ids >= FIRST)
        hidden[:, 1] = True  # at least one
        return {
            "input_ids": np.where(hidden, MASK, ids),
            "attention_mask": mask,
            "token_type_ids": segments,
            "labels": np.where(hidden, ids, -100),
            "next_sentence_label": apart,
        }


def toy_model(seed=0, dtype="float32", engine="reference"):
    return BertForPreTraining(CONFIG, seed=seed, dtype=dtype, engine=engine)
