"""from_pretrained and save_pretrained: there and back, options, fresh classifiers, and where things are looked for."""

import json
import shutil

import numpy as np
import pytest

import minibert as mb
from minibert.checkpoint import MissingWeights
from minibert.errors import ConfigError, InputError, LoadError, NotFound
from tests.models import cases, tiny
from tests.stored import assert_same_weights, refused, write, write_bfloat16

WORDS = "bert.embeddings.word_embeddings.weight"
SAVED = cases.FIXTURES / "saved"


@pytest.fixture
def masked_lm():
    return tiny.model("BertForMaskedLM", dtype="float32")


# ---- there and back -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("key", ["BertModel", *tiny.HEADS])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_saved_model_is_the_model(tmp_path, key, dtype):
    model = tiny.model("BertModel", dtype=dtype) if key == "BertModel" else tiny.head(key, dtype=dtype)
    model.save_pretrained(tmp_path / "new" / "folder")
    again = type(model).from_pretrained(tmp_path / "new" / "folder", dtype=dtype)
    assert_same_weights(again, model)
    assert again.dtype == dtype
    assert again.config.to_dict().items() >= model.config.to_dict().items()
    assert again.config.extra["architectures"] == [type(model).__name__]
    assert again.load_report.loaded
    assert not again.load_report.missing


@pytest.mark.parametrize("folder", ["single", "sharded"])
def test_what_transformers_saved_loads_with_every_bit(folder):
    case = cases.load("BertForMaskedLM-tied")  # the same weights; float16 holds them
    model = mb.BertForMaskedLM.from_pretrained(SAVED / folder)
    assert len(list((SAVED / folder).glob("*.safetensors"))) == {"single": 1, "sharded": 3}[folder]
    for name, array in model.state_dict().items():
        np.testing.assert_array_equal(array, case.weights[name])


def test_a_file_of_half_or_double_precision_is_converted(tmp_path, masked_lm):
    for dtype in (np.float16, np.float64):
        folder = write(tmp_path, masked_lm, lambda a, d=dtype: a.update({k: x.astype(d) for k, x in a.items()}))
        for wanted in ("float32", "float64"):
            model = mb.BertForMaskedLM.from_pretrained(folder, dtype=wanted)
            assert model.dtype == wanted
            expected = masked_lm.state_dict()[WORDS].astype(dtype).astype(wanted)
            np.testing.assert_array_equal(model.state_dict()[WORDS], expected)


def test_bfloat16_is_converted(tmp_path, masked_lm):
    write(tmp_path, masked_lm)
    write_bfloat16(tmp_path / "model.safetensors", masked_lm.state_dict())
    loaded = mb.BertForMaskedLM.from_pretrained(tmp_path).state_dict()
    for name, array in masked_lm.state_dict().items():
        expected = (array.view(np.uint32) & np.uint32(0xFFFF0000)).view(np.float32)
        np.testing.assert_array_equal(loaded[name], expected)


# ---- configs --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("family", ["roberta", "distilbert", "electra", "albert"])
def test_another_family_is_refused_before_its_weights_are_looked_at(tmp_path, masked_lm, family):
    folder = write(tmp_path, masked_lm, model_type=family)
    refused(folder, f"model_type is '{family}'", error=ConfigError)


def test_the_config_file_of_the_original_release_is_found(tmp_path, masked_lm):
    folder = write(tmp_path, masked_lm)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").unlink()
    (folder / "bert_config.json").write_text(json.dumps({k: v for k, v in config.items() if k != "model_type"}))
    assert_same_weights(mb.BertForMaskedLM.from_pretrained(folder), masked_lm)


def test_options_go_over_the_config(tmp_path, masked_lm):
    folder = write(tmp_path, masked_lm)
    model = mb.BertForMaskedLM.from_pretrained(folder, hidden_dropout_prob=0.3, layer_norm_eps=1e-5)
    assert (model.config.hidden_dropout_prob, model.config.layer_norm_eps) == (0.3, 1e-5)
    refused(folder, "unknown option dropout", "known: ", "hidden_dropout_prob", error=ConfigError, dropout=0.3)
    refused(folder, "dtype: expected float32 or float64", error=InputError, dtype="float16")
    refused(folder, "engine: expected one of", error=InputError, engine="abacus")


