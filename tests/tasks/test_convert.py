"""Converting: nothing is lost, everything is accounted for, nothing is overwritten; and comparing two checkpoints."""

import hashlib
import json

import numpy as np
import pytest

import minibert as mb
from minibert.checkpoint.saving import TARGETS
from minibert.formats.safetensors import open_safetensors
from minibert.tasks.convert import convert
from minibert.tasks.difference import differences
from tests.models import tiny
from tests.specimens import tiny_folder
from tests.stored import assert_same_weights, write, write_bfloat16

CLASSES = ("BertForPreTraining", "BertForSequenceClassification", "BertForQuestionAnswering", "BertModel")


@pytest.mark.parametrize("to", TARGETS)
@pytest.mark.parametrize("cls", CLASSES)
def test_there_and_back(tmp_path, cls, to):
    model = tiny.model(cls, dtype="float32")
    convert(write(tmp_path / "a", model), tmp_path / "b", to)
    done = convert(tmp_path / "b", tmp_path / "c", "safetensors")
    assert_same_weights(getattr(mb, cls).from_pretrained(tmp_path / "b"), model)
    assert_same_weights(getattr(mb, cls).from_pretrained(tmp_path / "c"), model)
    if to != "tf" or cls != "BertForMultipleChoice":  # Google's config does not say which class has the classifier
        assert done.architecture == cls
    assert (done.missing, done.unused, done.tied) == ([], {}, {})
    rows = differences(tmp_path / "a", tmp_path / "c")
    assert len(rows) == len(model.state_dict())
    assert all(row.largest == 0 for row in rows)


@pytest.mark.parametrize("to", TARGETS)
def test_the_report_accounts_for_every_tensor(tmp_path, to):
    model = tiny.model("BertForMaskedLM", dtype="float32")
    extra = {
        "bert.embeddings.position_ids": np.arange(16)[None],
        "cls.predictions.decoder.weight": model.state_dict()["bert.embeddings.word_embeddings.weight"],
    }
    folder = write(tmp_path / "a", model, lambda arrays: arrays.update(extra), architectures=["BertForPreTraining"])
    done = convert(folder, tmp_path / "b", to)
    report = json.loads((tmp_path / "b" / "report.json").read_text())
    assert report == json.loads(json.dumps(done.to_dict()))
    assert {row["source"] for row in report["tensors"]} == set(model.state_dict())
    assert report["unused"] == {"bert.embeddings.position_ids": "a buffer"}
    assert report["tied"] == {"cls.predictions.decoder.weight": "bert.embeddings.word_embeddings.weight"}
    assert len(report["missing"]) == 4  # pooler and next sentence: the config asked for a BertForPreTraining
    assert "cls.seq_relationship.weight" in report["missing"]
    name = "bert.encoder.layer.0.attention.self.query.weight"
    row = next(row for row in report["tensors"] if row["source"] == name)
    assert row["sha256"] == hashlib.sha256(model.state_dict()[name].tobytes()).hexdigest()
    assert row["target"] == ("bert/encoder/layer_0/attention/self/query/kernel" if to == "tf" else name)
    assert row["operation"] == ("transpose" if to == "tf" else "same")
    assert sorted(report["files"]) == sorted(path.name for path in (tmp_path / "b").iterdir())


def test_the_padding_of_a_vocabulary_is_left_out_where_the_report_says_so(tmp_path):
    model = tiny.model("BertForMaskedLM", dtype="float32")
    words = "bert.embeddings.word_embeddings.weight"

    def pad(arrays):
        for name in (words, "cls.predictions.bias"):
            arrays[name] = np.concatenate([arrays[name], arrays[name][:5]])  # 19 words, 24 rows

    done = convert(write(tmp_path / "a", model, pad), tmp_path / "b")
    assert f"{words} has 24 rows for a vocabulary of 19; the padding is left out" in done.notes
    written = open_safetensors(tmp_path / "b" / "model.safetensors").tensors
    assert (written[words].shape, written["cls.predictions.bias"].shape) == ((19, 8), (19,))
    assert {row.operation for row in done.tensors} == {"same", "first 19 rows"}
    assert_same_weights(mb.BertForMaskedLM.from_pretrained(tmp_path / "b"), model)


