"""AdamW: the paper's algorithm, the same in every engine, and what it refuses."""

import math

import numpy as np
import pytest
import threadpoolctl
from hypothesis import given
from hypothesis import strategies as st

from minibert import BertConfig, BertForSequenceClassification, InputError, engines, ops
from minibert.engines.cpu.optimiser import BLOCK, LEAST
from minibert.training import AdamW

SMALL = BertConfig(
    vocab_size=20, hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=12,
    max_position_embeddings=8, num_labels=2,
)  # fmt: skip
IDS, LABELS = [[1, 2, 3], [4, 5, 6]], [0, 1]


def plain(p, g, m, v, step, lr, betas, eps, weight_decay, scale):
    """Loshchilov & Hutter 2019, Algorithm 2, one parameter at a time, with η = 1 and α = lr."""
    new = []
    for pi, gi, mi, vi in zip(p, g, m, v, strict=True):
        gi *= scale
        mi = betas[0] * mi + (1 - betas[0]) * gi
        vi = betas[1] * vi + (1 - betas[1]) * gi * gi
        mean, square = mi / (1 - betas[0] ** step), vi / (1 - betas[1] ** step)
        new.append((pi - lr * (mean / (math.sqrt(square) + eps) + weight_decay * pi), mi, vi))
    return np.array(new).T


@pytest.mark.parametrize("name", engines.ON_HOST)
@pytest.mark.parametrize("dtype", ["float64", "float32"])
@given(
    size=st.sampled_from([1, 2, 7, 8, 9, 33]),
    seed=st.integers(0, 2**32 - 1),
    steps=st.integers(1, 3),
    decay=st.sampled_from([0.0, 0.1]),
    scale=st.sampled_from([1.0, 0.3]),
)
def test_a_step_is_that_of_the_paper(name, dtype, size, seed, steps, decay, scale):
    rng = np.random.default_rng(seed)
    p, g = rng.standard_normal((2, size)).astype(dtype)
    m, v = np.zeros((2, size), dtype)
    expected = p.astype(float), m.astype(float), v.astype(float)
    for step in range(1, steps + 1):
        options = step, 0.01, (0.9, 0.99), 1e-8, decay, scale
        engines.get(name).adamw(p, g, m, v, *options)
        expected = plain(expected[0], g.astype(float), *expected[1:], *options)
    for own, theirs in zip((p, m, v), expected, strict=True):
        assert own.dtype == dtype
        np.testing.assert_allclose(own, theirs, rtol=0, atol=1e-13 if dtype == "float64" else 1e-6)


@pytest.mark.parametrize("size", [1, BLOCK - 1, BLOCK, BLOCK + 1, 3 * LEAST + 5])
def test_the_norm_is_exact_and_the_same_on_any_number_of_threads(size):
    g = np.random.default_rng(size).standard_normal(size).astype(np.float32)
    norms = set()
    for threads in (1, 2, 3):
        with threadpoolctl.threadpool_limits(threads, "blas"):
            norms.add(engines.get("cpu").global_norm(g))
    assert len(norms) == 1
    assert norms.pop() == pytest.approx(math.sqrt(math.fsum(float(x) ** 2 for x in g)), rel=1e-6)


def test_threads_do_not_change_a_step():
    results = []
    for threads in (1, 2, 3):
        p, g, m, v = np.random.default_rng(1).random((4, 2 * LEAST + 3), dtype=np.float32)
        with threadpoolctl.threadpool_limits(threads, "blas"):
            engines.get("cpu").adamw(p, g, m, v, 1, 0.1, (0.9, 0.999), 1e-8, 0.01)
        results.append(p)
    assert (results[0] == results[1]).all()
    assert (results[0] == results[2]).all()


def test_matrices_decay_and_the_rest_does_not():
    model = BertForSequenceClassification(SMALL)
    model.parameters.flat[:] = 1
    AdamW(model, lr=0.1, weight_decay=0.5).step(model.parameters.like())
    for name, tensor in model.state_dict().items():
        np.testing.assert_allclose(tensor, 0.95 if tensor.ndim > 1 else 1, rtol=1e-6, err_msg=name)


@pytest.mark.parametrize("limit", [0.01, 1e6, None])
def test_a_long_gradient_is_scaled_and_keeps_its_direction(limit):
    model, other = (BertForSequenceClassification(SMALL, dtype="float64") for _ in range(2))
    _, grads = model.loss_and_grads(IDS, labels=LABELS)
    norm = AdamW(model, eps=1.0, max_grad_norm=limit).step(grads)
    assert norm == pytest.approx(math.sqrt(sum(float((g * g).sum()) for g in grads.values())))
    scale = min(1, limit / norm) if limit else 1
    AdamW(other, eps=1.0, max_grad_norm=None).step({name: scale * g for name, g in grads.items()})
    np.testing.assert_allclose(model.parameters.flat, other.parameters.flat, rtol=1e-12)


@pytest.mark.parametrize("engine", ["reference", "cpu"])
def test_the_loss_falls(engine):
    model = BertForSequenceClassification(SMALL, engine=engine)
    optimiser = AdamW(model, lr=1e-2)
    losses = []
    for seed in range(30):
        out, grads = model.loss_and_grads(IDS, labels=LABELS, dropout_seed=seed)
        optimiser.step(grads)
        losses.append(float(out.loss))
    assert losses[0] > 0.5
    assert np.mean(losses[-5:]) < 0.1


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_gradient_that_is_not_finite_changes_nothing(value):
    model = BertForSequenceClassification(SMALL)
    optimiser, grads = AdamW(model), model.parameters.like()
    grads.flat[3] = value
    before = model.parameters.flat.copy()
    with pytest.raises(InputError, match=r"the gradient's norm is (nan|inf); nothing was changed"):
        optimiser.step(grads)
    assert (model.parameters.flat == before).all()
    assert optimiser.steps == 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"lr": -1}, "lr: expected a number of at least 0, got -1"),
        ({"lr": math.nan}, "lr: expected a number of at least 0, got nan"),
        ({"weight_decay": -0.1}, "weight_decay: expected"),
        ({"eps": math.inf}, "eps: expected"),
        ({"betas": (0.9, 1.0)}, "betas: expected two numbers from 0 to below 1"),
        ({"betas": (0.9,)}, "betas: expected two numbers"),
        ({"max_grad_norm": 0}, "max_grad_norm: expected a positive number or None, got 0"),
    ],
)
def test_options_out_of_range_are_refused(options, message):
    with pytest.raises(InputError, match=message):
        AdamW(BertForSequenceClassification(SMALL), **options)


def test_the_reference_norm_is_that_of_numpy():
    g = np.random.default_rng(0).standard_normal(1000)
    assert ops.global_norm(g) == pytest.approx(np.linalg.norm(g), rel=1e-14)
