"""Fine-tuning: examples of a task -> batches to train on, predictions and scores.

sentences.py        Pairs of texts for sentence vectors, with scores or ranked within a batch
"""

from .sentences import SENTENCE_LOSSES, PairBatches, Pairs, open_sentences, positives, scaled

__all__ = ["SENTENCE_LOSSES", "PairBatches", "Pairs", "open_sentences", "positives", "scaled"]
