"""Fine-tuning: examples of a task -> batches to train on, predictions and scores.

batches.py          what the tasks share: Examples, tokenised once, and Batches of them for the training loop
classification.py   Texts: a class, a number or several classes for a text or a pair
tagging.py          Sentences: a tag for every word, with a CRF or without
answering.py        Questions: passages of a text
choosing.py         Choices: which of several endings
sentences.py        Pairs of texts for sentence vectors, with scores or ranked within a batch
opening.py          the model to begin with, its own head or a new one

    data = read_table("train.tsv", "sentence")
    model = open_model(BertForSequenceClassification, path, data.labels)
    train, dev = (Texts(each.examples, tokenizer, model.config, data.labels) for each in (data, dev_data))
    Trainer(model, AdamW(model), schedule(5e-5, steps), Batches(train, 32), evaluate=dev.evaluate,
            metric="accuracy", larger=True).train()
"""

from .answering import Questions
from .batches import Batches, Examples
from .choosing import Choices
from .classification import Texts, balanced_weights
from .opening import is_for, open_model, own_labels
from .sentences import SENTENCE_LOSSES, PairBatches, Pairs, open_sentences, positives, scaled
from .tagging import Sentences

__all__ = [
    "SENTENCE_LOSSES",
    "Batches",
    "Choices",
    "Examples",
    "PairBatches",
    "Pairs",
    "Questions",
    "Sentences",
    "Texts",
    "balanced_weights",
    "is_for",
    "open_model",
    "open_sentences",
    "own_labels",
    "positives",
    "scaled",
]
