"""Whole curves: a model trained here and in PyTorch, from the same weights on the same batches, without dropout."""

import json
from pathlib import Path

import numpy as np
import pytest

from minibert.training import AdamW, BertAdam, Settings, Sgd, Trainer, schedule
from tests.training.toy import ToyData, toy_model

FIXTURE = json.loads((Path(__file__).parent / "fixtures" / "curves.json").read_text())
STEPS, WARMUP, RATE = FIXTURE["steps"], FIXTURE["warmup"], FIXTURE["lr"]


@pytest.mark.parametrize(
    ("name", "kind", "rate"),
    [
        ("adamw", AdamW, schedule(RATE, STEPS, WARMUP)),
        ("bert-adam", BertAdam, schedule(RATE, STEPS, WARMUP, "google")),
        ("sgd", Sgd, schedule(0.05, STEPS, kind="constant")),
    ],
)
def test_every_step_is_pytorchs(name, kind, rate):
    expected, records = FIXTURE["curves"][name], []
    model = toy_model(dtype="float64")
    optimiser = kind(model, weight_decay=FIXTURE["decay"], max_grad_norm=FIXTURE["clip"])
    settings = Settings(accumulate=FIXTURE["accumulate"], seed=None, log_every=1)
    Trainer(model, optimiser, rate, ToyData(), settings, listeners=[records.append]).train()
    np.testing.assert_allclose([r["loss"] for r in records], expected["loss"], rtol=0, atol=1e-9)
    np.testing.assert_allclose([r["norm"] for r in records], expected["norm"], rtol=1e-7)
    assert expected["loss"][-1] < 0.9 * expected["loss"][0]
    assert max(expected["norm"]) > FIXTURE["clip"]  # so that clipping was seen
