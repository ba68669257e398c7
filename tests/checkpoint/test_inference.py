"""A configuration told from the weights alone, and models that lie in single files or under other people's wrappers."""

import json

import numpy as np
import pytest

import minibert as mb
from minibert.checkpoint.inference import architecture
from minibert.formats.safetensors import save_safetensors
from tests.models import tiny
from tests.stored import assert_same_weights, refused, rename, write

WORDS = "bert.embeddings.word_embeddings.weight"


@pytest.fixture
def masked_lm():
    return tiny.model("BertForMaskedLM", dtype="float32")


def without_config(folder, model, change=lambda arrays: None):
    write(folder, model, change)
    (folder / "config.json").unlink()
    return folder


def test_sizes_are_those_of_the_weights(tmp_path, masked_lm):
    folder = without_config(tmp_path, masked_lm)
    again = mb.BertForMaskedLM.from_pretrained(folder, num_attention_heads=2)
    assert_same_weights(again, masked_lm)
    own, told = masked_lm.config.to_dict(), again.config.to_dict()
    sizes = [f"{name}_size" for name in ("vocab", "hidden", "intermediate", "type_vocab")]
    others = ["max_position_embeddings", "hidden_act", "layer_norm_eps", "tie_word_embeddings", "model_type"]
    for key in [*sizes, *others, "num_hidden_layers", "num_attention_heads"]:
        assert told[key] == own[key], key
    assert "no config.json: sizes are those of the weights" in str(again.load_report)


@pytest.mark.parametrize(("hidden", "heads"), [(128, 2), (312, 12), (384, 12), (768, 12), (1024, 16)])
def test_heads_are_those_of_the_published_models_of_that_size_and_said(tmp_path, hidden, heads):
    """MiniLM has 12 heads of 32: 6 of 64 would be other numbers."""
    model = mb.BertModel(mb.BertConfig(30, hidden, num_hidden_layers=1, num_attention_heads=heads))
    with pytest.warns(UserWarning, match=rf"no config\.json; num_attention_heads does not show .*: {heads} heads of"):
        again = mb.BertModel.from_pretrained(without_config(tmp_path, model))
    assert again.config.num_attention_heads == heads
    assert f"{heads} heads of {hidden // heads}, as in published BERTs of hidden size {hidden}" in str(
        again.load_report
    )


def test_heads_that_cannot_be_told_are_asked_for(tmp_path, masked_lm):
    unpublished = mb.BertModel(mb.BertConfig(30, hidden_size=192, num_hidden_layers=1, num_attention_heads=3))
    refused(without_config(tmp_path / "192", unpublished), "number of heads cannot be told")
    refused(without_config(tmp_path, masked_lm), "number of heads cannot be told", "num_attention_heads=")


@pytest.mark.parametrize("gone", [WORDS, "bert.encoder.layer.0.intermediate.dense.weight"])
def test_sizes_that_cannot_be_told_are_named(tmp_path, masked_lm, gone):
    folder = without_config(tmp_path, masked_lm, lambda arrays: arrays.pop(gone))
    refused(folder, "no config.json", f"{gone} is not there", "put the model's config.json")


def test_an_untied_decoder_shows(tmp_path):
    model = tiny.model("BertForMaskedLM", dtype="float32", tie_word_embeddings=False)
    again = mb.BertForMaskedLM.from_pretrained(without_config(tmp_path, model), num_attention_heads=2)
    assert not again.config.tie_word_embeddings
    assert_same_weights(again, model)


def test_a_classifier_tells_its_labels(tmp_path):
    model = tiny.model("BertForSequenceClassification", dtype="float32", num_labels=5)
    again = mb.BertForSequenceClassification.from_pretrained(without_config(tmp_path, model), num_attention_heads=2)
    assert again.config.num_labels == 5
    assert_same_weights(again, model)


def test_a_config_that_is_silent_on_labels_does_not_contradict_the_classifier(tmp_path):
    model = tiny.model("BertForSequenceClassification", dtype="float32", num_labels=3)
    folder = write(tmp_path, model)
    values = json.loads((folder / "config.json").read_text())
    (folder / "config.json").unlink()
    silent = {key: value for key, value in values.items() if key not in ("id2label", "label2id")}
    (folder / "bert_config.json").write_text(json.dumps(silent))
    again = mb.BertForSequenceClassification.from_pretrained(folder)
    assert_same_weights(again, model)
    assert "num_labels is 3, the rows of the classifier" in str(again.load_report)
    refused(folder, "classifier.weight is F32 [3, 8], expected [4, 8]", cls=type(model), num_labels=4)


def silent_on_labels(folder, model, change=lambda arrays: None):
    write(folder, model, change)
    values = json.loads((folder / "config.json").read_text())
    silent = {key: value for key, value in values.items() if key not in ("id2label", "label2id", "architectures")}
    (folder / "config.json").write_text(json.dumps(silent))
    return folder


@pytest.mark.parametrize("labels", [1, 2, 5])
def test_labels_are_the_rows_of_a_classifier_that_is_stored_the_other_way_round(tmp_path, labels):
    """As Keras and Flax do; transformers writes no labels into a config where there are two."""
    model = tiny.model("BertForSequenceClassification", dtype="float32", num_labels=labels)

    def kernel(arrays):
        arrays["classifier.kernel"] = np.ascontiguousarray(arrays.pop("classifier.weight").T)

    again = mb.BertForSequenceClassification.from_pretrained(silent_on_labels(tmp_path, model, kernel))
    assert again.config.num_labels == labels
    assert_same_weights(again, model)


