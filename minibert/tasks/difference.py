"""Comparing two checkpoints, of whatever formats, tensor by tensor."""

from __future__ import annotations

import os
from typing import NamedTuple

import numpy as np

from ..checkpoint.opening import Pretrained, recognise, same_numbers
from ..checkpoint.plan import BUFFERS, DECODER_BIAS, LM_BIAS, TIED
from ..formats.opening import open_weights
from ..formats.weights import Array, Weights
from ..locate import locate

__all__ = ["Difference", "differences"]

STRIP = 1024  # rows compared at a time: no third copy of the embeddings


class Difference(NamedTuple):
    """One tensor of two checkpoints: the largest |a - b|, infinite for different shapes; None where one lacks it."""

    name: str
    largest: float | None
    remark: str


def differences(a: str | os.PathLike[str], b: str | os.PathLike[str]) -> list[Difference]:
    """Compare two checkpoints of any formats, tensor by tensor, under Hugging Face's names and in its layout.

    A NaN equals a NaN. Tensors that are no part of BERT are compared under their own names. A second name that only one
    of the two gives to a tied tensor, as PyTorch's files do, is no difference. No configuration is needed.
    """
    opened = [_opened(path) for path in (a, b)]
    first, second = (_everything(one) for one in opened)
    for one, own, other in zip(opened, (first, second), (second, first), strict=True):
        for copy in _copies(one) - set(other):
            del own[copy]
    rows = []
    for name in dict.fromkeys([*first, *second]):
        if name not in first or name not in second:
            rows.append(Difference(name, None, f"only in {a if name in first else b}"))
            continue
        x, y = (reader.read(key) for reader, key in (first[name], second[name]))
        if x.shape != y.shape:
            rows.append(Difference(name, float("inf"), f"{list(x.shape)} against {list(y.shape)}"))
            continue
        largest = _largest(x, y)
        rows.append(Difference(name, largest, "" if largest < float("inf") else "infinite or no number"))
    return rows


def _opened(path: str | os.PathLike[str]) -> Pretrained:
    place = locate(path, parts=("weights",))
    weights = open_weights(place)
    return Pretrained(place, {}, weights, *recognise(weights), list(weights.notes))


def _copies(opened: Pretrained) -> set[str]:
    """Second names of tensors that the file has under the first name, too, with the same numbers."""
    sources = opened.sources
    both = {copy: first for copy, first in TIED.items() if copy in sources and first in sources}
    return {copy for copy, first in both.items() if same_numbers(opened.weights, sources[copy], sources[first])}


def _everything(opened: Pretrained) -> dict[str, tuple[Pretrained | Weights, str]]:
    """name -> (who reads it, under which name); buffers and optimiser state left out."""
    own: dict[str, tuple[Pretrained | Weights, str]] = {n: (opened, n) for n in opened.sources if n not in BUFFERS}
    if DECODER_BIAS in own and LM_BIAS not in own:  # two names of one tensor
        own[LM_BIAS] = own.pop(DECODER_BIAS)
    return own | {name: (opened.weights, name) for name in opened.unknown}


def _largest(x: Array, y: Array) -> float:
    both = np.result_type(x, y)
    if both.kind not in "fc":
        if np.array_equal(x, y):
            return 0.0
        return max(1.0, float(np.abs(x.astype(float) - y.astype(float)).max()))  # which may round a 1 away
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
