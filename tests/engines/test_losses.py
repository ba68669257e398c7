"""From the loss back past the logits, in blocks of classes: the same gradients, and never all of dlogits."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minibert import ops
from minibert.engines import cpu
from minibert.engines.cpu import losses, memory
from tests.tolerances import ENGINE

IGNORED = ops.IGNORE_INDEX


def drawn(rows, classes, hidden, seed):
    """x, weight, bias, labels of which some are not asked for"""
    rng = np.random.default_rng(seed)
    x, weight, bias = (rng.standard_normal(shape) for shape in ((rows, hidden), (classes, hidden), (classes,)))
    labels = np.where(rng.random(rows) < 0.2, IGNORED, rng.integers(0, classes, rows))
    return x.astype(np.float32), weight.astype(np.float32), bias.astype(np.float32), labels


def both_caches(engine, x, weight, bias, labels):
    logits, linear_cache = engine.linear(x, weight, bias)
    return engine.cross_entropy(logits, labels)[1], linear_cache


@pytest.mark.parametrize("given_totals", [False, True])
@given(
    rows=st.sampled_from([0, 1, 5, 40]),
    classes=st.integers(1, 70),
    width=st.sampled_from([1, 7, 16, 64, 100]),
    seed=st.integers(0, 1000),
)
def test_blocks_give_what_the_two_steps_give(given_totals, rows, classes, width, seed):
    x, weight, bias, labels = drawn(rows, classes, 9, seed)
    expected = ops.linear_cross_entropy_backward(
        -2.5, *both_caches(ops, *(a.astype(np.float64) for a in (x, weight, bias)), labels)
    )
    totals = (np.ones_like(weight), np.ones_like(bias)) if given_totals else None
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(losses, "AT_ONCE", 1)
        patch.setattr(losses, "LEAST_CLASSES", width)
        result = cpu.linear_cross_entropy_backward(-2.5, *both_caches(cpu, x, weight, bias, labels), totals)
    if totals:
        assert result[1] is totals[0]
        assert result[2] is totals[1]
    for value, wanted, added in zip(result, expected, (0, given_totals, given_totals), strict=True):
        assert value.dtype == np.float32
        size = max(1.0, float(np.abs(wanted).max(initial=0)))
        np.testing.assert_allclose(value, wanted + added, rtol=0, atol=ENGINE[np.dtype("float32")] * size)


@pytest.mark.parametrize("engine", [ops, cpu])
def test_the_two_steps_are_the_gradient_of_the_loss(engine):
    """Of an engine in float64: the reference, whoever is asked."""
    x, weight, bias, labels = drawn(6, 11, 4, 0)
    arguments = [a.astype(np.float64) for a in (x, weight, bias)]
    gradients = engine.linear_cross_entropy_backward(3.0, *both_caches(engine, *arguments, labels))
    for i, gradient in enumerate(gradients):
        v = np.random.default_rng(i).standard_normal(gradient.shape)
        stepped = [a + 1e-30j * v if j == i else a for j, a in enumerate(arguments)]
        loss, _ = ops.cross_entropy(ops.linear(*stepped)[0], labels)
        assert (gradient * v).sum() == pytest.approx(3 * loss.imag / 1e-30, rel=1e-12)


def test_the_gradient_of_the_logits_is_never_there_as_a_whole(monkeypatch):
    arguments = drawn(300, 30000, 8, 0)
    caches = both_caches(cpu, *arguments)
    arena = memory.Arena()
    monkeypatch.setattr(memory, "_arena", arena)
    cpu.linear_cross_entropy_backward(1.0, *caches)
    logits = 4 * 300 * 30000
    assert arena._peak < logits / 2
