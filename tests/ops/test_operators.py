"""What every operator must do, whichever it is: walk the table of tests/opspecs.py."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minibert import engines, gradcheck, ops
from tests.opspecs import OPERATORS
from tests.tolerances import OPERATOR

each_operator = pytest.mark.parametrize("spec", OPERATORS, ids=repr)


def pair(spec, engine=ops):
    return getattr(engine, spec.name), getattr(engine, f"{spec.name}_backward")


def test_every_operator_has_a_row():
    pairs = {name for name in ops.__all__ if f"{name}_backward" in ops.__all__}
    assert pairs == {spec.name for spec in OPERATORS}
    rest = set(ops.__all__) - pairs - {f"{name}_backward" for name in pairs}
    assert rest == {"IGNORE_INDEX", "attention_probs", "dropout_key", "erf"}  # no gradient of their own


@each_operator
@pytest.mark.parametrize("dtype", ["float64", "float32"])
@given(data=st.data())
def test_value_is_that_of_the_plain_statement(spec, dtype, data):
    args = cast(spec.draw(data.draw), dtype)
    y, _ = pair(spec)[0](*args)
    expected = spec.naive(*cast(args, np.float64))
    assert np.asarray(y).dtype == dtype
    tolerance = OPERATOR[np.dtype(dtype)]
    size = (
        max(1.0, *(float(np.abs(a).max(initial=0)) for a in args if is_float(a))) ** 2
    )  # of the terms that are summed
    np.testing.assert_allclose(y, expected, rtol=tolerance, atol=tolerance * size)


@each_operator
@given(data=st.data())
def test_gradient_is_the_derivative(spec, data):
    args = spec.draw(data.draw)
    forward, backward = pair(spec)
    report = gradcheck.check(forward, backward, args)
    assert report, f"\n{report}"


@each_operator
@given(data=st.data())
def test_gradients_keep_shape_and_dtype(spec, data):
    args = cast(spec.draw(data.draw), np.float32)
    forward, backward = pair(spec)
    y, cache = forward(*args)
    grads = backward(np.ones_like(y), cache)
    grads = grads if isinstance(grads, tuple) else (grads,)
    floats = [a for a in args if is_float(a)]
    assert [(g.shape, g.dtype) for g in grads] == [(a.shape, a.dtype) for a in floats]


@each_operator
@pytest.mark.parametrize("name", engines.NAMES)
@given(data=st.data())
def test_every_engine_agrees_with_the_reference(spec, name, data):
    args = spec.draw(data.draw)
    y, cache = pair(spec)[0](*args)
    dy = np.random.default_rng(0).standard_normal(np.shape(y))
    forward, backward = pair(spec, engines.get(name))
    other, other_cache = forward(*args)
    np.testing.assert_allclose(other, y, rtol=OPERATOR[np.dtype(float)], atol=OPERATOR[np.dtype(float)])
    for a, b in zip(as_tuple(backward(dy, other_cache)), as_tuple(pair(spec)[1](dy, cache)), strict=True):
        np.testing.assert_allclose(a, b, rtol=OPERATOR[np.dtype(float)], atol=OPERATOR[np.dtype(float)])


def is_float(a):
    return isinstance(a, np.ndarray) and a.dtype.kind == "f"


def as_tuple(x):
    return x if isinstance(x, tuple) else (x,)


def cast(args, dtype):
    return tuple(a.astype(dtype) if is_float(a) else a for a in args)
