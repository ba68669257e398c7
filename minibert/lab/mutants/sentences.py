"""Pooled vectors of texts and their cosines."""

from __future__ import annotations

from .planting import Mutant

SENTENCES = (
    Mutant(
        "mean: one length for all texts", "mean_pool_backward",
        before="dy * weights[:, None]",
        after="dy * weights.min()",
        slug="mean-one-length", family="similarity", needs="pairs",
        why="Rows of a padded array are all of one length, so the mean is taken for one over it.",
        hint="How much does a token of a short text count, and how much one of a long text?",
    ),
    Mutant(
        "cosine: length taken for a constant", "cosine_backward",
        before="unit_backward(du, cache.u), unit_backward(dv, cache.v)",
        after="du * cache.u.inverse, dv * cache.v.inverse",
        slug="cosine-length", family="similarity", needs="pairs",
        why="Dividing by the length looks like scaling, but the length is computed from the vector.",
        hint="What does the cosine do when one of the vectors grows longer?",
    ),
    Mutant(
        "cosine: each gets itself", "cosine_backward",
        before="dy[:, None] * v, dy[:, None] * u",
        after="dy[:, None] * u, dy[:, None] * v",
        slug="cosine-itself", family="similarity", needs="pairs",
        why="The product is the same whichever comes first, so the two gradients are taken for the same, too.",
        hint="In which direction must the first vector turn to get nearer to the second?",
    ),
    Mutant(
        "ranking: scale forgotten", "cosine_matrix_backward",
        before="scale * (dy @ v), scale * (dy.T @ u)",
        after="dy @ v, dy.T @ u",
        slug="ranking-scale", family="similarity", needs="ranking",
        why="The scale makes logits of cosines, a matter of the softmax, which is another function.",
        hint="If the scale is doubled, what happens to the loss of a small turn?",
    ),
    Mutant(
        "ranking: not transposed", "cosine_matrix_backward",
        before="dy.T @ u",
        after="dy @ u",
        slug="ranking-transposed", family="similarity", needs="ranking",
        why="The matrix is square and both sides are handled alike; no shape tells them apart.",
        hint="Who is compared with the second text of the first pair: a row or a column?",
    ),
)  # fmt: skip
