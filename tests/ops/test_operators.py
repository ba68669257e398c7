"""What every operator must do, whichever it is: walk the table of tests/opspecs.py."""

import importlib
import inspect

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minibert import engines, gradcheck, ops
from minibert.engines.cpu import MADE_FAST
from tests.opspecs import OPERATORS
from tests.tolerances import ENGINE, OPERATOR

OPTIMISERS = {"adamw", "global_norm", "lamb", "sgd"}

each_operator = pytest.mark.parametrize("spec", OPERATORS, ids=repr)


def pair(spec, engine=ops):
    return getattr(engine, spec.name), getattr(engine, f"{spec.name}_backward")


def test_every_operator_has_a_row():
    pairs = {name for name in ops.__all__ if f"{name}_backward" in ops.__all__}
    assert pairs == {spec.name for spec in OPERATORS}
    rest = set(ops.__all__) - pairs - {f"{name}_backward" for name in pairs}
    steps_together = {"linear_cross_entropy_backward"}  # tests/ops/test_losses.py
    # no gradient of their own
    results = {"crf_decode", "crf_log_partition", "crf_marginals"}  # tests/ops/test_crf.py
    assert rest - steps_together - results == {"IGNORE_INDEX", "attention_probs", "dropout_key", "erf", *OPTIMISERS}


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
@pytest.mark.parametrize("name", engines.ON_HOST)
@pytest.mark.parametrize("dtype", ["float64", "float32"])
@given(data=st.data())
def test_every_engine_agrees_with_the_reference(spec, name, dtype, data):
    """Values, gradients, shapes and dtypes; in float32 against the reference in float64 on the same numbers."""
    args = cast(spec.draw(data.draw), dtype)
    y, grads = both(spec, ops, cast(args, np.float64))
    for given_args in args, strided(args):
        other, other_grads = both(spec, engines.get(name), given_args)
        for a, b in zip((other, *other_grads), (y, *grads), strict=True):
            assert (np.shape(a), np.asarray(a).dtype) == (np.shape(b), np.dtype(dtype))
            size = max(1.0, float(np.abs(b).max(initial=0)), largest(args) ** 2)
            np.testing.assert_allclose(a, b, rtol=0, atol=ENGINE[np.dtype(dtype)] * size)


@pytest.mark.parametrize("name", engines.ON_HOST)
@pytest.mark.parametrize("operator", sorted(set(ops.__all__) - {"IGNORE_INDEX"}))
def test_every_engine_has_the_same_signatures(operator, name):
    fast, reference = (getattr(place, operator) for place in (engines.get(name), ops))
    assert signature(fast) == signature(reference)


@pytest.mark.parametrize(("operator", "file"), MADE_FAST.items())
def test_what_is_made_fast_has_the_same_signatures(operator, file):
    """The functions behind the names, which take the same arguments by name and have the same defaults."""
    module = importlib.import_module(f"minibert.engines.cpu.{file}")
    assert signature(getattr(module, operator)) == signature(getattr(ops, operator))
    gradient = f"{operator}_backward"
    if hasattr(ops, gradient):
        assert len(signature(getattr(module, gradient))) == len(signature(getattr(ops, gradient)))


def signature(function):
    return [(p.name, p.kind, p.default) for p in inspect.signature(function).parameters.values()]


def both(spec, engine, args):
    """Value, and gradients along the same cotangent."""
    forward, backward = pair(spec, engine)
    y, cache = forward(*args)
    dy = np.random.default_rng(0).standard_normal(np.shape(y)).astype(y.dtype)
    return y, as_tuple(backward(dy, cache))


def strided(args):
    """The same numbers, two apart in every direction."""
    spread = [np.repeat(a, 2, axis=-1)[..., ::2] if is_float(a) and a.ndim else a for a in args]
    return tuple(np.repeat(a, 2, axis=0)[::2] if is_float(a) and a.ndim else a for a in spread)


def largest(args):
    return max(float(np.abs(a).max(initial=0)) for a in args if is_float(a))


def is_float(a):
    return isinstance(a, np.ndarray) and a.dtype.kind == "f"


def as_tuple(x):
    return x if isinstance(x, tuple) else (x,)


def cast(args, dtype):
    return tuple(a.astype(dtype) if is_float(a) else a for a in args)


@each_operator
@given(data=st.data())
def test_backward_is_analytic_too(spec, data):
    """Second derivatives come from a complex step of the gradient: in every argument, and in dy, where it is linear."""
    args = list(spec.draw(data.draw))
    forward, backward = pair(spec)
    y, cache = forward(*args)
    rng = np.random.default_rng(1)
    dy = rng.standard_normal(np.shape(y)) if np.shape(y) else np.float64(rng.standard_normal())
    v = rng.standard_normal(np.shape(y)) if np.shape(y) else np.float64(rng.standard_normal())
    along_dy = as_tuple(backward(dy + 1j * gradcheck.STEP * v, cache))
    for stepped, linear in zip(along_dy, as_tuple(backward(v, cache)), strict=True):
        np.testing.assert_allclose(stepped.imag / gradcheck.STEP, linear, rtol=1e-12, atol=1e-13)
    if not spec.smooth:
        return

    def gradient(x, i):
        return np.concatenate([g.reshape(-1) for g in as_tuple(backward(dy, forward(*args[:i], x, *args[i + 1 :])[1]))])

    for i, x in enumerate(args):
        if is_float(x) and x.size:
            v = rng.standard_normal(x.shape)
            # not gradcheck.complex_step: where a gradient does not depend on x it is real, and rightly so
            exact = np.imag(gradient(x + 1j * gradcheck.STEP * v, i)) / gradcheck.STEP
            rough = gradcheck.richardson(lambda x, i=i: gradient(x, i), x, v)
            # differences are only good to what rounding leaves: a dropped term would be of the size of the whole
            scale = np.abs(exact).max() + np.abs(gradient(x, i)).max() / max(np.abs(x).max(), 1e-3)
            np.testing.assert_allclose(rough, exact, atol=1e-6 * scale, rtol=1e-6)
