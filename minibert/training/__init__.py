"""Training: what happens to a model's parameters between two batches, and what goes in and comes out around it.

loop.py         the loop: batches in, weights out; settings.py, signals.py
optimisers.py   AdamW and others on the flat block; schedules.py
runs.py         the folder of a run: checkpoints, metrics.jsonl
readers/        files -> examples
corpus.py       text files -> token ids on disk
pretraining.py  batches for pre-training: pairs.py, masking.py
finetuning/     examples of a task -> batches, predictions and scores
vocabulary.py   WordPiece vocabularies from text; merges.py
metrics/        labels and predictions -> scores
"""

from . import metrics
from .corpus import Corpus
from .loop import Data, Result, Trainer
from .optimisers import AdamW, BertAdam, Lamb, NotFinite, Optimiser, Sgd
from .pairs import google_instances
from .pretraining import PretrainingData
from .readers import fingerprint, read_conll, read_squad, read_table
from .runs import Run
from .schedules import Schedule, schedule
from .settings import Settings
from .vocabulary import train_vocabulary

__all__ = [
    "AdamW",
    "BertAdam",
    "Corpus",
    "Data",
    "Lamb",
    "NotFinite",
    "Optimiser",
    "PretrainingData",
    "Result",
    "Run",
    "Schedule",
    "Settings",
    "Sgd",
    "Trainer",
    "fingerprint",
    "google_instances",
    "metrics",
    "read_conll",
    "read_squad",
    "read_table",
    "schedule",
    "train_vocabulary",
]
