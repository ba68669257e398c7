"""The layer as one kernel: what the operators one after another give, to the last bit, on any number of threads."""

import importlib

import numpy as np
import pytest
import threadpoolctl

import minibert as mb
from minibert.engines import cpu
from minibert.engines.cpu import amx, packed, threads
from tests.engines.test_assembly import assembly, complaints, needs_avx2

module = importlib.import_module("minibert.engines.cpu.encoder_layer")

HIDDEN, INNER, HEADS = 96, 160, 4
EPS = 1e-12

needs_amx = pytest.mark.skipif(not amx.available(), reason="runs the instructions of AMX")


@pytest.fixture
def tensors():
    """weights, biases, norms, all frozen as those of a mapped file."""
    rng = np.random.default_rng(0)
    shapes = [(3 * HIDDEN, HIDDEN), (HIDDEN, HIDDEN), (INNER, HIDDEN), (HIDDEN, INNER)]
    weights = [rng.normal(0, 0.1, shape).astype(np.float32) for shape in shapes]
    biases = [rng.normal(0, 0.1, shape[0]).astype(np.float32) for shape in shapes]
    norms = [rng.normal(centre, 0.1, HIDDEN).astype(np.float32) for centre in (1, 0, 1, 0)]
    for array in (*weights, *biases, *norms):
        array.flags.writeable = False
    return weights, biases, norms


def inputs(lengths):
    cu_seqlens = np.concatenate([[0], np.cumsum(lengths)])
    return np.random.default_rng(1).normal(0, 1, (sum(lengths), HIDDEN)).astype(np.float32), cu_seqlens


def one_by_one(x, cu_seqlens, causal, weights, biases, norms, activation):
    qkv, _ = cpu.linear(x, weights[0], biases[0])
    context, _ = cpu.attention(qkv, cu_seqlens, HEADS, causal)
    a, _ = cpu.linear(context, weights[1], biases[1])
    h, _ = cpu.add_layer_norm(a, x, *norms[:2], EPS)
    f, _ = cpu.feed_forward(h, weights[2], biases[2], weights[3], biases[3], activation)
    return cpu.add_layer_norm(f, h, *norms[2:], EPS)[0]


def in_one(x, cu_seqlens, causal, weights, biases, norms, activation="gelu"):
    return cpu.encoder_layer(x, cu_seqlens, HEADS, causal, weights, biases, norms, EPS, activation)


few = [(1,), (16,), (5, 0, 9), (13, 1, 30)]
many = [(60,), (128,), (40, 1, 33), (300, 250)]


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("lengths", few)
def test_few_rows(lengths, causal, tensors):
    x, cu_seqlens = inputs(lengths)
    expected = one_by_one(x, cu_seqlens, causal, *tensors, "gelu")
    np.testing.assert_array_equal(in_one(x, cu_seqlens, causal, *tensors), expected)


@needs_amx
@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("lengths", many)
def test_many_rows(lengths, causal, tensors):
    x, cu_seqlens = inputs(lengths)
    expected = one_by_one(x, cu_seqlens, causal, *tensors, "gelu")
    np.testing.assert_array_equal(in_one(x, cu_seqlens, causal, *tensors), expected)


@pytest.mark.parametrize("activation", ["gelu_new", "relu", "silu"])
def test_activations(activation, tensors):
    x, cu_seqlens = inputs((9,))
    expected = one_by_one(x, cu_seqlens, False, *tensors, activation)
    np.testing.assert_array_equal(in_one(x, cu_seqlens, False, *tensors, activation), expected)


@pytest.mark.parametrize("lengths", [(16, 7), pytest.param((128, 40), marks=needs_amx)])
def test_threads_change_no_bit(lengths, tensors, monkeypatch):
    monkeypatch.setattr(module, "LEAST", 1)
    x, cu_seqlens = inputs(lengths)
    results = []
    for number in 1, 2, 3, 2:
        with threadpoolctl.threadpool_limits(number, user_api="blas"):
            assert threads.number(1e9, 1) == threads.count()
            results.append(in_one(x, cu_seqlens, False, *tensors))
    for other in results[1:]:
        np.testing.assert_array_equal(results[0], other)


def test_what_it_is_given_stays_as_it_is(tensors):
    x, cu_seqlens = inputs((16,))
    before = x.copy(), cu_seqlens.copy()
    x.flags.writeable = False
    in_one(x, cu_seqlens, False, *tensors)
    np.testing.assert_array_equal(x, before[0])
    np.testing.assert_array_equal(cu_seqlens, before[1])


def test_none_where_there_is_no_kernel(tensors):
    weights, biases, norms = tensors
    x, cu_seqlens = inputs((16,))
    assert in_one(x.astype(np.float64), cu_seqlens, False, *tensors) is None
    assert in_one(x, cu_seqlens, False, [w.astype(np.float64) for w in weights], biases, norms) is None
    assert in_one(x, cu_seqlens, False, [w.copy() for w in weights], biases, norms) is None  # may change: not packed
    assert in_one(x[:0], np.array([0, 0]), False, *tensors) is None


@pytest.mark.parametrize("frozen", [False, True])
def test_a_model_with_it_and_without(frozen, monkeypatch, tmp_path):
    config = mb.BertConfig(
        hidden_size=64, num_attention_heads=4, intermediate_size=128, vocab_size=50, num_hidden_layers=3
    )
    model = mb.BertForMaskedLM(config, seed=1)
    if frozen:
        model.save_pretrained(tmp_path)
        model = mb.BertForMaskedLM.from_pretrained(tmp_path)
    asked = []

    def spy(x, *rest, original=cpu.encoder_layer):
        asked.append(original(x, *rest))
        return asked[-1]

    monkeypatch.setattr(cpu, "encoder_layer", spy)
    ids, mask = np.arange(30).reshape(3, 10), np.ones((3, 10), int)
    mask[1, 6:] = 0
    here = model(ids, mask).logits
    assert len(asked) == config.num_hidden_layers
    assert all((y is not None) == frozen for y in asked)
    kept = model(ids, mask, output_hidden_states=True)  # something is kept, so it cannot be one piece
    assert len(asked) == config.num_hidden_layers
    monkeypatch.delattr(cpu, "encoder_layer")
    np.testing.assert_array_equal(model(ids, mask).logits, here)
    np.testing.assert_array_equal(kept.logits, here)
    monkeypatch.setattr(cpu, "encoder_layer", spy, raising=False)
    model.loss_and_grads(ids, mask, labels=ids, dropout_seed=1)
    assert len(asked) == config.num_hidden_layers


@needs_avx2
def test_compiled_to_vectors(tensors):
    x, cu_seqlens = inputs((16,))
    assert packed.fits(x, tensors[0][0])
    in_one(x, cu_seqlens, False, *tensors)
    compiled = module._layer(module._by_panels, "gelu")
    text = assembly(compiled, compiled.signatures[0])
    assert not complaints(text, doubles=True)  # the scale of attention, once a call
