"""Error against step: the central difference of the loss along a direction, held against the complex step."""

from __future__ import annotations

import numpy as np

from ..references import line, split
from ..trace import Trace

STEPS = tuple(10.0**-k for k in range(1, 13))


def curve(trace: Trace, name: str, seed: int = 0) -> list[float]:
    """|central difference - complex step| / |complex step| for every step of STEPS, along one N(0, I) direction."""
    name = trace.resolve(name)
    loss, x, v = line(trace, name, seed)
    truth, _ = trace.derivative(name, split(v, trace.parts(trace.entries[name])))
    with np.errstate(all="ignore"):  # a large step makes a variance negative
        return [float(abs((loss(x + h * v) - loss(x - h * v)) / (2 * h) - truth) / (abs(truth) or 1.0)) for h in STEPS]


def typical(trace: Trace, everything: bool) -> list[str]:
    """All tensors of a small model; of a large one three kinds of the last layer, which is near the loss."""
    kinds = ("attention.self.probs", "output.LayerNorm", "intermediate.dense.weight")
    last = f"encoder.layer.{trace.model.config.num_hidden_layers - 1}"
    return list(trace) if everything else [name for kind in kinds for name in trace.find(f"{last}.{kind}")]
