"""Writes tests/ops/fixtures/sentences.npz: sentence-transformers' losses and pooling and their gradients, in float64.

    python tools/make_sentence_fixtures.py       # numpy, torch 2.13.0, sentence-transformers 6.2.0

CosineSimilarityLoss, MultipleNegativesRankingLoss at two scales and its symmetric form, from vectors of both texts; and
Pooling by the mean with Normalize behind it, from padded hidden states.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from sentence_transformers.sentence_transformer import losses
from sentence_transformers.sentence_transformer.modules import Normalize, Pooling

FILE = Path(__file__).resolve().parent.parent / "tests" / "ops" / "fixtures" / "sentences.npz"
PAIRS, HIDDEN, LENGTHS = 5, 7, (4, 1, 6)
LOSSES = {
    "cosine": losses.CosineSimilarityLoss(None),
    "ranking": losses.MultipleNegativesRankingLoss(None),
    "ranking at 5": losses.MultipleNegativesRankingLoss(None, scale=5.0),
    "symmetric": losses.MultipleNegativesRankingLoss(
        None, directions=("query_to_doc", "doc_to_query"), partition_mode="per_direction"
    ),
}


def main() -> None:
    """{"case.part": array}"""
    rng = np.random.default_rng(0)
    arrays = {}
    for name, loss_function in LOSSES.items():
        a, b = (torch.tensor(3 * rng.standard_normal((PAIRS, HIDDEN)), requires_grad=True) for _ in "ab")
        scores = torch.tensor(rng.integers(0, 65, PAIRS) / 64)  # which float32 has exactly: the loss makes that of them
        loss = loss_function.compute_loss_from_embeddings([a, b], scores)
        loss.backward()
        parts = {"a": a.detach(), "b": b.detach(), "scores": scores, "loss": loss.detach(), "da": a.grad, "db": b.grad}
        arrays |= {f"{name}.{part}": value.numpy() for part, value in parts.items()}

    mask = torch.tensor([[n < length for n in range(max(LENGTHS))] for length in LENGTHS])
    states = torch.tensor(rng.standard_normal((*mask.shape, HIDDEN)), requires_grad=True)
    features = {"token_embeddings": states, "attention_mask": mask.long()}
    features = Normalize()(Pooling(HIDDEN, pooling_mode="mean")(features))
    vectors, cotangent = features["sentence_embedding"], torch.tensor(rng.standard_normal((len(LENGTHS), HIDDEN)))
    (vectors * cotangent).sum().backward()
    parts = {"x": states.detach(), "mask": mask, "y": vectors.detach(), "dy": cotangent, "dx": states.grad}
    arrays |= {f"pooling.{part}": value.numpy() for part, value in parts.items()}
    np.savez_compressed(FILE, **arrays)


if __name__ == "__main__":
    main()
