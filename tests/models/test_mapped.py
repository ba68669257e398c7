"""A model from a file stays in the file until somebody may write to it; nobody can tell but by time and memory."""

import copy
import pickle

import numpy as np
import pytest

import minibert as mb
from minibert.checkpoint import MissingWeights
from minibert.models.parameters import Block, Windows
from minibert.tasks.convert import convert
from tests.models import tiny
from tests.stored import assert_same_weights, write, write_bfloat16
from tests.tolerances import MAPPED

IDS = np.array([[2, 5, 7, 3], [1, 18, 0, 4]])
QKV = "bert.encoder.layer.0.attention.self.qkv.weight"


def assert_near(a, b):
    np.testing.assert_allclose(a, b, rtol=0, atol=MAPPED)


@pytest.fixture
def made():
    return tiny.model("BertForMaskedLM", dtype="float32")


@pytest.fixture
def mapped(tmp_path, made):
    return mb.BertForMaskedLM.from_pretrained(write(tmp_path / "model", made))


def test_inference_leaves_the_weights_in_the_file(mapped, made):
    assert isinstance(mapped.readable, Windows)
    assert_near(mapped(IDS).logits, made(IDS).logits)
    where = np.zeros_like(IDS)
    where[1, 2] = 1
    assert_near(mapped.logits_at(where, IDS), made.logits_at(where, IDS))
    assert (mapped.dtype, mapped.num_parameters(), repr(mapped)) == (made.dtype, made.num_parameters(), repr(made))
    assert isinstance(mapped.readable, Windows)
    assert not mapped.readable["cls.predictions.bias"].flags.writeable


def test_windows_are_read_as_a_block_is(mapped, made):
    assert [*mapped.readable] == [*made.parameters]
    assert len(mapped.readable) == len(made.parameters)
    assert QKV not in [*mapped.readable]
    for name in [*made.parameters, QKV]:
        np.testing.assert_array_equal(mapped.readable[name], made.parameters[name])
    with pytest.raises(KeyError):
        mapped.readable["nothing"]


def test_whoever_may_write_gets_a_copy(mapped, made, tmp_path):
    before = (tmp_path / "model" / "model.safetensors").read_bytes()
    own = mapped.state_dict()
    assert isinstance(mapped.readable, Block)
    assert mapped.readable is mapped.parameters
    assert_same_weights(mapped, made)
    own["cls.predictions.bias"][...] = 3
    assert (mapped.parameters["cls.predictions.bias"] == 3).all()
    assert not np.array_equal(mapped(IDS).logits, made(IDS).logits)
    assert (tmp_path / "model" / "model.safetensors").read_bytes() == before


def test_gradients_are_those_of_a_model_in_memory(mapped, made):
    labels = np.array([[-100, 5, -100, 3], [1, -100, 0, -100]])
    (out, grads), (expected, others) = (model.loss_and_grads(IDS, labels=labels) for model in (mapped, made))
    assert out.loss == expected.loss
    for name, gradient in grads.items():
        np.testing.assert_array_equal(gradient, others[name])


@pytest.mark.parametrize("again", [copy.copy, copy.deepcopy, lambda model: pickle.loads(pickle.dumps(model))])
def test_copies_do_not_need_the_file(mapped, made, again):
    other = again(mapped)
    assert isinstance(other.readable, Block)
    assert_same_weights(other, made)


def test_saving_over_the_file_that_is_mapped(mapped, made, tmp_path):
    mapped.save_pretrained(tmp_path / "model")
    assert isinstance(mapped.readable, Windows)
    assert_near(mapped(IDS).logits, made(IDS).logits)
    assert_same_weights(mb.BertForMaskedLM.from_pretrained(tmp_path / "model"), made)


@pytest.mark.parametrize("to", ["npz", "tf"])
def test_other_formats(tmp_path, made, to):
    convert(write(tmp_path / "a", made), tmp_path / "b", to)
    model = mb.BertForMaskedLM.from_pretrained(tmp_path / "b")
    assert isinstance(model.readable, Windows if to == "npz" else Block)  # Google's kernels have to be transposed
    assert_near(model(IDS).logits, made(IDS).logits)
    assert_same_weights(model, made)


def test_what_does_not_lie_ready_is_copied(tmp_path, made):
    folder = write(tmp_path / "a", made)
    assert isinstance(mb.BertForMaskedLM.from_pretrained(folder, dtype="float64").readable, Block)
    with pytest.warns(MissingWeights):
        classifier = mb.BertForNextSentencePrediction.from_pretrained(folder, strict=False)
    assert isinstance(classifier.readable, Block)
    write_bfloat16(folder / "model.safetensors", made.state_dict())
    assert isinstance(mb.BertForMaskedLM.from_pretrained(folder).readable, Block)
