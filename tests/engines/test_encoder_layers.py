"""Layers as one kernel: what the operators one after another give, to the last bit, on any number of threads."""

import gc
import importlib

import numpy as np
import pytest
import threadpoolctl

import minibert as mb
from minibert.engines import cpu
from minibert.engines.cpu import amx, packed, threads
from tests.engines.test_assembly import assembly, complaints, needs_avx2

module = importlib.import_module("minibert.engines.cpu.encoder_layers")

HIDDEN, INNER, HEADS = 96, 160, 4
EPS = 1e-12

needs_amx = pytest.mark.skipif(not amx.available(), reason="runs the instructions of AMX")


def layers_of(number, seed=0):
    """Frozen, as those of a mapped file."""
    rng = np.random.default_rng(seed)
    layers = []
    for _ in range(number):
        layer = []
        for out, depth in (3 * HIDDEN, HIDDEN), (HIDDEN, HIDDEN), (INNER, HIDDEN), (HIDDEN, INNER):
            layer += [rng.normal(0, 0.1, (out, depth)), rng.normal(0, 0.1, out)]
        layer += [rng.normal(centre, 0.1, HIDDEN) for centre in (1, 0, 1, 0)]
        layers.append([tensor.astype(np.float32) for tensor in layer])
        for tensor in layers[-1]:
            tensor.flags.writeable = False
    return layers


@pytest.fixture(params=[1, 3])
def layers(request):
    return layers_of(request.param)


def inputs(lengths):
    cu_seqlens = np.concatenate([[0], np.cumsum(lengths)])
    return np.random.default_rng(1).normal(0, 1, (sum(lengths), HIDDEN)).astype(np.float32), cu_seqlens


def one_by_one(x, cu_seqlens, causal, layers, activation="gelu"):
    for w_qkv, b_qkv, w_out, b_out, w_inner, b_inner, w_outer, b_outer, *norms in layers:
        qkv, _ = cpu.linear(x, w_qkv, b_qkv)
        context, _ = cpu.attention(qkv, cu_seqlens, HEADS, causal)
        a, _ = cpu.linear(context, w_out, b_out)
        h, _ = cpu.add_layer_norm(a, x, *norms[:2], EPS)
        f, _ = cpu.feed_forward(h, w_inner, b_inner, w_outer, b_outer, activation)
        x, _ = cpu.add_layer_norm(f, h, *norms[2:], EPS)
    return x


def in_one(x, cu_seqlens, causal, layers, activation="gelu"):
    return cpu.encoder_layers(x, cu_seqlens, HEADS, causal, layers, EPS, activation)


few = [(1,), (16,), (5, 0, 9), (13, 1, 30)]
many = [(60,), (128,), (40, 1, 33), (300, 250)]


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("lengths", [*few, *(pytest.param(lengths, marks=needs_amx) for lengths in many)])
def test_what_the_operators_give(lengths, causal, layers):
    x, cu_seqlens = inputs(lengths)
    expected = one_by_one(x, cu_seqlens, causal, layers)
    np.testing.assert_array_equal(in_one(x, cu_seqlens, causal, layers), expected)


@pytest.mark.parametrize("activation", ["gelu_new", "relu", "silu"])
def test_activations(activation, layers):
    x, cu_seqlens = inputs((9,))
    expected = one_by_one(x, cu_seqlens, False, layers, activation)
    np.testing.assert_array_equal(in_one(x, cu_seqlens, False, layers, activation), expected)


@pytest.mark.parametrize("lengths", [(16, 7), pytest.param((128, 40), marks=needs_amx)])
def test_threads_change_no_bit(lengths, layers, monkeypatch):
    monkeypatch.setattr(module, "LEAST", 1)
    x, cu_seqlens = inputs(lengths)
    results = []
    for number in 1, 2, 3, 2:
        with threadpoolctl.threadpool_limits(number, user_api="blas"):
            assert threads.number(1e9, 1) == threads.count()
            results.append(in_one(x, cu_seqlens, False, layers))
    for other in results[1:]:
        np.testing.assert_array_equal(results[0], other)