def test_a_fresh_classifier_is_made_when_it_is_asked_for(tmp_path):
    """The way that tutorials go: a bare encoder, two labels, and what a tokenizer returns."""
    encoder = tiny.model("BertModel", dtype="float32")
    folder = write(tmp_path, encoder)
    with pytest.warns(MissingWeights, match=r"classifier.weight, classifier.bias; .* must be trained") as caught:
        model = mb.BertForSequenceClassification.from_pretrained(folder, num_labels=2)
    assert caught[0].filename == __file__  # the warning points at the caller
    inputs = {"input_ids": np.array([[2, 5, 3]]), "attention_mask": np.array([[1, 1, 1]])}
    assert model(**inputs).logits.shape == (1, 2)
    np.testing.assert_array_equal(
        model.state_dict()["bert.pooler.dense.weight"], encoder.state_dict()["pooler.dense.weight"]
    )
    with pytest.warns(MissingWeights):
        named = mb.BertForTokenClassification.from_pretrained(folder, id2label={0: "O", 1: "PER", 2: "LOC"})
    assert (named.config.num_labels, named.config.label2id["LOC"]) == (3, 2)


def test_asking_for_labels_forgives_nothing_but_the_whole_classifier(tmp_path):
    model = tiny.head("BertForSequenceClassification", dtype="float32")
    options = {"cls": mb.BertForSequenceClassification, "num_labels": 3}
    half = write(tmp_path / "half", model, lambda a: a.pop("classifier.bias"))
    refused(half, "1 missing: classifier.bias", **options)
    no_pooler = write(
        tmp_path / "no pooler", model, lambda a: [a.pop(k) for k in list(a) if "pooler" in k or "classifier" in k]
    )
    refused(no_pooler, "4 missing: bert.pooler.dense.weight", **options)
    whole = write(tmp_path / "whole", model)
    assert_same_weights(mb.BertForSequenceClassification.from_pretrained(whole, num_labels=3), model)
    refused(whole, "classifier.weight is F32 [3, 8], expected [5, 8]", **{**options, "num_labels": 5})


# ---- where things are -----------------------------------------------------------------------------------------------


def test_what_was_looked_for_is_said(tmp_path, masked_lm):
    refused(tmp_path / "nowhere", "nowhere", "no such file or folder", error=NotFound)
    refused(tmp_path, "no weights found (looked for model.safetensors, ", error=NotFound)
    folder = write(tmp_path, masked_lm)
    refused(folder / "config.json", "expected weights in a format that minibert reads, got a file that begins with")


def test_a_model_inside_a_package_is_found(tmp_path, masked_lm, monkeypatch):
    package = tmp_path / "a_package_of_models"
    package.mkdir()
    (package / "__init__.py").write_text("raise RuntimeError('was imported')")
    write(package / "small", masked_lm)
    monkeypatch.syspath_prepend(tmp_path)
    assert_same_weights(mb.BertForMaskedLM.from_pretrained("pkg:a_package_of_models/small"), masked_lm)
    refused("pkg:a_package_of_models/large", "not inside the package", error=NotFound)


# ---- saving ---------------------------------------------------------------------------------------------------------


def test_saving_where_a_file_is_is_refused(tmp_path, masked_lm):
    (tmp_path / "file").write_text("")
    with pytest.raises(LoadError, match="expected a folder to save into, got a file"):
        masked_lm.save_pretrained(tmp_path / "file")


def test_saving_over_the_model_that_was_loaded_keeps_it_whole(tmp_path, masked_lm):
    write(tmp_path, masked_lm)
    model = mb.BertForMaskedLM.from_pretrained(tmp_path)
    model.parameters.flat += 1
    model.save_pretrained(tmp_path)
    again = mb.BertForMaskedLM.from_pretrained(tmp_path)
    assert_same_weights(again, model)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["config.json", "model.safetensors"]


def test_a_loaded_model_does_not_hang_on_its_file(tmp_path, masked_lm):
    folder = write(tmp_path / "gone", masked_lm)
    model = mb.BertForMaskedLM.from_pretrained(folder)
    shutil.rmtree(folder)
    assert_same_weights(model, masked_lm)
