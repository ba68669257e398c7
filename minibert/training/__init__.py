"""Training: what happens to a model's parameters between two batches."""

from .loop import Data, Result, Trainer
from .optimisers import AdamW, BertAdam, Lamb, NotFinite, Optimiser, Sgd
from .runs import Run
from .schedules import Schedule, schedule
from .settings import Settings

__all__ = [
    "AdamW",
    "BertAdam",
    "Data",
    "Lamb",
    "NotFinite",
    "Optimiser",
    "Result",
    "Run",
    "Schedule",
    "Settings",
    "Sgd",
    "Trainer",
    "schedule",
]