@pytest.mark.parametrize("config", ["none", "without model_type"])
def test_an_encoder_of_roberta_is_told_by_its_shapes(tmp_path, config):
    """Saved by itself it has BERT's names; its positions count from 2."""
    model = tiny.model("BertModel", dtype="float32", max_position_embeddings=18, type_vocab_size=1)
    folder = write(tmp_path, model)
    assert_same_weights(mb.BertModel.from_pretrained(folder), model)  # its config says that it is a BERT
    values = json.loads((folder / "config.json").read_text())
    (folder / "config.json").unlink()
    if config != "none":
        (folder / "config.json").write_text(json.dumps({k: v for k, v in values.items() if k != "model_type"}))
    options = {"cls": mb.BertModel, "num_attention_heads": 2}
    refused(folder, "one token type and 2^k + 2 positions are RoBERTa's", '"model_type": "bert"', **options)
    assert_same_weights(mb.BertModel.from_pretrained(folder, num_attention_heads=2, model_type="bert"), model)


@pytest.mark.parametrize("cls", tiny.HEADS)
def test_the_class_is_guessed_from_the_tensors(cls):
    model = tiny.head(cls)
    heads = ("bert.", "cls.", "classifier.", "crf.", "qa_outputs.")
    names = [name if name.startswith(heads) else f"bert.{name}" for name in model.state_dict()]
    expected = type(model).__name__
    if expected in ("BertForMultipleChoice", "BertForTokenClassification"):  # their heads look the same
        expected = "BertForSequenceClassification"
    assert architecture(names) == expected


def test_no_encoder_is_no_bert():
    assert architecture(["cls.predictions.bias"]) is None
    assert architecture([]) is None


def test_a_single_file_reads_the_config_beside_it(tmp_path, masked_lm):
    folder = write(tmp_path, masked_lm)
    (folder / "model.safetensors").rename(folder / "whatever.bin")
    assert_same_weights(mb.BertForMaskedLM.from_pretrained(folder / "whatever.bin"), masked_lm)
    assert_same_weights(mb.BertForMaskedLM.from_pretrained(folder), masked_lm)  # the only weights there


@pytest.mark.parametrize("prefix", ["module.", "_orig_mod.", "model.", "0.auto_model.", "encoder."])
def test_wrappers_are_taken_off_and_said(tmp_path, prefix):
    model = tiny.model("BertModel", dtype="float32")
    folder = write(tmp_path, model, lambda arrays: rename(arrays, "", prefix, count=1))
    again = mb.BertModel.from_pretrained(folder)
    assert_same_weights(again, model)
    assert f"names begin with {prefix}, which is left out" in str(again.load_report)


def test_two_models_in_one_file_are_refused(tmp_path):
    model = tiny.model("BertModel", dtype="float32")

    def two(arrays):
        for name in list(arrays):
            array = arrays.pop(name)
            arrays[f"question_encoder.bert_model.{name}"], arrays[f"ctx_encoder.bert_model.{name}"] = array, array + 1

    refused(write(tmp_path, model, two), "one tensor under two names, but differ", "two models", cls=mb.BertModel)


@pytest.mark.parametrize("multiple", [8, 64])
def test_a_vocabulary_padded_for_the_matrix_units_is_cut(tmp_path, masked_lm, multiple):
    def pad(arrays):
        for name in (WORDS, "cls.predictions.bias"):
            extra = -len(arrays[name]) % multiple
            arrays[name] = np.pad(arrays[name], [(0, extra)] + [(0, 0)] * (arrays[name].ndim - 1), constant_values=9)

    again = mb.BertForMaskedLM.from_pretrained(write(tmp_path, masked_lm, pad))
    assert_same_weights(again, masked_lm)
    assert "for a vocabulary of 19; the padding is left out" in str(again.load_report)


def test_other_extra_rows_are_no_padding(tmp_path, masked_lm):
    def pad(arrays):
        arrays[WORDS] = np.pad(arrays[WORDS], [(0, 2), (0, 0)])

    refused(write(tmp_path, masked_lm, pad), f"{WORDS} is F32 [21, 8], expected [19, 8]")


def test_c07_a_transposed_matrix_is_recognised_by_its_shape(tmp_path, masked_lm):
    name = "bert.encoder.layer.0.intermediate.dense.weight"
    folder = write(tmp_path, masked_lm, lambda arrays: arrays.update({name: np.ascontiguousarray(arrays[name].T)}))
    refused(folder, f"{name} is F32 [8, 12], expected [12, 8], its transpose")


def test_a_tensorflow_prefix_that_is_not_there(tmp_path):
    refused(tmp_path / "bert_model.ckpt", "no such file or folder", error=mb.NotFound)


def test_weights_of_something_else(tmp_path):
    save_safetensors(tmp_path / "model.safetensors", {"wte.weight": np.zeros((3, 2), np.float32)})
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "gpt2"}))
    refused(tmp_path, "model_type is 'gpt2', expected \"bert\"", error=mb.ConfigError)
    (tmp_path / "config.json").unlink()
    refused(tmp_path, "the weights do not tell the sizes")
