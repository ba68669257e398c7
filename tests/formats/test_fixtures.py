"""One tiny BERT from every program that published BERT: the same numbers, and from them the same outputs.

The card of the fixtures is fixtures/README.md; what each of them holds is worked out in fixture_contents.py.
"""

from __future__ import annotations

import numpy as np
import pytest

import minibert as mb
from minibert.formats.opening import open_weights
from tests.formats.fixture_contents import EXPECTED, FIXTURES, HOLDS, style_a

LETTERS = {np.dtype("f4"): "F32", np.dtype("i8"): "I64"}
GRAPH = "_CHECKPOINTABLE_OBJECT_GRAPH"


@pytest.mark.parametrize("fixture", HOLDS)
def test_reads_what_the_program_wrote(fixture):
    expected = HOLDS[fixture]()
    opened = open_weights(FIXTURES / fixture)
    assert {*opened.tensors} - {GRAPH} == {*expected}
    if fixture.startswith("tensorflow2"):
        assert opened.tensors[GRAPH].dtype == "TEXT"
        assert opened.tensors[GRAPH].shape == ()
    half = {"float16": "F16", "bfloat16": "BF16"}.get(fixture.rpartition("-")[2], "F32")
    for name, array in expected.items():
        letters = LETTERS[array.dtype].replace("F32", half)
        width = 2 if letters in ("F16", "BF16") else array.dtype.itemsize
        assert opened.tensors[name] == (letters, array.shape, array.size * width), name
        got = opened.read(name)
        assert got.dtype == (np.float16 if letters == "F16" else array.dtype), name
        np.testing.assert_array_equal(got, array, err_msg=name)
        assert got.astype(array.dtype).tobytes() == array.tobytes(), name  # -0.0 is not 0.0


@pytest.mark.parametrize("fixture", [name for name in HOLDS if name.startswith(("torch", "transformers"))])
def test_tied_tensors_are_reported(fixture):
    opened = open_weights(FIXTURES / fixture)
    tied = {name.removeprefix("module."): first.removeprefix("module.") for name, first in opened.ties.items()}
    expected = {
        "cls.predictions.decoder.weight": "bert.embeddings.word_embeddings.weight",
        "cls.predictions.decoder.bias": "cls.predictions.bias",
    }
    if fixture == "torch-2018":
        del expected["cls.predictions.decoder.bias"]
    assert tied == expected


def test_optimizer_slots_are_told_apart():
    names = style_a()
    assert open_weights(FIXTURES / "tensorflow2-a").slots == {name for name in names if ".OPTIMIZER_SLOT" in name}


def test_full_names_of_objects():
    full = open_weights(FIXTURES / "tensorflow2-b").full_names
    suffix = "/.ATTRIBUTES/VARIABLE_VALUE"
    assert full["masked_lm/embedding_table" + suffix] == "bert_encoder_v2/word_embeddings/embeddings"
    query = "encoder/_transformer_layers/1/_attention_layer/_query_dense/kernel"
    assert full[query + suffix] == "bert_encoder_v2/transformer/layer_1/self_attention/query/kernel"


# --- The same model from all of them ---

OTHERS = ("expected", "tensorflow-classifier", "tensorflow-squad", "tensorflow2")  # other heads, or none
PRETRAINED = [name for name in HOLDS if not name.startswith(OTHERS)]
INPUTS = {
    "input_ids": np.array([[2, 5, 30, 0, 7, 3, 0], [2, 11, 4, 3, 17, 29, 3]]),
    "attention_mask": np.array([[1, 1, 1, 1, 1, 1, 0], [1] * 7]),
    "token_type_ids": np.array([[0] * 7, [0, 0, 0, 0, 1, 1, 1]]),
}


def same_bits(array, other):
    assert array.dtype == other.dtype
    np.testing.assert_array_equal(array, other)
    assert array.tobytes() == other.tobytes()


def assert_same_model(cls, fixture, *outputs, **overrides):
    """The fixture's model has the expected numbers, and computes what a model made of those numbers computes."""
    model = cls.from_pretrained(FIXTURES / fixture, **overrides)
    bare = cls is mb.BertModel  # its names have no prefix
    numbers = {name.removeprefix("bert.") if bare else name: array for name, array in EXPECTED.items()}
    made = cls(mb.BertConfig.from_pretrained(FIXTURES / "safetensors", **overrides))
    made.load_state_dict({name: numbers[name] for name in made.state_dict()})
    assert [*model.state_dict()] == [*made.state_dict()]
    for name, array in model.state_dict().items():
        same_bits(array, numbers[name])
    got, expected = model(**INPUTS), made(**INPUTS)
    for output in outputs:
        same_bits(got[output], expected[output])


@pytest.mark.parametrize("fixture", PRETRAINED)
def test_same_model_from_every_format(fixture):
    assert_same_model(mb.BertForPreTraining, fixture, "prediction_logits", "seq_relationship_logits")


@pytest.mark.parametrize("fixture", ["tensorflow2-a", "tensorflow2-a-old", "tensorflow2-b"])
def test_same_encoder_from_objects(fixture):
    assert_same_model(mb.BertModel, fixture, "last_hidden_state", "pooler_output")


def test_masked_lm_head_from_objects():
    assert_same_model(mb.BertForMaskedLM, "tensorflow2-b", "logits")


def test_heads_of_google_fine_tuning():
    assert_same_model(mb.BertForSequenceClassification, "tensorflow-classifier", "logits", num_labels=3)
    silent = mb.BertForSequenceClassification.from_pretrained(FIXTURES / "tensorflow-classifier")
    assert silent.config.num_labels == 3  # Google's bert_config.json has no word on it
    assert_same_model(mb.BertForQuestionAnswering, "tensorflow-squad", "start_logits", "end_logits")
