"""Small models of every class with random weights, and something to feed them."""

import numpy as np

import minibert as mb

SIZES = {
    "vocab_size": 19,
    "hidden_size": 8,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 12,
    "max_position_embeddings": 16,
}
# (class, options of its config): every head with every kind of loss
HEADS = {
    "BertForPreTraining": ("BertForPreTraining", {}),
    "BertForMaskedLM": ("BertForMaskedLM", {}),
    "BertForMaskedLM untied": ("BertForMaskedLM", {"tie_word_embeddings": False}),
    "BertForNextSentencePrediction": ("BertForNextSentencePrediction", {}),
    "BertForSequenceClassification": ("BertForSequenceClassification", {"num_labels": 3}),
    "several labels": (
        "BertForSequenceClassification",
        {"num_labels": 3, "problem_type": "multi_label_classification"},
    ),
    "regression": ("BertForSequenceClassification", {"num_labels": 1}),
    "BertForMultipleChoice": ("BertForMultipleChoice", {}),
    "BertForTokenClassification": ("BertForTokenClassification", {"num_labels": 4}),
    "BertCrfForTokenClassification": ("BertCrfForTokenClassification", {"num_labels": 4}),
    "BertForQuestionAnswering": ("BertForQuestionAnswering", {}),
    "causal": ("BertForTokenClassification", {"num_labels": 4, "is_decoder": True}),
}
CLASSES = ("BertModel", *dict.fromkeys(cls for cls, _ in HEADS.values()))
CHOICES = 2


def model(cls, dtype="float64", scale=0.4, seed=0, **config):
    """Every tensor random, biases and gains too."""
    made = getattr(mb, cls)(mb.BertConfig(**{**SIZES, **config}), dtype=dtype)
    rng = np.random.default_rng(seed)
    for name, array in made.state_dict().items():
        array[...] = scale * rng.standard_normal(array.shape) + name.endswith("LayerNorm.weight")
    return made


def head(key, **options):
    cls, config = HEADS[key]
    return model(cls, **{**config, **options})


def inputs(model, rng, rows=3, length=6, mask=None):
    """(rows, length) ids, segments and mask; (rows, CHOICES, length) for multiple choice."""
    shape = (rows, CHOICES, length) if type(model).__name__ == "BertForMultipleChoice" else (rows, length)
    return {
        "input_ids": rng.integers(0, model.config.vocab_size, shape),
        "attention_mask": np.ones(shape, np.int64) if mask is None else np.broadcast_to(mask, shape),
        "token_type_ids": rng.integers(0, model.config.type_vocab_size, shape),
    }


def labels(model, rng, mask):
    """Labels that fit; on tokens only where the mask has 1."""
    rows, length = mask.shape[0], mask.shape[-1]
    name, classes = type(model).__name__, model.config.num_labels

    def tokens(n):
        return np.where(mask == 1, rng.integers(0, n, mask.shape), -100)

    if name == "BertForPreTraining":
        return {"labels": tokens(model.config.vocab_size), "next_sentence_label": rng.integers(0, 2, rows)}
    if name == "BertForMaskedLM":
        return {"labels": tokens(model.config.vocab_size)}
    if name in ("BertForTokenClassification", "BertCrfForTokenClassification"):
        return {"labels": tokens(classes)}
    if name == "BertForQuestionAnswering":  # the first and the last real token
        return {
            "start_positions": mask.argmax(axis=1),
            "end_positions": length - 1 - mask[:, ::-1].argmax(axis=1),
        }
    if name == "BertForSequenceClassification" and classes == 1:
        return {"labels": rng.standard_normal(rows)}
    if name == "BertForSequenceClassification" and model.config.problem_type == "multi_label_classification":
        return {"labels": rng.integers(0, 2, (rows, classes)).astype(float)}
    return {"labels": rng.integers(0, min(classes, 2), rows)}
