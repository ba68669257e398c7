"""Operators with large parameters add the gradients of these to totals, where they are given some."""

import numpy as np
import pytest

from minibert import ops
from minibert.engines import cpu

rng = np.random.default_rng(0)


def random(*shape):
    return rng.standard_normal(shape).astype(np.float32)


CASES = {
    "linear": (random(5, 4), random(3, 4), random(3)),
    "feed_forward": (random(5, 4), random(6, 4), random(6), random(4, 6), random(4), "gelu"),
    "embedding": (random(7, 4), np.array([3, 0, 3, 6])),
}


@pytest.mark.parametrize("engine", [ops, cpu])
@pytest.mark.parametrize("name", CASES)
def test_gradients_are_added_to_the_totals(name, engine):
    forward, backward = getattr(engine, name), getattr(engine, f"{name}_backward")
    y, cache = forward(*CASES[name])
    dy = random(*y.shape)
    result = backward(dy, cache)
    gradients = result[1:] if isinstance(result, tuple) else [result]
    totals = [random(*gradient.shape) for gradient in gradients]
    expected = [total + gradient for total, gradient in zip(totals, gradients, strict=True)]
    result = backward(dy, cache, totals[0] if name == "embedding" else totals)
    returned = result[1:] if isinstance(result, tuple) else [result]
    for total, mine, sums in zip(totals, returned, expected, strict=True):
        assert mine is total
        np.testing.assert_allclose(total, sums, rtol=1e-5, atol=1e-6)
