"""The fixtures that tools/make_fixtures.py writes, as models and arrays."""

import json
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

import minibert as mb

FIXTURES = Path(__file__).parent / "fixtures"
STEMS = sorted(path.stem for path in FIXTURES.glob("*.npz"))


class Case(NamedTuple):
    """One fixture: what transformers was given and what it gave, in float64."""

    meta: dict[str, Any]
    weights: dict[str, np.ndarray]
    grads: dict[str, np.ndarray]  # of the loss, or of Σ cotangent·result; those of inputs_embeds among them
    inputs: dict[str, np.ndarray]
    labels: dict[str, np.ndarray]
    cotangents: dict[str, np.ndarray]
    outputs: dict[str, np.ndarray]

    def model(self, dtype="float64"):
        cls = getattr(mb, self.meta["class"])
        model = cls(mb.BertConfig(**self.meta["config"]), dtype=dtype)
        model.load_state_dict({name: self.weights[name] for name in model.state_dict()})
        return model

    def gradients(self, model, **options):
        if self.labels:
            return model.loss_and_grads(**self.inputs, **self.labels, **options)[1]
        return model.vjp(self.cotangents, **self.inputs, **options)[1]


def load(stem: str) -> Case:
    with np.load(FIXTURES / f"{stem}.npz") as file:
        arrays = dict(file)
    meta = json.loads(str(arrays["meta"]))
    part = {kind: _part(arrays, kind) for kind in ("input", "label", "cotangent", "output", "grad")}
    grads = _split(arrays["grads"], meta["parameters"]) | part["grad"]
    weights = _split(arrays["weights"].astype(np.float64), meta["parameters"])
    return Case(meta, weights, grads, part["input"], part["label"], part["cotangent"], part["output"])


def _part(arrays, kind):
    return {name.removeprefix(f"{kind}."): x for name, x in arrays.items() if name.startswith(f"{kind}.")}


def _split(flat, shapes):
    ends = np.cumsum([int(np.prod(shape)) for shape in shapes.values()])
    parts = np.split(flat, ends[:-1])
    return {name: part.reshape(shape) for (name, shape), part in zip(shapes.items(), parts, strict=True)}