def test_what_it_is_given_stays_as_it_is(layers):
    x, cu_seqlens = inputs((16,))
    before = x.copy(), cu_seqlens.copy()
    x.flags.writeable = False
    in_one(x, cu_seqlens, False, layers)
    np.testing.assert_array_equal(x, before[0])
    np.testing.assert_array_equal(cu_seqlens, before[1])


def test_none_where_there_is_no_kernel(layers):
    x, cu_seqlens = inputs((16,))
    assert in_one(x.astype(np.float64), cu_seqlens, False, layers) is None
    assert in_one(x, cu_seqlens, False, [[t.astype(np.float64) for t in layer] for layer in layers]) is None
    assert in_one(x, cu_seqlens, False, [[t.copy() for t in layer] for layer in layers]) is None  # may change
    assert in_one(x, cu_seqlens, False, [[np.asfortranarray(t) for t in layer] for layer in layers]) is None
    assert in_one(x[:0], np.array([0, 0]), False, layers) is None
    assert in_one(x, cu_seqlens, False, []) is None


@pytest.mark.parametrize("lengths", [(16,), pytest.param((64,), marks=needs_amx)])
def test_work_is_done_in_several_calls_so_that_ctrl_c_need_not_wait(lengths, monkeypatch):
    x, cu_seqlens = inputs(lengths)
    layers, calls = layers_of(5), []
    expected = in_one(x, cu_seqlens, False, layers)

    def share(tasks, original=threads.share):
        calls.append(tasks)
        original(tasks)

    monkeypatch.setattr(threads, "share", share)
    monkeypatch.setattr(module, "_MOST", 2.5 * len(x) * sum(t.size for t in layers[0] if t.ndim == 2))
    np.testing.assert_array_equal(in_one(x, cu_seqlens, False, layers), expected)
    assert len(calls) == 3


def test_other_weights_where_the_first_lay(monkeypatch):
    """Addresses are looked up once; but those of arrays that are gone may be given to others."""
    x, cu_seqlens = inputs((16,))
    for seed in range(20):
        layers = layers_of(2, seed)
        for _ in range(2):
            np.testing.assert_array_equal(
                in_one(x, cu_seqlens, False, layers), one_by_one(x, cu_seqlens, False, layers)
            )
    before = len(module._tables)
    assert before
    del layers
    gc.collect()
    assert len(module._tables) < before


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

    def spy(x, *rest, original=cpu.encoder_layers):
        asked.append(original(x, *rest))
        return asked[-1]

    monkeypatch.setattr(cpu, "encoder_layers", spy)
    ids, mask = np.arange(30).reshape(3, 10), np.ones((3, 10), int)
    mask[1, 6:] = 0
    here = model(ids, mask).logits
    assert len(asked) == 1
    assert all((y is not None) == frozen for y in asked)
    kept = model(ids, mask, output_hidden_states=True)  # something is kept, so it cannot be one piece
    assert len(asked) == 1
    monkeypatch.delattr(cpu, "encoder_layers")
    np.testing.assert_array_equal(model(ids, mask).logits, here)
    np.testing.assert_array_equal(kept.logits, here)
    monkeypatch.setattr(cpu, "encoder_layers", spy, raising=False)
    model.loss_and_grads(ids, mask, labels=ids, dropout_seed=1)
    assert len(asked) == 1


@needs_avx2
def test_compiled_to_vectors():
    x, cu_seqlens = inputs((16,))
    layers = layers_of(1)
    assert packed.fits(x, layers[0][0])
    in_one(x, cu_seqlens, False, layers)
    compiled = module._kernel(module._by_panels, "gelu")
    text = assembly(compiled, compiled.signatures[0])
    assert not complaints(text, doubles=True)  # the scale of attention, once a call
