"""Training: what happens to a model's parameters between two batches."""

from .adamw import AdamW

__all__ = ["AdamW"]