def test_a_decoder_that_differs_from_the_words_is_not_called_tied(tmp_path):
    model = tiny.model("BertForMaskedLM", dtype="float32")
    name = "cls.predictions.decoder.weight"
    folder = write(tmp_path / "a", model, lambda a: a.update({name: a["bert.embeddings.word_embeddings.weight"] + 1}))
    with pytest.warns(UserWarning, match="it is not used"):
        done = convert(folder, tmp_path / "b")
    assert (done.tied, done.unused) == ({}, {name: "differs from what it is tied to"})


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"layer_norm_eps": 1e-5}, "Google's code has no layer_norm_eps: it computes with 1e-12, not 1e-05"),
        ({"is_decoder": True}, "Google's code has no is_decoder: it computes with False, not True"),
        ({"hidden_act": "gelu_new"}, "Google's code knows no hidden_act gelu_new"),
        ({"hidden_act": "gelu"}, "Google's code computes the tanh form for hidden_act gelu"),
    ],
)
def test_what_google_computes_otherwise_is_said_and_not_lost(tmp_path, options, told):
    model = tiny.model("BertForMaskedLM", dtype="float32", **options)
    done = convert(write(tmp_path / "a", model), tmp_path / "b", "tf")
    assert any(note.startswith(told) for note in done.notes)
    again = mb.BertForMaskedLM.from_pretrained(tmp_path / "b").config.to_dict()
    assert {name: again[name] for name in model.config.to_dict()} == model.config.to_dict()


def test_an_activation_that_is_given_is_no_matter_for_a_note(tmp_path):
    model = tiny.model("BertModel", dtype="float32")
    convert(write(tmp_path / "a", model), tmp_path / "b", "tf")
    assert "hidden_act" in str(mb.BertModel.from_pretrained(tmp_path / "b").load_report)
    again = mb.BertModel.from_pretrained(tmp_path / "b", hidden_act="gelu_new")
    assert "hidden_act" not in str(again.load_report)


def test_names_of_labels_survive_googles_config(tmp_path):
    names = {0: "O", 1: "PER"}
    model = tiny.model("BertForTokenClassification", dtype="float32", id2label=names, hidden_act="relu")
    assert convert(write(tmp_path / "a", model), tmp_path / "b", "tf").notes == []
    assert mb.BertForTokenClassification.from_pretrained(tmp_path / "b").config.id2label == names


def test_google_does_not_restore_other_precisions_and_that_is_said(tmp_path):
    model = tiny.model("BertModel", dtype="float32")
    half = write(tmp_path / "a", model, lambda arrays: arrays.update({k: x.astype("f2") for k, x in arrays.items()}))
    notes = convert(half, tmp_path / "b", "tf").notes
    assert "Google's code has float32 variables, and does not restore them from F16" in notes


def test_google_to_google_transposes_nothing_in_the_end(tmp_path):
    model = tiny.model("BertForPreTraining", dtype="float32")
    convert(write(tmp_path / "a", model), tmp_path / "b", "tf")
    done = convert(tmp_path / "b", tmp_path / "c", "tf")
    assert {row.operation for row in done.tensors} == {"same"}
    data = "bert_model.ckpt.data-00000-of-00001"
    assert (tmp_path / "b" / data).read_bytes() == (tmp_path / "c" / data).read_bytes()
    assert json.loads((tmp_path / "b" / "bert_config.json").read_text()).keys() >= {
        "attention_probs_dropout_prob", "hidden_act", "hidden_dropout_prob", "hidden_size", "initializer_range",
        "intermediate_size", "max_position_embeddings", "num_attention_heads", "num_hidden_layers", "type_vocab_size",
        "vocab_size",
    }  # fmt: skip


@pytest.mark.parametrize("to", TARGETS)
def test_settings_that_google_does_not_have_survive(tmp_path, to):
    labels = {0: "no", 1: "yes", 2: "perhaps"}
    model = tiny.model("BertForTokenClassification", dtype="float32", layer_norm_eps=0.01, id2label=labels)
    done = convert(write(tmp_path / "a", model, architectures=["BertForTokenClassification"]), tmp_path / "b", to)
    again = mb.BertForTokenClassification.from_pretrained(tmp_path / "b")
    assert (again.config.layer_norm_eps, again.config.id2label) == (0.01, labels)
    assert done.architecture == convert(tmp_path / "b", tmp_path / "c").architecture == "BertForTokenClassification"
    assert any("Google's code has no layer_norm_eps" in note for note in done.notes) == (to == "tf")


