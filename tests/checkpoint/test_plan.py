"""Which tensor of a file is which tensor of a model, and what is said of those that do not fit."""

import tracemalloc

import numpy as np
import pytest

import minibert as mb
from minibert.checkpoint import MissingWeights
from tests.models import tiny
from tests.stored import assert_same_weights, refused, rename, write

WORDS = "bert.embeddings.word_embeddings.weight"
DECODER = "cls.predictions.decoder.weight"


@pytest.fixture
def masked_lm():
    return tiny.model("BertForMaskedLM", dtype="float32")


# ---- names in the wild ----------------------------------------------------------------------------------------------


def test_gamma_and_beta_are_old_names(tmp_path, masked_lm):
    def old_names(arrays):
        rename(arrays, "LayerNorm.weight", "LayerNorm.gamma")
        rename(arrays, "LayerNorm.bias", "LayerNorm.beta")

    assert_same_weights(mb.BertForMaskedLM.from_pretrained(write(tmp_path, masked_lm, old_names)), masked_lm)


def test_two_tensors_under_one_name_are_refused(tmp_path, masked_lm):
    name = "bert.embeddings.LayerNorm."
    folder = write(tmp_path, masked_lm, lambda a: a.update({name + "gamma": a[name + "weight"] + 1}))
    refused(folder, name + "gamma", name + "weight", "one tensor under two names, but differ")


def test_a_tensor_that_is_stored_twice_is_read_once(tmp_path, masked_lm):
    name = "bert.embeddings.LayerNorm."
    folder = write(tmp_path, masked_lm, lambda a: a.update({name + "gamma": a[name + "weight"]}))
    again = mb.BertForMaskedLM.from_pretrained(folder)
    assert_same_weights(again, masked_lm)
    assert len(set(again.load_report.unused) & {name + "gamma", name + "weight"}) == 1


@pytest.mark.parametrize("key", [key for key in tiny.HEADS if tiny.head(key).pooled])
def test_a_bare_encoder_is_read_out_of_every_class_that_has_a_pooler(tmp_path, key):
    model = tiny.head(key, dtype="float32")
    encoder = mb.BertModel.from_pretrained(write(tmp_path, model))
    for name, array in encoder.state_dict().items():
        np.testing.assert_array_equal(array, model.state_dict()[f"bert.{name}"])
    assert all(name.startswith(("cls.", "classifier.")) for name in encoder.load_report.unused)


def test_a_class_with_a_head_is_not_made_of_a_bare_encoder_silently(tmp_path):
    folder = write(tmp_path, tiny.model("BertModel", dtype="float32"))
    refused(
        folder, "2 missing: classifier.weight, classifier.bias", "num_labels=", cls=mb.BertForSequenceClassification
    )
    refused(folder, "5 missing: cls.predictions.bias", "strict=False")


def test_a_pooler_that_nothing_uses_stays_in_the_file(tmp_path):
    model = tiny.model("BertForPreTraining", dtype="float32")
    lm = mb.BertForMaskedLM.from_pretrained(write(tmp_path, model))
    assert {"bert.pooler.dense.weight", "cls.seq_relationship.bias"} <= set(lm.load_report.unused)


@pytest.mark.parametrize("prefix", ["", "bert."])
@pytest.mark.parametrize("buffer", ["position_ids", "token_type_ids"])
def test_buffers_are_not_weights(tmp_path, prefix, buffer):
    model = tiny.model("BertModel", dtype="float32")

    def change(arrays):
        rename(arrays, "", prefix, count=1)
        arrays[f"{prefix}embeddings.{buffer}"] = np.arange(16)[None]

    again = mb.BertModel.from_pretrained(write(tmp_path, model, change))
    assert_same_weights(again, model)
    assert again.load_report.unused == [f"{prefix}embeddings.{buffer}"]


# ---- the decoder ----------------------------------------------------------------------------------------------------


