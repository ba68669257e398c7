"""engine="gpu" over a stand-in for CuPy: models and their training stay on the card, and give the reference's bits."""

import sys

import numpy as np
import pytest

import minibert as mb
from minibert import engines
from minibert.ops.xp import host
from minibert.training import AdamW, BertAdam, Lamb, Run, Settings, Sgd, Trainer, schedule
from tests.card import CARD, ndarray
from tests.everyclass import CONFIG, IDS, LABELS, LEARNT, MASK, RNG, inputs
from tests.training.test_loop import stop_before

WEIGHTED = "BertForSequenceClassification", "BertForTokenClassification"


@pytest.fixture(autouse=True)
def card(monkeypatch):
    monkeypatch.setitem(sys.modules, "cupy", CARD)
    yield CARD
    sys.modules.pop("minibert.engines.gpu", None)  # it has the stand-in
    engines.__dict__.pop("gpu", None)


def pair(name, dtype="float64"):
    """The model on the host and on the card."""
    return [getattr(mb, name)(CONFIG, seed=1, dtype=dtype, engine=engine) for engine in ("reference", "gpu")]


def assert_same(one, other):
    """Bit for bit, and on the host."""
    if isinstance(one, tuple):
        for pair in zip(one, other, strict=True):
            assert_same(*pair)
    elif one is not None:
        assert isinstance(other, np.ndarray | np.generic | float)
        np.testing.assert_array_equal(other, one)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("name", LABELS)
def test_results_are_those_of_the_reference(name, dtype):
    reference, on_card = pair(name, dtype)
    for more in {}, {"output_hidden_states": True, "output_attentions": True}:
        expected, found = (model(**inputs(name), **more, **LABELS[name]) for model in (reference, on_card))
        assert list(found) == list(expected)
        for key in expected:
            assert_same(expected[key], found[key])
    assert isinstance(on_card.parameters.flat, ndarray)


@pytest.mark.parametrize("name", LEARNT)
def test_gradients_are_those_of_the_reference_and_stay(name):
    reference, on_card = pair(name)
    (expected, grads), (found, on_card_grads) = (
        model.loss_and_grads(**inputs(name), dropout_seed=3, **LABELS[name]) for model in (reference, on_card)
    )
    for key in expected:
        assert_same(expected[key], found[key])
    assert isinstance(on_card_grads.flat, ndarray)
    np.testing.assert_array_equal(host(on_card_grads.flat), grads.flat)


def results(out):
    """Every array of an output, those in tuples too."""
    for value in out.values():
        yield from value if isinstance(value, tuple) else [value]


@pytest.mark.parametrize("name", LABELS)
def test_results_stay_on_the_card_if_asked(name, card):
    """Nobody waits for them, either: a call returns before the card has computed."""
    more = {"output_hidden_states": True, "output_attentions": True, **LABELS[name]}
    reference, on_card = pair(name)
    for model, kind in (on_card, ndarray), (reference, np.ndarray | np.generic):
        waits = card.waits
        found = model(**inputs(name), **more, to_host=False)
        assert card.waits == waits
        assert all(isinstance(x, kind) for x in results(found))
        for one, other in zip(results(reference(**inputs(name), **more)), results(found), strict=True):
            np.testing.assert_array_equal(host(other), one)
    if name in WEIGHTED:
        on_card.set_loss_options(class_weights=[1.0, 2.0, 3.0], label_smoothing=0.1)
        waits = card.waits
        on_card(**inputs(name), **LABELS[name], to_host=False)
        assert card.waits == waits
        on_card.set_loss_options()
    if name in LEARNT:
        out, _ = on_card.loss_and_grads(**inputs(name), **LABELS[name], to_host=False)
        assert all(isinstance(x, ndarray) for x in results(out))
        for one, other in zip(
            results(reference.loss_and_grads(**inputs(name), **LABELS[name])[0]), results(out), strict=True
        ):
            np.testing.assert_array_equal(host(other), one)


@pytest.mark.parametrize("engine", ["reference", "gpu"])
def test_inputs_and_labels_come_from_either_side(engine):
    """They are read on the host, where tokens are packed; vectors instead of words go where the model is."""
    model = mb.BertForTokenClassification(CONFIG, seed=1, dtype="float64", engine=engine)
    vectors = RNG.standard_normal((4, 9, 16))
    for given in {"input_ids": IDS}, {"inputs_embeds": vectors}:
        given |= {"attention_mask": MASK, "labels": LABELS["BertForTokenClassification"]["labels"]}
        expected = mb.BertForTokenClassification(CONFIG, seed=1, dtype="float64", engine="reference")
        out, grads = expected.loss_and_grads(**given)
        for either in given, {name: CARD.asarray(array) for name, array in given.items()}:
            found, found_grads = model.loss_and_grads(**either)
            assert_same(out.loss, found.loss)
            assert_same(out.logits, model(**either).logits)
            assert list(found_grads) == list(grads)
            for name, gradient in grads.items():
                assert isinstance(found_grads[name], ndarray if engine == "gpu" else np.ndarray)
                np.testing.assert_array_equal(host(found_grads[name]), gradient)


