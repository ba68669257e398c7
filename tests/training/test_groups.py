"""What optimisers share, and those beside AdamW: who is updated at which rate, by the formulas of the papers."""

import math

import numpy as np
import pytest

from minibert import BertConfig, BertForSequenceClassification, InputError, engines
from minibert.training import AdamW, BertAdam, Lamb, Sgd, schedule

SMALL = BertConfig(
    vocab_size=20, hidden_size=8, num_hidden_layers=3, num_attention_heads=2, intermediate_size=12,
    max_position_embeddings=8, num_labels=2,
)  # fmt: skip
KINDS = (AdamW, BertAdam, Lamb, Sgd)
each_engine = pytest.mark.parametrize("engine", engines.ON_HOST)


def a_model(dtype="float64", engine="reference"):
    model = BertForSequenceClassification(SMALL, dtype=dtype, engine=engine)
    model.parameters.flat[:] = np.random.default_rng(0).standard_normal(model.parameters.flat.size)
    return model


def gradients(model, seed):
    grads = model.parameters.like()
    grads.flat[:] = np.random.default_rng([1, seed]).standard_normal(grads.flat.size)
    return grads


@each_engine
def test_googles_adam_corrects_no_bias(engine):
    model = a_model("float32", engine)
    p = {name: tensor.astype(float) for name, tensor in model.state_dict().items()}
    m, v = ({name: np.zeros_like(tensor) for name, tensor in p.items()} for _ in range(2))
    optimiser = BertAdam(model, lr=0.01, weight_decay=0.1, max_grad_norm=None)
    for step in range(3):
        grads = gradients(model, step)
        optimiser.step(grads)
        for name, g in grads.items():
            m[name] = 0.9 * m[name] + 0.1 * g.astype(float)
            v[name] = 0.999 * v[name] + 0.001 * g.astype(float) ** 2
            decay = 0.1 if g.ndim > 1 else 0.0
            p[name] = p[name] - 0.01 * (m[name] / (np.sqrt(v[name]) + 1e-6) + decay * p[name])
    for name, tensor in model.state_dict().items():
        np.testing.assert_allclose(tensor, p[name], rtol=1e-5, atol=1e-6, err_msg=name)


@each_engine
def test_lambs_step_is_as_long_as_the_tensor(engine):
    model = a_model("float32", engine)
    before = {name: tensor.astype(float) for name, tensor in model.state_dict().items()}
    grads = gradients(model, 0)
    Lamb(model, lr=0.01, weight_decay=0.0, max_grad_norm=None).step(grads)
    for name, tensor in model.state_dict().items():
        change = tensor - before[name]
        assert np.linalg.norm(change) == pytest.approx(0.01 * np.linalg.norm(before[name]), rel=1e-4)
        np.testing.assert_array_equal(np.sign(change), -np.sign(grads[name]))


def test_lamb_moves_what_is_zero_and_decays_in_the_update():
    model = a_model()
    name, bias = "classifier.weight", "classifier.bias"
    model.parameters[bias][...] = 0
    before, grads = model.parameters[name].copy(), gradients(model, 0)
    Lamb(model, lr=0.01, eps=0.0, weight_decay=0.1, max_grad_norm=None).step(grads)
    np.testing.assert_allclose(model.parameters[bias], -0.01 * np.sign(grads[bias]))
    update = np.sign(grads[name]) + 0.1 * before
    expected = before - 0.01 * np.linalg.norm(before) / np.linalg.norm(update) * update
    np.testing.assert_allclose(model.parameters[name], expected, rtol=1e-12)


def test_sgd_has_momentum_and_decay_in_the_gradient():
    model = a_model()
    name = "classifier.weight"
    p, v = model.parameters[name].copy(), 0.0
    optimiser = Sgd(model, lr=0.1, momentum=0.8, weight_decay=0.3, max_grad_norm=None)
    for step in range(3):
        grads = gradients(model, step)
        optimiser.step(grads)
        v = 0.8 * v + grads[name] + 0.3 * p
        p = p - 0.1 * v
    np.testing.assert_allclose(model.parameters[name], p, rtol=1e-12)


