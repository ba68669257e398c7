"""Metrics: plain functions of labels and predictions, arrays or lists. The labels come first, always.

classification.py   accuracy, precision, recall, F1, Matthews; several classes an example
correlation.py      Pearson, Spearman
entities.py         named entities from BIO tags
squad.py            answers, SQuAD 1.1 and 2.0
language_model.py   masked tokens, next sentence
"""

from .classification import accuracy, matthews, multi_label_scores, precision_recall_f1
from .correlation import pearson, spearman
from .entities import Entity, entities_of, entity_scores, entity_scores_by_type
from .language_model import MaskedScores, masked_correct, masked_scores, next_sentence_accuracy
from .scores import Scores
from .squad import evaluate_v1, evaluate_v2, exact_match, normalize_answer, overlap_f1

__all__ = [
    "Entity",
    "MaskedScores",
    "Scores",
    "accuracy",
    "entities_of",
    "entity_scores",
    "entity_scores_by_type",
    "evaluate_v1",
    "evaluate_v2",
    "exact_match",
    "masked_correct",
    "masked_scores",
    "matthews",
    "multi_label_scores",
    "next_sentence_accuracy",
    "normalize_answer",
    "overlap_f1",
    "pearson",
    "precision_recall_f1",
    "spearman",
]