def test_a_regression_from_tensorflow_has_one_label(tmp_path):
    model = tiny.model("BertForSequenceClassification", dtype="float32", num_labels=1)
    convert(write(tmp_path / "a", model), tmp_path / "b", "tf")
    path = tmp_path / "b" / "bert_config.json"
    config = json.loads(path.read_text())
    path.write_text(json.dumps({k: v for k, v in config.items() if k not in ("id2label", "label2id", "architectures")}))
    again = mb.BertForSequenceClassification.from_pretrained(tmp_path / "b")
    assert again.config.num_labels == 1
    assert_same_weights(again, model)


@pytest.mark.parametrize("to", TARGETS)
def test_the_files_of_a_sentence_transformer_come_along(tmp_path, to):
    folder = tiny_folder(tmp_path / "a")
    kinds = (("Transformer", ""), ("Pooling", "1_Pooling"), ("Normalize", "2_Normalize"))
    modules = [{"type": f"sentence_transformers.models.{kind}", "path": path} for kind, path in kinds]
    (folder / "1_Pooling").mkdir()
    (folder / "modules.json").write_text(json.dumps(modules))
    (folder / "1_Pooling" / "config.json").write_text('{"pooling_mode_cls_token": true}')
    (folder / "sentence_bert_config.json").write_text('{"max_seq_length": 7}')
    convert(folder, tmp_path / "b", to)
    old, new = (mb.SentenceEncoder.from_pretrained(path) for path in (folder, tmp_path / "b"))
    assert repr(old) == repr(new)
    # TensorFlow stores matrices the other way round, and BLAS has another kernel for them
    np.testing.assert_allclose(new.encode("A cat sat."), old.encode("A cat sat."), rtol=0, atol=1e-6)


@pytest.mark.parametrize("name", ["vocab.txt", "tokenizer_config.json"])
def test_nothing_is_written_if_a_file_that_comes_along_is_damaged(tmp_path, name):
    folder = tiny_folder(tmp_path / "a")
    (folder / "tokenizer_config.json").unlink()
    (folder / name).write_bytes(b"\xff{")
    with pytest.raises(mb.LoadError, match=name):
        convert(folder, tmp_path / "b")
    assert not (tmp_path / "b").exists()