def test_a_state_comes_from_either_side():
    reference, on_card = pair("BertForMaskedLM")
    for model, other in (reference, on_card), (on_card, reference):
        fresh = mb.BertForMaskedLM(CONFIG, seed=2, dtype="float64", engine=model.engine)
        fresh.load_state_dict(other.state_dict())
        np.testing.assert_array_equal(host(fresh.parameters.flat), host(other.parameters.flat))


def test_a_vector_jacobian_product():
    cotangents = {"last_hidden_state": RNG.standard_normal((4, 9, 16)), "pooler_output": RNG.standard_normal((4, 16))}
    (_, grads), (_, on_card_grads) = (
        model.vjp(cotangents, input_ids=IDS, attention_mask=MASK) for model in pair("BertModel")
    )
    np.testing.assert_array_equal(host(on_card_grads.flat), grads.flat)


class Data:
    fingerprint, per_epoch = "the same batch", 1

    def batch(self, i):
        return {"input_ids": IDS, "attention_mask": MASK, **LABELS["BertForPreTraining"]}


@pytest.mark.parametrize("optimiser", [AdamW, BertAdam, Lamb, Sgd])
def test_training_ends_with_the_bits_of_the_reference(optimiser, tmp_path, card):
    ends = []
    for model in pair("BertForPreTraining"):
        trainer = Trainer(model, optimiser(model, lr=1e-2), schedule(1e-2, 6), Data(), Settings(seed=0))
        trainer.train()
        ends.append(host(model.parameters.flat))
    np.testing.assert_array_equal(*ends)


def test_a_run_goes_on_where_it_was_left(tmp_path):
    """Checkpoints lie on the host: what was begun on a card is finished without one, and the other way round."""

    def trained(engine, folder, resume=False, steps=6):
        model = mb.BertForPreTraining(CONFIG, seed=1, dtype="float64", engine=engine)
        trainer = Trainer(
            model, AdamW(model, lr=1e-2), schedule(1e-2, 6), Data(), Settings(seed=0, save_every=2),
            run=Run(tmp_path / folder, {}, resume),
        )  # fmt: skip
        if steps < 6:
            stop_before(trainer, steps)
        else:
            trainer.train()
        trainer.run.close()
        return host(model.parameters.flat)

    straight = trained("reference", "straight")
    for first, second in ("gpu", "reference"), ("reference", "gpu"), ("gpu", "gpu"):
        trained(first, f"{first} {second}", steps=3)
        np.testing.assert_array_equal(trained(second, f"{first} {second}", resume=True), straight)


def test_to_files_and_back(tmp_path):
    _, on_card = pair("BertForMaskedLM")
    on_card.save_pretrained(tmp_path)
    for engine in "gpu", "reference":
        again = mb.BertForMaskedLM.from_pretrained(tmp_path, dtype="float64", engine=engine)
        np.testing.assert_array_equal(host(again.parameters.flat), host(on_card.parameters.flat))
    assert isinstance(on_card.astype("float32").parameters.flat, ndarray)
    other = mb.BertForMaskedLM(CONFIG, seed=2, dtype="float64", engine="gpu")
    other.load_state_dict({name: host(array) for name, array in on_card.state_dict().items()})
    np.testing.assert_array_equal(host(other.parameters.flat), host(on_card.parameters.flat))


def test_without_cupy_or_a_card_it_is_said(monkeypatch):
    monkeypatch.setattr(CARD.cuda.runtime, "getDeviceCount", lambda: 0)
    with pytest.raises(mb.InputError, match="engine gpu: there is no card here"):
        mb.BertModel(CONFIG, engine="gpu")

    def no_driver():
        raise RuntimeError("cudaErrorNoDevice: no CUDA-capable device is detected")

    monkeypatch.setattr(CARD.cuda.runtime, "getDeviceCount", no_driver)
    with pytest.raises(mb.InputError, match="CuPy finds no card: cudaErrorNoDevice"):
        mb.BertModel(CONFIG, engine="gpu")
    monkeypatch.setitem(sys.modules, "cupy", None)
    with pytest.raises(mb.InputError, match=r"engine gpu: .*cupy"):
        mb.BertModel(CONFIG, engine="gpu")


def test_a_full_card_says_what_to_do(monkeypatch):
    """CuPy's OutOfMemoryError is a MemoryError; its own words stay."""
    _, on_card = pair("BertForMaskedLM")
    before = host(on_card.parameters.flat)

    def full(*_, **__):
        raise MemoryError("Out of memory allocating 1,024 bytes (allocated so far: 512 bytes).")

    monkeypatch.setattr(CARD, "exp", full, raising=False)
    with pytest.raises(MemoryError, match="allocating 1,024 bytes") as raised:
        on_card.loss_and_grads(input_ids=IDS, labels=IDS)
    (note,) = raised.value.__notes__
    assert note.startswith("in ")
    assert note.endswith("on the card\n  hint: fewer texts at a time, shorter ones, or a smaller model")
    np.testing.assert_array_equal(host(on_card.parameters.flat), before)