@pytest.mark.parametrize("kind", KINDS)
def test_frozen_tensors_stay_and_do_not_count(kind):
    model, grads = a_model(), gradients(a_model(), 0)
    before = {name: tensor.copy() for name, tensor in model.state_dict().items()}
    norm = kind(model, freeze=["bert.embeddings.*", "*.layer.1.*.query.weight"]).step(grads)
    still = {name for name, tensor in model.state_dict().items() if (tensor == before[name]).all()}
    assert still == {n for n in before if "embeddings" in n or "layer.1.attention.self.query.weight" in n}
    fresh = gradients(model, 0)
    assert norm == pytest.approx(math.sqrt(sum((g**2).sum() for name, g in fresh.items() if name not in still)))


def test_what_lies_side_by_side_is_updated_together():
    plain = AdamW(a_model()).groups
    assert [(group.rate, group.weight_decay) for group in plain] == [(1.0, 0.01), (1.0, 0.0)]
    size = a_model().parameters.flat.size
    for kind in KINDS:
        for options in ({}, {"layer_decay": 0.9}, {"freeze": ["*.layer.0.*"]}):
            optimiser = kind(a_model(), **options)
            covered = np.zeros(size, int)
            for part in [group.part for group in optimiser.groups] + optimiser.frozen:
                covered[part] += 1
            assert (covered == 1).all()


def test_layers_learn_the_slower_the_further_down():
    model = a_model()
    optimiser = AdamW(model, layer_decay=0.5, weight_decay=0.0)
    rates = {}
    for name, place in model.parameters.places.items():
        (rates[name],) = {g.rate for g in optimiser.groups if g.part.start <= place.start and place.stop <= g.part.stop}
    assert rates["classifier.weight"] == rates["bert.pooler.dense.bias"] == 1
    assert [rates[f"bert.encoder.layer.{i}.output.dense.weight"] for i in (2, 1, 0)] == [1 / 2, 1 / 4, 1 / 8]
    assert rates["bert.embeddings.word_embeddings.weight"] == rates["bert.embeddings.LayerNorm.bias"] == 1 / 16


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"layer_decay": 0.0}, "layer_decay: expected a number above 0 and at most 1, got 0.0"),
        ({"layer_decay": 1.1}, "layer_decay: expected"),
        ({"freeze": ["bert.embedings.*"]}, "freeze: no tensor is called bert.embedings"),
        ({"freeze": "*"}, "freeze: nothing is left to be trained"),
    ],
)
def test_options_that_make_no_sense_are_refused(options, message):
    with pytest.raises(InputError, match=message):
        AdamW(a_model(), **options)
    with pytest.raises(InputError, match="momentum: expected a number from 0 to below 1"):
        Sgd(a_model(), momentum=1.0)


def test_rates_of_the_two_formulas():
    """t/W, then (N - t)/(N - W) or, of Google's, (N - t)/N: they part where the warm-up ends."""
    linear, google = (schedule(2.0, 100, 10, kind) for kind in ("linear", "google"))
    assert [linear(t) for t in (0, 5, 10, 55, 99)] == pytest.approx([0, 1, 2, 1, 2 / 90])
    assert [google(t) for t in (0, 5, 10, 55, 99)] == pytest.approx([0, 1, 1.8, 0.9, 0.02])
    constant = schedule(2.0, 100, 0.1, "constant")
    assert [constant(t) for t in (0, 5, 10, 99)] == [0, 1, 2, 2]
    assert schedule(2.0, 100)(0) == 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((1.0, 10, 0, "cosine"), "schedule: expected one of linear, google, constant, got 'cosine'"),
        ((1.0, 0), "steps: expected a positive integer, got 0"),
        ((1.0, 10, 11), "warmup: expected at most the 10 steps of the run, got 11"),
        ((-1.0, 10), "lr: expected a number of at least 0"),
        ((1.0, 10, -0.1), "warmup: expected a number of at least 0"),
    ],
)
def test_schedules_are_checked(arguments, message):
    with pytest.raises(InputError, match=message):
        schedule(*arguments)
