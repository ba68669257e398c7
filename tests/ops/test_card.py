"""The mathematics on arrays of a card, for which a stand-in is enough: the same numbers, nothing done on the host."""

import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minibert import ops
from tests.card import Card, ndarray
from tests.ops.test_operators import cast, is_float, pair
from tests.opspecs import OPERATORS


@pytest.fixture
def card(monkeypatch):
    card = Card()
    monkeypatch.setitem(sys.modules, "cupy", card)
    return card


def onto(card, args):
    return tuple(card.asarray(a) if isinstance(a, np.ndarray) else a for a in args)


def arrays(x):
    """All arrays in a cache."""
    if isinstance(x, np.ndarray | ndarray):
        yield x
    elif isinstance(x, tuple | list):
        for item in x:
            yield from arrays(item)


@pytest.mark.parametrize("spec", OPERATORS, ids=repr)
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_every_operator_stays_on_the_card(spec, dtype, card):
    forward, backward = pair(spec)

    @given(data=st.data())
    def check(data):
        args = cast(spec.draw(data.draw), dtype)
        y, cache = forward(*args)
        on_card, card_cache = forward(*onto(card, args))
        assert isinstance(on_card, ndarray)
        assert all(isinstance(a, ndarray) for a in arrays(card_cache))
        dy = np.random.default_rng(0).standard_normal(np.shape(y)).astype(dtype)
        grads, card_grads = backward(dy, cache), backward(card.asarray(dy), card_cache)
        grads, card_grads = ((g if isinstance(g, tuple) else (g,)) for g in (grads, card_grads))
        assert len(card_grads) == sum(map(is_float, args))
        for mine, theirs in zip((y, *grads), (on_card, *card_grads), strict=True):
            assert theirs.dtype == np.asarray(mine).dtype
            np.testing.assert_array_equal(card.asnumpy(theirs), mine)

    check()


def test_optimisers_stay_on_the_card(card):
    rng = np.random.default_rng(0)
    p, g, m, v = (rng.standard_normal(7) ** 2 for _ in range(4))
    steps = {
        "adamw": ((p, g, m, v), (3, 0.1, (0.9, 0.99), 1e-6, 0.01)),
        "sgd": ((p, g, m), (0.1, 0.9, 0.01)),
    }
    for name, (state, options) in steps.items():
        here, there = [a.copy() for a in state], onto(card, state)
        getattr(ops, name)(*here, *options)
        getattr(ops, name)(*there, *options)
        for mine, theirs in zip(here, there, strict=True):
            np.testing.assert_array_equal(card.asnumpy(theirs), mine)
    assert float(ops.global_norm(card.asarray(g))) == ops.global_norm(g)


def test_the_stand_in_refuses_what_cupy_refuses(card):
    x, host = card.asarray([1.0, 2.0]), np.array([0, 1])
    for mixed in (
        lambda: np.asarray(x),
        lambda: np.exp(x),
        lambda: np.sum(x),
        lambda: x + host,
        lambda: host + x,
        lambda: x[host],
        lambda: card.exp(host),
        lambda: card.add.at(x, host, 1.0),
    ):
        with pytest.raises(TypeError):
            mixed()
    with pytest.raises(TypeError):
        x += host
    assert isinstance(x.sum(), ndarray)
    assert isinstance(np.float32(2) * x, ndarray)
    assert card.waits == 0
    assert float(x.sum()) == 3
    assert card.waits == 1
