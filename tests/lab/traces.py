"""Small models of every class with inputs for them, to be traced."""

import dataclasses
import functools

import numpy as np

from minibert.lab.check import TINY, scale_weights, specimen
from minibert.lab.trace import Trace
from minibert.models.crf import BertCrfForTokenClassification
from minibert.models.encoder import BertEncoder, BertModel
from minibert.models.finetuning import (
    BertForMultipleChoice,
    BertForQuestionAnswering,
    BertForSequenceClassification,
    BertForTokenClassification,
)
from minibert.models.pretraining import BertForMaskedLM, BertForNextSentencePrediction, BertForPreTraining
from minibert.models.sentences import BertForSentencePairs, BertForSentenceRanking

IDS = np.array([[3, 8, 5, 8, 1, 40]])
ONE_CLASS = {"id2label": {0: "score"}, "label2id": {"score": 0}, "num_labels": 1}


def weighted_tags(config, dtype):
    model = BertForTokenClassification(config, dtype=dtype)
    model.set_loss_options(class_weights=[0.5, 2.0], label_smoothing=0.1)
    return model


def pairs_by_first_token(config, dtype):
    model = BertForSentencePairs(config, dtype=dtype)
    model.set_pooling("cls")
    return model


def symmetric_ranking(config, dtype):
    model = BertForSentenceRanking(config, dtype=dtype)
    model.set_ranking(scale=5.0, symmetric=True)
    return model


CASES = {
    "pre-training": (BertForPreTraining, {}, None),
    "untied, tanh GELU": (BertForPreTraining, {"tie_word_embeddings": False, "hidden_act": "gelu_new"}, None),
    "causal, SiLU": (BertForPreTraining, {"is_decoder": True, "hidden_act": "silu"}, None),
    "encoder and pooler, ReLU": (BertModel, {"hidden_act": "relu"}, None),
    "encoder, tanh": (BertEncoder, {"hidden_act": "tanh"}, None),
    "masked LM": (BertForMaskedLM, {}, {"labels": [[-100, 8, -100, 2, -100, -100]]}),
    "next sentence": (BertForNextSentencePrediction, {}, {"labels": [1]}),
    "classes": (BertForSequenceClassification, {}, {"labels": [1]}),
    "regression": (BertForSequenceClassification, ONE_CLASS, {"labels": [0.3]}),
    "several labels": (BertForSequenceClassification, {}, {"labels": [[0.3, 1.0]]}),
    "tags": (BertForTokenClassification, {}, {"labels": [[-100, 1, 0, 0, 1, -100]]}),
    "tags on a path": (BertCrfForTokenClassification, {}, {"labels": [[-100, 1, -100, 0, 1, -100]]}),
    "weighted tags": (weighted_tags, {}, {"labels": [[-100, 1, 0, 0, 1, -100]]}),
    "spans": (BertForQuestionAnswering, {}, {"start_positions": [2], "end_positions": [4]}),
    "pairs of texts": (BertForSentencePairs, {}, None),
    "pairs, first token": (pairs_by_first_token, {}, None),
    "ranking": (BertForSentenceRanking, {}, None),
    "symmetric ranking": (symmetric_ranking, {}, None),
    "choices": (BertForMultipleChoice, {}, {"labels": [1]}),
}


@functools.cache
def traced(case, dropout_seed=None, std=0.15):
    """A trace of a two-layer model; batches of three uneven texts where the labels leave a choice."""
    cls, config, labels = CASES[case]
    model = cls(dataclasses.replace(TINY, **config), dtype="float64")
    scale_weights(model, std)
    if labels is None:
        return Trace(model, specimen(model), dropout_seed)
    ids = np.stack([IDS, IDS + 1, IDS + 2], axis=1) if cls is BertForMultipleChoice else IDS
    return Trace(model, model.prepare(ids, **labels), dropout_seed)