def test_weights_are_never_there_without_their_configuration(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    folder = tiny_folder(tmp_path / "a")
    monkeypatch.setattr("minibert.checkpoint.saving.save_safetensors", full)
    with pytest.raises(OSError, match="No space left on device"):
        convert(folder, tmp_path / "b")
    assert {"config.json", "vocab.txt"} <= {path.name for path in (tmp_path / "b").iterdir()}


def test_one_shard_of_several_is_refused(tmp_path):
    model = tiny.model("BertForMaskedLM", dtype="float32")
    folder = write(tmp_path / "a", model, lambda a: [a.pop(name) for name in list(a) if ".layer.1." in name])
    with pytest.raises(mb.LoadError, match="16 tensors of the encoder are missing"):
        convert(folder, tmp_path / "b")
    assert not (tmp_path / "b").exists()


def test_the_tokenizer_comes_along(tmp_path):
    folder = tiny_folder(tmp_path / "a")
    convert(folder, tmp_path / "b")
    text = "The cat sat on the mat."
    tokenizers = [mb.BertTokenizer.from_pretrained(place) for place in (folder, tmp_path / "b")]
    assert tokenizers[0](text).input_ids == tokenizers[1](text).input_ids
    assert (folder / "vocab.txt").read_bytes() == (tmp_path / "b" / "vocab.txt").read_bytes()


@pytest.mark.parametrize(("piece", "lower"), [("London", False), ("london", True)])
def test_casing_is_told_by_the_vocabulary_where_no_file_says_it(tmp_path, piece, lower):
    folder = tiny_folder(tmp_path / "a", vocab_size=30)
    with (folder / "vocab.txt").open("a") as file:
        file.write(f"{piece}\n")
    (folder / "tokenizer_config.json").unlink()
    done = convert(folder, tmp_path / "b")
    assert json.loads((tmp_path / "b" / "tokenizer_config.json").read_text())["do_lower_case"] is lower
    assert any(f"do_lower_case: {str(lower).lower()}, since" in note for note in done.notes)


def test_a_file_that_says_it_is_believed(tmp_path):
    folder = tiny_folder(tmp_path / "a")
    (folder / "tokenizer_config.json").write_text('{"do_lower_case": false, "model_max_length": 7}')
    convert(folder, tmp_path / "b")
    assert (tmp_path / "b" / "tokenizer_config.json").read_bytes() == (folder / "tokenizer_config.json").read_bytes()


def test_other_settings_of_the_tokenizer_stay(tmp_path):
    folder = tiny_folder(tmp_path / "a")
    (folder / "tokenizer_config.json").write_text('{"model_max_length": 7}')
    convert(folder, tmp_path / "b")
    settings = json.loads((tmp_path / "b" / "tokenizer_config.json").read_text())
    assert settings == {"model_max_length": 7, "do_lower_case": True}


def test_nothing_is_overwritten(tmp_path):
    folder = write(tmp_path / "a", tiny.model("BertModel", dtype="float32"))
    before = {path: path.read_bytes() for path in folder.iterdir()}
    with pytest.raises(mb.InputError, match="expected the name of a new folder"):
        convert(folder, "")
    for target in (folder, folder / "config.json"):
        with pytest.raises(mb.InputError, match="expected a new or an empty folder"):
            convert(folder, target)
    assert {path: path.read_bytes() for path in folder.iterdir()} == before


def test_tensors_of_something_else_are_refused_or_left_out_and_reported(tmp_path):
    model = tiny.model("BertModel", dtype="float32")
    folder = write(tmp_path / "a", model, lambda arrays: arrays.update({"adapter.w": np.ones(3, np.float32)}))
    with pytest.raises(mb.LoadError, match=r"1 tensors are no part of BERT: adapter\.w"):
        convert(folder, tmp_path / "b")
    assert not (tmp_path / "b").exists()
    assert convert(folder, tmp_path / "b", strict=False).unused == {"adapter.w": "no part of BERT"}
    assert_same_weights(mb.BertModel.from_pretrained(tmp_path / "b"), model)


def test_what_is_no_bert_is_refused(tmp_path):
    model = tiny.model("BertModel", dtype="float32")
    folder = write(tmp_path / "a", model, lambda a: [a.pop(name) for name in list(a) if name.startswith("encoder")])
    with pytest.raises(mb.LoadError, match=r"no BERT: none of 7 tensors is an encoder layer's"):
        convert(folder, tmp_path / "b")


def test_a_config_that_contradicts_the_weights(tmp_path):
    folder = write(tmp_path / "a", tiny.model("BertModel", dtype="float32"), intermediate_size=13)
    with pytest.raises(mb.LoadError, match=r"config\.json contradicts the weights"):
        convert(folder, tmp_path / "b")
    assert not (tmp_path / "b").exists()


def test_an_untied_decoder_has_no_place_in_googles_code(tmp_path):
    folder = write(tmp_path / "a", tiny.model("BertForMaskedLM", dtype="float32", tie_word_embeddings=False))
    with pytest.raises(mb.InputError, match=r"cls\.predictions\.decoder\.\w+: Google's code has no such tensor"):
        convert(folder, tmp_path / "b", "tf")
    assert not (tmp_path / "b").exists()
    convert(folder, tmp_path / "c", "npz")
    assert all(row.largest == 0 for row in differences(folder, tmp_path / "c"))


def test_an_unknown_format(tmp_path):
    with pytest.raises(mb.InputError, match="to: expected one of safetensors, npz, tf, got 'onnx'"):
        convert(tmp_path, tmp_path / "b", "onnx")


def test_bfloat16_becomes_float32_exactly(tmp_path):
    model = tiny.model("BertModel", dtype="float32")
    for array in model.state_dict().values():
        array.view(np.uint32)[...] &= 0xFFFF0000
    folder = write(tmp_path / "a", model, dtype="bfloat16")
    write_bfloat16(folder / "model.safetensors", model.state_dict())
    done = convert(folder, tmp_path / "b")
    assert "dtype" not in json.loads((tmp_path / "b" / "config.json").read_text())
    assert {row.dtype for row in done.tensors} == {"BF16"}
    assert_same_weights(mb.BertModel.from_pretrained(tmp_path / "b"), model)


# ---- diff -----------------------------------------------------------------------------------------------------------


def test_differences_are_found_and_measured(tmp_path):
    model = tiny.model("BertForMaskedLM", dtype="float32")
    bias, weight = "bert.encoder.layer.0.output.dense.bias", "bert.encoder.layer.1.output.dense.weight"

    def change(arrays):
        arrays[bias] = arrays[bias] + np.eye(8, dtype=np.float32)[3] / 4
        arrays[weight] = arrays[weight][:, 1:].copy()
        arrays["adapter.w"] = np.ones(3, np.float32)
        del arrays["cls.predictions.bias"]

    rows = {row.name: row for row in differences(write(tmp_path / "a", model), write(tmp_path / "b", model, change))}
    assert rows[bias].largest == pytest.approx(0.25, rel=1e-6)
    assert rows[weight].largest == np.inf
    assert rows[weight].remark == "[8, 12] against [8, 11]"
    assert rows["adapter.w"].largest is None
    assert rows["adapter.w"].remark == f"only in {tmp_path / 'b'}"
    assert rows["cls.predictions.bias"].remark == f"only in {tmp_path / 'a'}"
    others = set(rows) - {bias, weight, "adapter.w", "cls.predictions.bias"}
    assert all(rows[name].largest == 0 for name in others)


def test_a_tied_tensor_stored_twice_is_no_difference(tmp_path):
    model = tiny.model("BertForMaskedLM", dtype="float32")
    words, decoder = "bert.embeddings.word_embeddings.weight", "cls.predictions.decoder.weight"
    a = write(tmp_path / "a", model)
    b = write(tmp_path / "b", model, lambda arrays: arrays.update({decoder: arrays[words]}))
    c = write(tmp_path / "c", model, lambda arrays: arrays.update({decoder: arrays[words] + 1}))
    assert all(row.largest == 0 for pair in ((a, b), (b, a), (b, b)) for row in differences(*pair))
    assert {row.name: row.remark for row in differences(a, c) if row.largest != 0} == {decoder: f"only in {c}"}
    assert {row.name: row.largest for row in differences(b, c)}[decoder] == pytest.approx(1, rel=1e-6)


def test_no_configuration_is_needed_to_compare(tmp_path):
    folders = [write(tmp_path / name, tiny.model("BertModel", dtype="float32")) for name in "ab"]
    (folders[0] / "config.json").unlink()
    assert all(row.largest == 0 for row in differences(*folders))


def test_the_bias_of_the_decoder_goes_by_either_name(tmp_path):
    model = tiny.model("BertForMaskedLM", dtype="float32")
    bias = "cls.predictions.decoder.bias"
    renamed = write(tmp_path / "b", model, lambda a: a.update({bias: a.pop("cls.predictions.bias")}))
    assert all(row.largest == 0 for row in differences(write(tmp_path / "a", model), renamed))


def test_integers_that_differ_are_never_called_equal(tmp_path):
    model = tiny.model("BertModel", dtype="float32")
    a, b = (
        write(tmp_path / str(i), model, lambda arrays, i=i: arrays.update({"step": np.array([2**53 + i])}))
        for i in range(2)
    )
    (row,) = [row for row in differences(a, b) if row.largest != 0]
    assert (row.name, row.largest) == ("step", 1)


def test_nan_equals_nan_and_nothing_else(tmp_path):
    model = tiny.model("BertModel", dtype="float32")
    name = "embeddings.LayerNorm.bias"

    def spoil(values):
        return lambda arrays: arrays.update({name: np.array([*values, 1, 1, 1, 1, 1, 1], np.float32)})

    a = write(tmp_path / "a", model, spoil([np.nan, np.inf]))
    b = write(tmp_path / "b", model, spoil([np.nan, np.inf]))
    c = write(tmp_path / "c", model, spoil([0, np.inf]))
    d = write(tmp_path / "d", model, spoil([np.nan, -np.inf]))
    assert all(row.largest == 0 for row in differences(a, b))
    for other in (c, d):
        (row,) = [row for row in differences(a, other) if row.largest != 0]
        assert (row.name, row.largest) == (f"bert.{name}", np.inf)
