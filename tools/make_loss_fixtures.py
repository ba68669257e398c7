"""Writes tests/ops/fixtures/weighted_cross_entropy.npz: losses and gradients of PyTorch's cross_entropy, in float64.

    python tools/make_loss_fixtures.py          # numpy, torch 2.13.0 (the extra `oracle`)

Every combination of class weights or none, label smoothing or none, and two numbers that mean "no label".
"""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import torch

FILE = Path(__file__).resolve().parent.parent / "tests" / "ops" / "fixtures" / "weighted_cross_entropy.npz"
ROWS, CLASSES = 6, 5
WEIGHTS = {"none": None, "some": [0.5, 1.0, 3.0, 0.25, 2.0], "a zero": [1.0, 0.0, 2.0, 1.0, 0.0]}
SMOOTHING = (0.0, 0.1, 0.7, 1.0)
IGNORED = (-100, 2)


def main() -> None:
    """One case for each combination: {part: array of all cases}; weights of NaN are none."""
    rng, cases = np.random.default_rng(0), []
    for weights, smoothing, ignored in itertools.product(WEIGHTS.values(), SMOOTHING, IGNORED):
        logits = 3 * rng.standard_normal((ROWS, CLASSES))
        labels = rng.integers(0, CLASSES, ROWS)
        labels[rng.permutation(ROWS)[:2]] = ignored
        x = torch.tensor(logits, requires_grad=True)
        loss = torch.nn.functional.cross_entropy(
            x,
            torch.tensor(labels),
            weight=None if weights is None else torch.tensor(weights, dtype=torch.float64),
            ignore_index=ignored,
            label_smoothing=smoothing,
        )
        loss.backward()
        cases.append(
            {
                "logits": logits,
                "labels": labels,
                "weights": np.full(CLASSES, np.nan) if weights is None else np.array(weights),
                "smoothing": smoothing,
                "ignored": ignored,
                "loss": loss.item(),
                "gradient": x.grad.numpy(),
            }
        )
    FILE.parent.mkdir(exist_ok=True)
    np.savez_compressed(FILE, **{part: np.array([case[part] for case in cases]) for part in cases[0]})


if __name__ == "__main__":
    main()
