"""Comparing two checkpoints, of whatever formats, tensor by tensor."""

from __future__ import annotations

import os
from typing import NamedTuple

import numpy as np

from ..checkpoint.opening import Pretrained, open_pretrained
from ..checkpoint.plan import BUFFERS
from ..formats.weights import Array, Weights

__all__ = ["Difference", "differences"]

STRIP = 1024  # rows compared at a time: no third copy of the embeddings


class Difference(NamedTuple):
    """One tensor of two checkpoints: the largest |a - b|, infinite for different shapes; None where one lacks it."""

    name: str
    largest: float | None
    remark: str


def differences(a: str | os.PathLike[str], b: str | os.PathLike[str]) -> list[Difference]:
    """Compare two checkpoints of any formats, tensor by tensor, under Hugging Face's names and in its layout.

    A NaN equals a NaN. Tensors that are no part of BERT are compared under their own names.
    """
    first, second = (_everything(open_pretrained(path)) for path in (a, b))
    rows = []
    for name in dict.fromkeys([*first, *second]):
        if name not in first or name not in second:
            rows.append(Difference(name, None, f"only in {a if name in first else b}"))
            continue
        x, y = (opened.read(key) for opened, key in (first[name], second[name]))
        if x.shape != y.shape:
            rows.append(Difference(name, float("inf"), f"{list(x.shape)} against {list(y.shape)}"))
            continue
        rows.append(Difference(name, _largest(x, y), ""))
    return rows


def _everything(opened: Pretrained) -> dict[str, tuple[Pretrained | Weights, str]]:
    """name -> (who reads it, under which name); buffers and optimiser state left out."""
    own: dict[str, tuple[Pretrained | Weights, str]] = {n: (opened, n) for n in opened.sources if n not in BUFFERS}
    return own | {name: (opened.weights, name) for name in opened.unknown}


def _largest(x: Array, y: Array) -> float:
    both = np.result_type(x, y)
    if both.kind not in "fc":
        return float(np.count_nonzero(x != y) and np.abs(x.astype(float) - y.astype(float)).max())
    wide = np.result_type(both, np.float64)
    worst = 0.0
    for start in range(0, len(x) if x.ndim else 1, STRIP):
        strip = slice(start, start + STRIP) if x.ndim else ...
        p, q = x[strip].astype(wide), y[strip].astype(wide)
        same = (p == q) | (np.isnan(p) & np.isnan(q))
        with np.errstate(invalid="ignore"):
            gaps = np.where(same, 0.0, np.abs(p - q))
        worst = max(worst, float(np.where(np.isnan(gaps), np.inf, gaps).max(initial=0.0)))
    return worst