def test_a_tied_decoder_may_be_stored_twice(tmp_path, masked_lm):
    copies = {DECODER: WORDS, "cls.predictions.decoder.bias": "cls.predictions.bias"}
    folder = write(tmp_path, masked_lm, lambda a: a.update({copy: a[name] for copy, name in copies.items()}))
    again = mb.BertForMaskedLM.from_pretrained(folder)  # warnings are errors here
    assert_same_weights(again, masked_lm)
    assert set(again.load_report.unused) == set(copies)


def test_a_tied_decoder_that_differs_is_left_out_with_a_warning(tmp_path, masked_lm):
    folder = write(tmp_path, masked_lm, lambda a: a.update({DECODER: a[WORDS] + 1}))
    with pytest.warns(UserWarning, match=f"{DECODER} differs from {WORDS} although tie_word_embeddings is true"):
        again = mb.BertForMaskedLM.from_pretrained(folder)
    assert_same_weights(again, masked_lm)
    assert "it is not used" in str(again.load_report)


def test_a_second_bias_of_a_tied_decoder_that_differs_is_left_out_with_a_warning(tmp_path, masked_lm):
    folder = write(tmp_path, masked_lm, lambda a: a.update({f"{DECODER[:-6]}bias": a["cls.predictions.bias"] + 1}))
    with pytest.warns(UserWarning, match="decoder.bias differs from cls.predictions.bias"):
        again = mb.BertForMaskedLM.from_pretrained(folder)
    assert_same_weights(again, masked_lm)


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("stored", ["cls.predictions.bias", "cls.predictions.decoder.bias"])
def test_the_bias_of_the_decoder_goes_by_either_name(tmp_path, tied, stored):
    model = tiny.model("BertForMaskedLM", dtype="float32", tie_word_embeddings=tied)
    own = "cls.predictions.bias" if tied else "cls.predictions.decoder.bias"
    folder = write(tmp_path, model, lambda a: a.update({stored: a.pop(own)}))
    assert_same_weights(mb.BertForMaskedLM.from_pretrained(folder), model)


def test_an_untied_decoder_acts_with_its_own_bias(tmp_path):
    model = tiny.model("BertForMaskedLM", dtype="float32", tie_word_embeddings=False)
    folder = write(tmp_path, model, lambda a: a.update({"cls.predictions.bias": np.full(19, 9, np.float32)}))
    again = mb.BertForMaskedLM.from_pretrained(folder)
    assert_same_weights(again, model)
    assert again.load_report.unused == ["cls.predictions.bias"]


# ---- what does not fit ----------------------------------------------------------------------------------------------


def test_c07_everything_that_does_not_fit_is_reported_at_once(tmp_path, masked_lm):
    def spoil(arrays):
        del arrays["bert.encoder.layer.1.output.dense.bias"], arrays[WORDS]
        arrays["bert.encoder.layer.2.output.dense.bias"] = np.zeros(8, np.float32)
        arrays["something.else"] = np.zeros(3, np.float32)
        name = "bert.encoder.layer.0.intermediate.dense.weight"
        arrays[name] = arrays[name].T  # a forgotten transpose
        arrays["bert.embeddings.LayerNorm.bias"] = np.zeros(8, np.int64)

    refused(
        write(tmp_path, masked_lm, spoil),
        f"2 missing: {WORDS}, bert.encoder.layer.1.output.dense.bias",
        "2 unexpected: ",
        "bert.encoder.layer.2.output.dense.bias",
        "something.else",
        "bert.encoder.layer.0.intermediate.dense.weight is F32 [8, 12], expected [12, 8]",
        "bert.embeddings.LayerNorm.bias is I64 [8], expected [8]",
        "contradicts the weights",
    )


def test_where_nothing_is_recognised_no_fresh_start_is_advised(tmp_path, masked_lm):
    folder = write(tmp_path, masked_lm, lambda arrays: rename(arrays, "", "backbone.", count=1))
    refused(folder, "hint: no tensor goes by a name of BERT's; the first are backbone.")


