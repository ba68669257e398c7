"""A tiny configuration, and for every class inputs with padding and labels: what engines are compared on."""

import numpy as np

import minibert as mb

CONFIG = mb.BertConfig(
    vocab_size=50, hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=24,
    max_position_embeddings=20, num_labels=3,
)  # fmt: skip
RNG = np.random.default_rng(0)
IDS = RNG.integers(0, 50, (4, 9))
MASK = np.ones((4, 9), int)
MASK[1, 5:] = MASK[2, 3:5] = 0
HIDDEN = np.where((RNG.random((4, 9)) < 0.4) & (MASK == 1), IDS, -100)
TAGS = np.where(MASK == 1, IDS % 3, -100)
LABELS = {
    "BertModel": {},
    "BertForPreTraining": {"labels": HIDDEN, "next_sentence_label": [0, 1, 1, 0]},
    "BertForMaskedLM": {"labels": HIDDEN},
    "BertForNextSentencePrediction": {"labels": [0, 1, 1, 0]},
    "BertForSequenceClassification": {"labels": [0, 1, 2, 0]},
    "BertForMultipleChoice": {"labels": [0, 1]},
    "BertForTokenClassification": {"labels": TAGS},
    "BertCrfForTokenClassification": {"labels": TAGS},
    "BertForQuestionAnswering": {"start_positions": [1, 2, 0, 4], "end_positions": [2, 3, 1, 4]},
    "BertForSentencePairs": {"labels": [0.1, 0.9]},
    "BertForSentenceRanking": {},
}
LEARNT = [name for name in LABELS if name != "BertModel"]


def inputs(name):
    """The four texts, or for classes that read several at once, two times two."""
    shape = (2, 2, 9) if name.startswith(("BertForSentence", "BertForMultiple")) else (4, 9)
    return {"input_ids": IDS.reshape(shape), "attention_mask": MASK.reshape(shape)}
