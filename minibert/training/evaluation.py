"""How well a model does on held-out text."""

from __future__ import annotations

import numpy as np

from ..models.base import BertPreTrainedModel
from ..models.parameters import Keep
from ..ops.losses import IGNORE_INDEX
from .loop import Data
from .metrics.language_model import masked_correct, masked_scores


def evaluate_pretraining(model: BertPreTrainedModel, data: Data) -> dict[str, float]:
    """Masked LM and, where the model has it, next-sentence prediction on the batches of an epoch.

    -> loss, the mean over hidden tokens; perplexity; accuracy; next_sentence_accuracy
    """
    total, right, hidden, following, pairs = 0.0, 0, 0, 0, 0
    for i in range(data.per_epoch):
        prepared = model.prepare(**data.batch(i))
        _, logits = model.loss_at(model.parameters, prepared, Keep())
        labels = prepared.labels["labels"][prepared.labels["labels"] != IGNORE_INDEX]
        words = logits["prediction_logits" if "prediction_logits" in logits else "logits"]
        loss, _ = model.ops.cross_entropy(words, labels)
        correct, count = masked_correct(labels, words.argmax(axis=1))
        total, right, hidden = total + float(loss) * count, right + correct, hidden + count
        if "seq_relationship_logits" in logits:
            answers = logits["seq_relationship_logits"].argmax(axis=1)
            correct, count = masked_correct(prepared.labels["next_sentence_label"], answers)
            following, pairs = following + correct, pairs + count
    scores = masked_scores(total, right, hidden)._asdict()
    return {**scores, "next_sentence_accuracy": following / pairs} if pairs else scores


def evaluate_unigram(data: Data, held_out: Data, vocab_size: int) -> dict[str, float]:
    """The best that can be said without reading: the frequencies of hidden tokens, counted in an epoch of `data`.

    Every piece is counted once more than it was seen (Laplace), so none is impossible. -> loss, perplexity, accuracy
    """
    counts = np.ones(vocab_size)
    for i in range(data.per_epoch):
        labels = data.batch(i)["labels"]
        counts += np.bincount(labels[labels != IGNORE_INDEX], minlength=vocab_size)
    costs, best = -np.log(counts / counts.sum()), int(counts.argmax())
    total, right, hidden = 0.0, 0, 0
    for i in range(held_out.per_epoch):
        labels = held_out.batch(i)["labels"]
        labels = labels[labels != IGNORE_INDEX]
        total += float(costs[labels].sum())
        right, hidden = right + int((labels == best).sum()), hidden + labels.size
    return masked_scores(total, right, hidden)._asdict()