def test_long_lists_are_cut_short(tmp_path, masked_lm):
    folder = write(tmp_path, masked_lm, lambda a: [a.pop(name) for name in list(a) if "layer.1" in name])
    refused(folder, "16 missing: ", " and 8 more")


def test_without_strictness_what_is_missing_starts_afresh_and_reproducibly(tmp_path, masked_lm):
    missing = ["bert.encoder.layer.1.output.dense.weight", "bert.encoder.layer.1.output.LayerNorm.weight"]

    def spoil(arrays):
        arrays["something.else"] = np.zeros(3, np.float32)
        for name in missing:
            del arrays[name]

    folder = write(tmp_path, masked_lm, spoil)
    flats = []
    for seed in (1, 1, 2):
        with pytest.warns(MissingWeights, match=f"2 missing: {', '.join(missing)}; 1 unexpected: something.else"):
            model = mb.BertForMaskedLM.from_pretrained(folder, strict=False, seed=seed)
        flats.append(model.parameters.flat)
        assert model.load_report.missing == missing
        weight, gain = (model.state_dict()[name] for name in missing)
        assert weight.any()
        assert np.abs(weight).max() <= 2 * model.config.initializer_range * (1 + 1e-6)
        assert (gain == 1).all()
    np.testing.assert_array_equal(flats[0], flats[1])
    assert not np.array_equal(flats[0], flats[2])


def test_weights_of_something_else_are_refused_without_strictness_too(tmp_path, masked_lm):
    folder = write(tmp_path, masked_lm, lambda a: [a.update({f"other.{name}": a.pop(name)}) for name in list(a)])
    refused(folder, "not one tensor of it is there", "no tensor goes by a name of BERT's", strict=False)


def test_c07_a_wrong_shape_is_refused_without_strictness_too(tmp_path, masked_lm):
    folder = write(tmp_path, masked_lm, lambda a: a.update({WORDS: np.zeros((18, 8), np.float32)}))
    refused(folder, f"{WORDS} is F32 [18, 8], expected [19, 8]", strict=False)


def test_only_what_is_unexpected_is_said_when_nothing_is_missing(tmp_path, masked_lm):
    folder = write(tmp_path, masked_lm, lambda a: a.update({"something.else": np.zeros(3, np.float32)}))
    with pytest.warns(MissingWeights, match="1 unexpected: something.else") as caught:
        mb.BertForMaskedLM.from_pretrained(folder, strict=False)
    assert "fresh" not in str(caught[0].message)


@pytest.mark.parametrize(
    ("name", "value"), [("hidden_size", 2**16), ("vocab_size", 2**24), ("num_hidden_layers", 1024)]
)
def test_c01_a_config_that_contradicts_the_weights_costs_no_memory(tmp_path, masked_lm, name, value):
    folder = write(tmp_path, masked_lm, **{name: value})
    tracemalloc.start()
    refused(folder, "the weights do not fit the model")
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 50e6


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_weights_that_are_not_finite_load_with_a_warning_that_names_them(tmp_path, masked_lm, value):
    def change(arrays):
        arrays[WORDS][3, 2] = value

    with pytest.warns(UserWarning, match=f"NaN or infinite weights in {WORDS}$"):
        again = mb.BertForMaskedLM.from_pretrained(write(tmp_path, masked_lm, change))
    assert f"not finite: {WORDS}" in str(again.load_report)


def test_weights_that_are_huge_but_finite_are_no_matter(tmp_path, masked_lm):
    def change(arrays):
        arrays[WORDS][3, 2] = 1e30  # its square is no float32

    again = mb.BertForMaskedLM.from_pretrained(write(tmp_path, masked_lm, change))  # warnings are errors here
    assert again.parameters[WORDS][3, 2] == np.float32(1e30)
