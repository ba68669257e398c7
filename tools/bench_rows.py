"""The rows of `bench.py cpu`: what is measured, how much work it is, and the inputs, the same for everybody."""

import os
from typing import NamedTuple

CORES = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
OURS = "minibert"
TOLERANCE = 1e-4  # of every side's float32 result against minibert's; measured at most 5.5e-6
SENTENCE = "The weather is lovely today."
SHORTEST, LONGEST, BUCKET = 8, 256, 8  # of the uneven texts, and how many of a length peers take at once
MASK = 103  # [MASK] of bert-base-uncased
LABELLED = 0.15  # share of the places of which the masked-LM loss is computed
LEARNING_RATE, DECAY, CLIP = 1e-4, 0.01, 1.0
SIZES = {
    "base": {},  # BertConfig's defaults
    "small": {
        "num_hidden_layers": 4,
        "hidden_size": 256,
        "num_attention_heads": 4,
        "intermediate_size": 1024,
    },
}


class Row(NamedTuple):
    kind: str
    title: str
    batch: int = 0
    length: int = 0
    repeats: int = 3
    model: str = "base"
    rounds: int = 3


ROWS = {
    "8x128": Row("dense", "BERT-base forward, 8 × 128 tokens", 8, 128),
    "4x512": Row("dense", "BERT-base forward, 4 × 512 tokens", 4, 512, 2),
    "1x128": Row("dense", "BERT-base forward, 1 × 128 tokens", 1, 128, 8),
    "1x16": Row("dense", "BERT-base forward, 1 × 16 tokens", 1, 16, 25),
    "encode": Row("encode", "256 sentences to vectors, MiniLM", 256),
    "uneven": Row("uneven", f"BERT-base, 32 texts of {SHORTEST} to {LONGEST} tokens", 32, LONGEST, rounds=2),
    "fillmask": Row("fillmask", "one [MASK] in 128 tokens, BERT-base", 1, 128, 8),
    "train": Row("train", "training step, BERT-base, 8 × 128 tokens", 8, 128, 2),
    "train-small": Row("train", "training step, 4 layers × 256, 32 × 128 tokens", 32, 128, 3, "small"),
    "embed": Row("embed", "from the prompt: one sentence to a vector", 1, repeats=1),
}


def size_of(model):
    """layers, hidden, intermediate, words"""
    given = SIZES[model]
    return (
        given.get("num_hidden_layers", 12),
        given.get("hidden_size", 768),
        given.get("intermediate_size", 3072),
        30522,
    )


def flops(row):
    """Multiplications and additions of the matrix products alone; 0 where the row has no fixed number of tokens.

    Forward, a token: L (8 h² + 4 h I + 4 h s). Training: three times that, with the head on the labelled rows.
    """
    layers, h, intermediate, words = size_of(row.model)
    forward = row.batch * row.length * layers * (8 * h * h + 4 * h * intermediate + 4 * h * row.length)
    if row.kind == "dense":
        return forward
    if row.kind == "train":
        return 3 * (forward + labelled(row) * (2 * h * words + 2 * h * h))
    return 0


def labelled(row):
    return round(LABELLED * row.length) * row.batch


# ---- inputs ----------------------------------------------------------------------------------------------------------


def random_ids(row):
    import numpy as np

    return np.random.default_rng(0).integers(1000, 30522, (row.batch, row.length))


def labelled_ids(row):
    """ids and labels of a masked-LM step: [MASK] at 15 % of the places of every text, -100 at the others."""
    import numpy as np

    ids, labels = random_ids(row), np.full((row.batch, row.length), -100)
    rng = np.random.default_rng(1)
    for text, label in zip(ids, labels, strict=True):
        places = rng.choice(row.length, round(LABELLED * row.length), replace=False)
        label[places] = text[places]
        text[places] = MASK
    return ids, labels


def masked_ids(row):
    ids = random_ids(row)
    place = row.length // 2
    ids[0, place] = MASK
    return ids, place


def uneven_texts(row):
    """Ids of texts whose lengths are spread evenly on a logarithmic scale, in a random order: most are short."""
    import numpy as np

    spread = np.arange(row.batch) / (row.batch - 1)
    lengths = np.rint(SHORTEST * (row.length / SHORTEST) ** spread).astype(int)
    rng = np.random.default_rng(0)
    return [rng.integers(1000, 30522, n) for n in rng.permutation(lengths)]


def padded(texts):
    """-> ids and attention_mask, (B, length of the longest)"""
    import numpy as np

    ids = np.zeros((len(texts), max(map(len, texts))), dtype=np.int64)
    mask = np.zeros_like(ids)
    for i, text in enumerate(texts):
        ids[i, : len(text)] = text
        mask[i, : len(text)] = 1
    return ids, mask


def by_length(texts, size):
    """Indices of the texts, longest first, in batches."""
    order = sorted(range(len(texts)), key=lambda i: -len(texts[i]))
    return [order[i : i + size] for i in range(0, len(order), size)]
